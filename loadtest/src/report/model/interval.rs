//! One interval of the run.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::report::model::distribution::decode;

/// A piece of the run. Its latencies are those of messages that were answered or given up in it:
/// response times in an open loop, service times in a closed one, in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Interval {
    /// Its beginning, from the beginning of the measured window: negative in the warm-up.
    pub(crate) t_s: f64,
    pub(crate) length_s: f64,
    /// `warm-up`, `measured` or `drain`; `given-up` is the rest of the window after an open loop
    /// gave up, in which nothing was sent.
    pub(crate) phase: String,
    /// Due in it; in a closed loop, sent in it.
    pub(crate) scheduled: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) timed_out: u64,
    /// At its end.
    pub(crate) open_connections: u32,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p99_9: Option<f64>,
    pub(crate) max: Option<f64>,
    /// `null` in a closed loop.
    pub(crate) send_lag_p99: Option<f64>,
    /// As in [`Distribution`]; `null` if nothing was answered.
    pub(crate) hdr_v2: Option<String>,
}

impl Interval {
    /// `None` also if nothing was answered.
    pub(crate) fn histogram(&self) -> Option<Histogram<u64>> {
        decode(self.hdr_v2.as_ref()?)
    }
}

impl Interval {
    /// When it ends, from the beginning of the measured window.
    pub(crate) fn end_s(&self) -> f64 {
        self.t_s + self.length_s
    }
}
