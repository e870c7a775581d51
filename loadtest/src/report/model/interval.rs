//! One interval of the run.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::report::model::distribution::decode;

/// An interval of the run. Its latencies, in microseconds, are those of messages that ended in it
/// with a reply or a timeout: response times in an open loop, service times in a closed one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Interval {
    /// Start, in seconds from the start of the measured window: negative in the warm-up.
    pub(crate) t_s: f64,
    pub(crate) length_s: f64,
    /// `warm-up`, `measured` or `drain`. `given-up` is the rest of the window after an open loop
    /// gave up: no message was sent in it.
    pub(crate) phase: String,
    /// Messages due in the interval; in a closed loop, messages sent in it.
    pub(crate) scheduled: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) timed_out: u64,
    /// At the end of the interval.
    pub(crate) open_connections: u32,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p99_9: Option<f64>,
    pub(crate) max: Option<f64>,
    /// `null` in a closed loop.
    pub(crate) send_lag_p99: Option<f64>,
    /// As in [`Distribution`]; `null` without a reply.
    pub(crate) hdr_v2: Option<String>,
}

impl Interval {
    /// The histogram; `None` without a reply, or if the encoded text is not one.
    pub(crate) fn histogram(&self) -> Option<Histogram<u64>> {
        decode(self.hdr_v2.as_ref()?)
    }
}

impl Interval {
    /// End, in seconds from the start of the measured window.
    pub(crate) fn end_s(&self) -> f64 {
        self.t_s + self.length_s
    }
}
