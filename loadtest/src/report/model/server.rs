//! The target in the report's schema: its process and the TCP counters.

use serde::{Deserialize, Serialize};

use crate::base::driver::DriverUsed;

/// The process under test; the sum, if there are several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Server {
    /// The first process.
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) pids: Vec<u32>,
    /// Kind of the built-in server, or name of the process.
    pub(crate) kind: String,
    /// Driver of the built-in server; `null` for another server.
    #[serde(default)]
    pub(crate) driver: Option<DriverUsed>,
    /// In percent of one core, in the measured window.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) cpu_us_per_message: Option<f64>,
    /// At the end of the measured window, like `fds`.
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) fds: Option<u64>,
    /// In the measured window, of the threads that existed at its end.
    #[serde(default)]
    pub(crate) voluntary_switches: Option<u64>,
    #[serde(default)]
    pub(crate) involuntary_switches: Option<u64>,
    /// The same as in [`Network`].
    pub(crate) listen_overflows: Option<u64>,
    pub(crate) listen_drops: Option<u64>,
    pub(crate) retransmits: Option<u64>,
}

/// TCP counters of the kernel, from before the first connect until after the last reply. They cover
/// the whole network namespace, including other processes in it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Network {
    /// Connections that found an accept queue full. `null`, like `listen_drops`, if the target does
    /// not listen in this namespace.
    pub(crate) listen_overflows: Option<u64>,
    /// Connections that a listener dropped, for that reason or another.
    pub(crate) listen_drops: Option<u64>,
    /// Retransmitted segments.
    pub(crate) retransmits: Option<u64>,
    /// Of these, SYN segments.
    pub(crate) syn_retransmits: Option<u64>,
    /// Connections that ended by a reset.
    pub(crate) established_resets: Option<u64>,
    pub(crate) resets_sent: Option<u64>,
}
