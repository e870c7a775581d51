//! The result that a worker sends to the coordinator.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure::counters::{IdleCounts, MessageCounters, Traffic};
use crate::measure::failure::FailureTable;
use crate::measure::outage::OutageSpan;
use crate::worker::unhandled::Reports;

/// The result of a worker. Its intervals were sent before.
#[derive(Debug)]
pub(crate) struct WorkerResult {
    pub(crate) worker: u32,
    pub(crate) counters: MessageCounters,
    pub(crate) traffic: Traffic,
    pub(crate) failures: FailureTable,
    /// Service times of an open loop. In a closed loop those of the intervals are the service
    /// times, and this is empty.
    pub(crate) service: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    /// TLS handshakes.
    pub(crate) tls: Histogram<u64>,
    /// Version and cipher suite of the first TLS connection.
    pub(crate) tls_suite: Option<String>,
    /// Handshakes of the protocol, which follow both.
    pub(crate) handshake: Histogram<u64>,
    /// How late the loop was at its timers in the measured window.
    pub(crate) loop_lag: Histogram<u64>,
    /// Measured replies of each connection that was opened.
    pub(crate) replies: Vec<u64>,
    pub(crate) connects_started: u32,
    pub(crate) connects_failed: u32,
    /// Connections with at least one reply, at any time.
    pub(crate) served: u32,
    /// Open connections that have failed or timed out. One that is opened again may count again.
    pub(crate) lost: u32,
    pub(crate) reconnects: u64,
    /// In the order of time.
    pub(crate) outages: Vec<OutageSpan>,
    pub(crate) idle: IdleCounts,
    pub(crate) ramp_length: Duration,
    pub(crate) cq_overflows: u64,
    pub(crate) pool_exhausted: u64,
    /// Time awake in the measured window with nothing to do (`--spin`).
    pub(crate) spin_time: Duration,
    /// Errors of the loop that no operation has returned.
    pub(crate) reports: Reports,
}
