//! Outages, and the reasons of an early end.

use serde::{Deserialize, Serialize};

/// The gate of `--abort-on` that ended the run early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Aborted {
    pub(crate) expr: String,
    /// Value of the gate's figure at that time.
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// In seconds from the start of the measured window.
    pub(crate) at_s: f64,
}

/// Early end of a run because the target was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct GaveUp {
    /// In seconds from the start of the measured window; negative in the warm-up.
    pub(crate) at_s: f64,
    pub(crate) reason: String,
}

/// A time without service, in seconds from the start of the measured window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Outage {
    /// Time of the last reply before it; the first failure if there was none.
    pub(crate) from_s: f64,
    pub(crate) first_failure_s: f64,
    /// Time of the first reply after it; `null` if there was none until the load ended.
    pub(crate) recovered_s: Option<f64>,
    /// From `from_s` to the recovery, or to the end of the load.
    pub(crate) length_s: f64,
}
