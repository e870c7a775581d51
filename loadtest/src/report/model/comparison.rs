//! The comparison of two runs.

use serde::{Deserialize, Serialize};

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
