//! The generator itself: its verdict, lag and processor time.

use serde::{Deserialize, Serialize};

use crate::base::driver::DriverUsed;

/// Load of this program itself: the figures of a saturated generator describe the generator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Generator {
    /// Drivers of the workers, each one once.
    pub(crate) drivers: Vec<DriverUsed>,
    pub(crate) verdict: GeneratorVerdict,
    /// Reason of the verdict.
    #[serde(default)]
    pub(crate) verdict_reason: Option<String>,
    /// Delay of messages that were due while a connection was free: this program's own share of the
    /// response times. `null` in a closed loop.
    pub(crate) send_lag_us: Option<Lag>,
    /// Delay of a timer that each worker runs a hundred times a second: the time that any event may
    /// have waited for this program.
    #[serde(default)]
    pub(crate) loop_lag_us: Option<Lag>,
    /// In percent of one core, per worker, in the measured window.
    pub(crate) cpu_percent: Vec<f64>,
    /// In percent of one core, per worker: the part of `cpu_percent` in which an open loop
    /// busy-waited for the next message (`--spin`).
    #[serde(default)]
    pub(crate) spin_percent: Vec<f64>,
    /// Share of the time in which the worst worker was runnable but had no processor.
    pub(crate) run_queue_wait_percent: Option<f64>,
    pub(crate) cq_overflows: u64,
    #[serde(rename = "enobufs")]
    pub(crate) pool_exhausted: u64,
    /// Resident memory of this process at the end of the measured window.
    pub(crate) rss_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Lag {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
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
