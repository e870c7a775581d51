//! The conclusions in the report's schema: confidence, gates, outages, and series of runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::model::comparison::Comparison;

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

/// One of several runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Rep {
    pub(crate) started_at: String,
    pub(crate) achieved_rate: f64,
    /// Percentiles of the main latencies
    /// ([`Report::headline`](crate::report::model::Report::headline)) by name, in microseconds.
    pub(crate) percentiles: BTreeMap<String, f64>,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) timed_out: u64,
    pub(crate) never_sent: u64,
    pub(crate) verdict: GeneratorVerdict,
    #[serde(default)]
    pub(crate) server_cpu_us_per_message: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FindMax {
    pub(crate) slo: String,
    /// The highest rate that met the SLO; `null` if none did.
    pub(crate) rate: Option<f64>,
    /// `slo`, `generator`, `range` or `interrupted`.
    pub(crate) limited_by: String,
    /// The tried rates, in order.
    pub(crate) steps: Vec<FindStep>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FindStep {
    pub(crate) rate: f64,
    pub(crate) achieved_rate: f64,
    /// Value of the SLO's figure.
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    pub(crate) generator: GeneratorVerdict,
    pub(crate) ok: bool,
    /// Number of tries: a rate is tried again while the generator is saturated. The figures are
    /// those of the last try.
    #[serde(default = "once")]
    pub(crate) tries: u32,
}

fn once() -> u32 {
    1
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Baseline {
    pub(crate) file: String,
    pub(crate) comparison: Comparison,
    /// One line for each exceeded limit of `--max-regression`.
    pub(crate) breaches: Vec<String>,
}

/// Condition of the generator, from the least to the most alarming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum GeneratorVerdict {
    Unknown,
    Healthy,
    Marginal,
    Saturated,
}

impl GeneratorVerdict {
    /// The name in the JSON report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GeneratorVerdict::Unknown => "unknown",
            GeneratorVerdict::Healthy => "healthy",
            GeneratorVerdict::Marginal => "marginal",
            GeneratorVerdict::Saturated => "saturated",
        }
    }
}
