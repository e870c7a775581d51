//! The comparison of runs.

use serde::{Deserialize, Serialize};

use crate::report::model::tool::Tool;

/// Two runs beside each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Comparison {
    pub(crate) rows: Vec<Row>,
    /// What the confidence intervals rest on, or why there are none.
    pub(crate) basis: String,
    /// Why the figures cannot be compared, if they cannot.
    pub(crate) incomparable: Vec<String>,
    /// What else is not the same.
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
    /// Of the base.
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
    /// In the order in which they were named.
    pub(crate) compared: Vec<ComparedWithBase>,
    pub(crate) interrupted: bool,
    pub(crate) exit_code: u8,
}

/// One run or server beside the base.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ComparedWithBase {
    /// The file, or the command of the server.
    pub(crate) new: String,
    pub(crate) comparison: Comparison,
    /// A line for each limit of `--max-regression` that was not kept.
    pub(crate) breaches: Vec<String>,
}
