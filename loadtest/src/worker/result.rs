//! The result that a worker sends to the coordinator.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure::counters::{IdleCounts, MessageCounters, Traffic};
use crate::measure::failure::FailureTable;
use crate::measure::outage::OutageSpan;
use crate::worker::unhandled::Reports;

/// What a worker hands in, besides the intervals it has told of already.
#[derive(Debug)]
pub(crate) struct WorkerResult {
    pub(crate) worker: u32,
    pub(crate) counters: MessageCounters,
    pub(crate) traffic: Traffic,
    pub(crate) failures: FailureTable,
    /// In a closed loop empty: its service times are those of the intervals.
    pub(crate) service: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    /// Handshakes of TLS.
    pub(crate) tls: Histogram<u64>,
    /// Version and cipher suite of the first of them.
    pub(crate) tls_suite: Option<String>,
    /// Of the protocol, after all that.
    pub(crate) handshake: Histogram<u64>,
    /// How late the loop came to its timers in the measured window.
    pub(crate) loop_lag: Histogram<u64>,
    /// Measured replies of each connection that opened.
    pub(crate) replies: Vec<u64>,
    pub(crate) connects_started: u32,
    pub(crate) connects_failed: u32,
    /// Connections with at least one reply, at any time.
    pub(crate) served: u32,
    /// Connections that failed or timed out after they had opened; one that is opened again may
    /// count again.
    pub(crate) lost: u32,
    pub(crate) reconnects: u64,
    /// In the order of time.
    pub(crate) outages: Vec<OutageSpan>,
    pub(crate) idle: IdleCounts,
    pub(crate) ramp_length: Duration,
    pub(crate) cq_overflows: u64,
    pub(crate) enobufs: u64,
    /// Awake in the measured window with nothing to do (`--spin`).
    pub(crate) spin_time: Duration,
    /// Of the loop, and not of an operation.
    pub(crate) reports: Reports,
}
