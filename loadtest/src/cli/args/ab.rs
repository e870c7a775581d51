//! The arguments of `loadtest ab`.

use std::ffi::OsString;

use clap::Args;

use crate::analysis::compare::compared::ComparisonFormat;
use crate::analysis::compare::regression::RegressionLimit;
use crate::base::units;

#[derive(Debug, Args)]
pub(crate) struct AbArgs {
    /// Starts the server that the other is measured against
    #[arg(long, value_name = "COMMAND")]
    pub(crate) base: String,
    /// Starts the other server, at the same address
    #[arg(long, value_name = "COMMAND")]
    pub(crate) new: String,
    /// Runs of each
    #[arg(long, value_name = "N", default_value = "7", value_parser = units::count)]
    pub(crate) reps: u32,
    /// What may become worse by how much, or exit 99: p99=10%,rate=5%
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = RegressionLimit::parse)]
    pub(crate) max_regression: Vec<RegressionLimit>,
    /// What to print on stdout
    #[arg(long, value_enum, default_value_t = ComparisonFormat::Text)]
    pub(crate) format: ComparisonFormat,
    /// Options of each run, and the URL where both servers listen
    #[arg(last = true, value_name = "RUN OPTIONS", required = true)]
    pub(crate) run: Vec<OsString>,
}
