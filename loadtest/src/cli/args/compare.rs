//! The arguments of `loadtest compare`.

use std::path::PathBuf;

use clap::Args;

use crate::analysis::compare::compared::ComparisonFormat;
use crate::analysis::compare::regression::RegressionLimit;

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A report written with --json: what the others are measured against
    #[arg(value_name = "BASE.json")]
    pub(crate) base: PathBuf,
    /// Reports to compare with it
    #[arg(value_name = "NEW.json", required = true)]
    pub(crate) new: Vec<PathBuf>,
    /// What may become worse by how much, or exit 99: p99=10%,rate=5%
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = RegressionLimit::parse)]
    pub(crate) max_regression: Vec<RegressionLimit>,
    /// What to print on stdout
    #[arg(long, value_enum, default_value_t = ComparisonFormat::Text)]
    pub(crate) format: ComparisonFormat,
    /// Write a page with charts of all of them
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}
