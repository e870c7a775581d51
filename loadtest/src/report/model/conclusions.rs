//! The conclusions from one run: confidence and gates.

use serde::{Deserialize, Serialize};

/// Block bootstrap of the confidence intervals (`measure::bootstrap`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Confidence {
    pub(crate) blocks: usize,
    pub(crate) block_s: f64,
    /// Reason why there are no confidence intervals.
    pub(crate) missing: Option<String>,
}

/// A gate and its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Threshold {
    pub(crate) expr: String,
    /// `null` if the run has no such figure, which fails the gate.
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    pub(crate) ok: bool,
}
