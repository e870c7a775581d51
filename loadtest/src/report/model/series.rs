//! Series of runs: repetitions, and the search for the highest rate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::model::generator::GeneratorVerdict;

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
