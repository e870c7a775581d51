//! The part of the report's schema that is about the target: its process, and the network between.

use serde::{Deserialize, Serialize};

use crate::base::driver::DriverUsed;

/// The process that was tested; of several, their sum.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Server {
    /// The first of them.
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) pids: Vec<u32>,
    /// What our own server is, or else what the process is called.
    pub(crate) kind: String,
    /// `null` if it is not our own.
    #[serde(default)]
    pub(crate) driver: Option<DriverUsed>,
    /// Of one core, in the measured window.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) cpu_us_per_message: Option<f64>,
    /// At the end of the measured window, as the next one.
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) fds: Option<u64>,
    /// In the measured window, of the threads that were there at its end.
    #[serde(default)]
    pub(crate) voluntary_switches: Option<u64>,
    #[serde(default)]
    pub(crate) involuntary_switches: Option<u64>,
    /// The same as in [`Network`].
    pub(crate) listen_overflows: Option<u64>,
    pub(crate) listen_drops: Option<u64>,
    pub(crate) retransmits: Option<u64>,
}

/// What the kernel counted about TCP from before the first connect until after the last reply, in
/// the whole network namespace: others who use it are in these figures too.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Network {
    /// Connections that found an accept queue full. `null`, as the next one, if the target does not
    /// listen in our namespace.
    pub(crate) listen_overflows: Option<u64>,
    /// Connections that a listener dropped, for that reason or another.
    pub(crate) listen_drops: Option<u64>,
    /// Segments that were sent again.
    pub(crate) retransmits: Option<u64>,
    /// Of these, the first ones of a connection.
    pub(crate) syn_retransmits: Option<u64>,
    /// Connections that ended by a reset.
    pub(crate) established_resets: Option<u64>,
    pub(crate) resets_sent: Option<u64>,
}
