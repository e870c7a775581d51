//! The comparison of runs.

use serde::{Deserialize, Serialize};

use crate::report::model::tool::Tool;

/// Comparison of two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Comparison {
    pub(crate) rows: Vec<Row>,
    /// Method of the confidence intervals, or the reason why there are none.
    pub(crate) basis: String,
    /// Reasons why the figures cannot be compared; empty if they can.
    pub(crate) incomparable: Vec<String>,
    /// Other differences between the runs.
    pub(crate) differences: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Row {
    pub(crate) metric: String,
    pub(crate) base: Option<f64>,
    pub(crate) base_ci: Option<[f64; 2]>,
    pub(crate) new: Option<f64>,
    pub(crate) new_ci: Option<[f64; 2]>,
    /// In percent of the base.
    pub(crate) change_percent: Option<f64>,
    pub(crate) change_ci: Option<[f64; 2]>,
    pub(crate) verdict: ChangeVerdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChangeVerdict {
    Faster,
    Slower,
    NotSignificant,
    Incomparable,
    /// There is no confidence interval, or no figure.
    Unknown,
}

/// The document of `loadtest compare` and `loadtest ab`: comparisons with one base.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ComparisonReport {
    pub(crate) schema_version: u32,
    pub(crate) tool: Tool,
    /// The file, or the command of the server.
    pub(crate) base: String,
    /// The comparisons, in the order of the command line.
    pub(crate) compared: Vec<ComparedWithBase>,
    pub(crate) interrupted: bool,
    pub(crate) exit_code: u8,
}

/// Comparison of one run or server with the base.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ComparedWithBase {
    /// The file, or the command of the server.
    pub(crate) new: String,
    pub(crate) comparison: Comparison,
    /// One line for each exceeded limit of `--max-regression`.
    pub(crate) breaches: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Baseline {
    pub(crate) file: String,
    pub(crate) comparison: Comparison,
    /// One line for each exceeded limit of `--max-regression`.
    pub(crate) breaches: Vec<String>,
}
