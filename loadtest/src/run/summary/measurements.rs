//! Measurements of a run, from which the figures are computed.

use std::time::{Duration, Instant, SystemTime};

use crate::base::address::Address;
use crate::host::preflight::Admission;
use crate::host::procfs::CpuTime;
use crate::host::procfs::counters::TcpCounters;
use crate::report::model::early_end::{Aborted, GaveUp};
use crate::run::server_stats::ServerSample;
use crate::run::timeline::Timeline;
use crate::worker::control::Ready;
use crate::worker::result::WorkerResult;

/// All measurements of a run.
#[derive(Debug)]
pub(crate) struct Measurements {
    pub(crate) started_at: SystemTime,
    pub(crate) url: String,
    pub(crate) address: Address,
    pub(crate) admission: Admission,
    /// Ranges of source addresses; empty if the kernel chose.
    pub(crate) sources: Vec<String>,
    pub(crate) ready: Vec<Ready>,
    pub(crate) lengths: PhaseLengths,
    pub(crate) results: Vec<WorkerResult>,
    /// `None` if the load never started.
    pub(crate) timeline: Option<Timeline>,
    /// Resident memory of this process, at the end of the measured window.
    pub(crate) rss_bytes: Option<u64>,
    /// Processor time of each worker in the measured window.
    pub(crate) worker_times: Vec<Option<CpuTime>>,
    pub(crate) server: Option<ServerSample>,
    /// Counters of the network namespace, over the whole run.
    pub(crate) tcp: TcpCounters,
    pub(crate) signal: Option<i32>,
    pub(crate) aborted: Option<Aborted>,
    pub(crate) gave_up: Option<GaveUp>,
    pub(crate) notes: Vec<String>,
}

/// Actual lengths of the phases.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseLengths {
    /// Start of the measured window; `None` if there was none.
    pub(crate) measured_from: Option<Instant>,
    pub(crate) ramp: Duration,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) drain: Duration,
    /// Length of the scheduled load: longer than `measured` if an open loop gave up.
    pub(crate) scheduled: Duration,
    /// Planned end of the window of an open loop that gave up before it.
    pub(crate) never_reached: Option<Instant>,
    /// No connection was open when the load ended.
    pub(crate) ended_without_connections: bool,
}
