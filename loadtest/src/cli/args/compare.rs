//! The arguments of `loadtest compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::analysis::compare::regression::RegressionLimit;
use crate::report::model::comparison::ComparisonReport;
use crate::report::{json, text};

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComparisonFormat {
    /// A table for people
    Text,
    /// The same for programs
    Json,
}

impl ComparisonFormat {
    pub(crate) fn render(self, report: &ComparisonReport) -> String {
        match self {
            ComparisonFormat::Text => text::comparison::render(report),
            ComparisonFormat::Json => json::render_comparison(report),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Base of the comparison, a report written with --json
    #[arg(value_name = "BASE.json")]
    pub(crate) base: PathBuf,
    /// Reports to compare with the base
    #[arg(value_name = "NEW.json", required = true)]
    pub(crate) new: Vec<PathBuf>,
    /// Exit 99 if a metric gets worse by more than its limit: p99=10%,rate=5%
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = RegressionLimit::parse)]
    pub(crate) max_regression: Vec<RegressionLimit>,
    /// Format of the comparison on stdout
    #[arg(long, value_enum, default_value_t = ComparisonFormat::Text)]
    pub(crate) format: ComparisonFormat,
    /// Write an HTML page with charts of all reports
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}
