//! The part of the report's schema that holds conclusions: how sure the figures are, gates, and
//! what several runs say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::model::comparison::Comparison;

/// Whole pieces of the run are drawn again and again (`measure::bootstrap`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Confidence {
    pub(crate) blocks: usize,
    pub(crate) block_s: f64,
    /// Why there are no confidence intervals, if there are none.
    pub(crate) missing: Option<String>,
}

/// A gate, and how the run stood to it.
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
    /// Of its figure, over what was measured until then.
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// From the beginning of the measured window.
    pub(crate) at_s: f64,
}

/// Why a run ended before its time: the target was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct GaveUp {
    /// From the beginning of the measured window; negative in the warm-up.
    pub(crate) at_s: f64,
    pub(crate) reason: String,
}

/// A time without service, in seconds from the beginning of the measured window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Outage {
    /// The last reply before it; the first failure if there was none.
    pub(crate) from_s: f64,
    pub(crate) first_failure_s: f64,
    /// The first reply after it; `null` if there was none until the load ended.
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
    /// Of the latencies the run is about
    /// ([`Report::headline`](crate::report::model::Report::headline)), in microseconds, by name.
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
    /// The highest that met it; `null` if not even the lowest did.
    pub(crate) rate: Option<f64>,
    /// `slo`, `generator`, `range` or `interrupted`.
    pub(crate) limited_by: String,
    /// In the order in which they were tried.
    pub(crate) steps: Vec<FindStep>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FindStep {
    pub(crate) rate: f64,
    pub(crate) achieved_rate: f64,
    /// Of the figure that the SLO is about.
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    pub(crate) generator: GeneratorVerdict,
    pub(crate) ok: bool,
    /// How often it was tried: again while the generator was saturated. The figures are those of
    /// the last time.
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
    /// A line for each limit of `--max-regression` that was not kept.
    pub(crate) breaches: Vec<String>,
}

/// How the generator fared, from the least to the most alarming.
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
    /// As in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GeneratorVerdict::Unknown => "unknown",
            GeneratorVerdict::Healthy => "healthy",
            GeneratorVerdict::Marginal => "marginal",
            GeneratorVerdict::Saturated => "saturated",
        }
    }
}
