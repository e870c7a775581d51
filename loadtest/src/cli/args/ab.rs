//! The arguments of `loadtest ab`.

use std::ffi::OsString;

use clap::Args;

use crate::analysis::compare::regression::RegressionLimit;
use crate::base::units;
use crate::cli::args::compare::ComparisonFormat;

#[derive(Debug, Args)]
pub(crate) struct AbArgs {
    /// Command that starts the base server
    #[arg(long, value_name = "COMMAND")]
    pub(crate) base: String,
    /// Command that starts the new server, at the same address
    #[arg(long, value_name = "COMMAND")]
    pub(crate) new: String,
    /// Runs of each server
    #[arg(long, value_name = "N", default_value = "7", value_parser = units::count)]
    pub(crate) reps: u32,
    /// Exit 99 if a metric gets worse by more than its limit: p99=10%,rate=5%
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = RegressionLimit::parse)]
    pub(crate) max_regression: Vec<RegressionLimit>,
    /// Format of the comparison on stdout
    #[arg(long, value_enum, default_value_t = ComparisonFormat::Text)]
    pub(crate) format: ComparisonFormat,
    /// Options of each run, and the URL where both servers listen
    #[arg(last = true, value_name = "RUN OPTIONS", required = true)]
    pub(crate) run: Vec<OsString>,
}
