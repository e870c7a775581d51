//! The report: one value with every figure of a run. All renderers read it.
//!
//! **Invariant.** A figure is computed once, in `run::summary`, and rendered from here. Text and
//! JSON differ only by rounding (`tests/it/run.rs` compares them).
//!
//! The field names are those of the JSON and part of the public interface: `schema_version` changes
//! when a field is removed or changes its meaning.

pub(crate) mod comparison;
pub(crate) mod conclusions;
pub(crate) mod distribution;
pub(crate) mod early_end;
pub(crate) mod failures;
pub(crate) mod generator;
pub(crate) mod interval;
pub(crate) mod series;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod tool;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::address::UNIX;
use crate::measure::stats::RepliesBar;
use crate::report::model::comparison::Baseline;
use crate::report::model::conclusions::{Confidence, Threshold};
use crate::report::model::distribution::Distribution;
use crate::report::model::early_end::{Aborted, GaveUp, Outage};
use crate::report::model::failures::FailureRow;
use crate::report::model::generator::Generator;
use crate::report::model::interval::Interval;
use crate::report::model::series::{FindMax, Rep};
use crate::report::model::server::{Network, Server};
use crate::report::model::settings::Config;
use crate::report::model::tool::Tool;

pub(crate) const SCHEMA_VERSION: u32 = 1;

/// `config.mode` of a closed loop. It names what is measured wherever the figures are shown.
pub(crate) const CLOSED_LOOP: &str = "closed loop (saturation)";

/// `config.mode` of a run with a schedule (`--rate`, `--stages`).
pub(crate) const OPEN_LOOP: &str = "open loop";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    pub(crate) tool: Tool,
    /// The argument of `--name`.
    pub(crate) name: Option<String>,
    /// The arguments of `--label`.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) command: Vec<String>,
    pub(crate) started_at: String,
    pub(crate) env: Env,
    pub(crate) target: Target,
    pub(crate) config: Config,
    pub(crate) phases: Vec<Phase>,
    pub(crate) load: Load,
    pub(crate) connections: Connections,
    pub(crate) latency_us: Latencies,
    /// Method of the confidence intervals of the figures above.
    pub(crate) confidence: Confidence,
    /// The intervals of the run, of length `--interval`, in order of time.
    pub(crate) intervals: Vec<Interval>,
    /// Each run of `--reps`; empty for a single run.
    #[serde(default)]
    pub(crate) reps: Vec<Rep>,
    /// Result of `--find-max`.
    #[serde(default)]
    pub(crate) find_max: Option<FindMax>,
    /// The gate of `--abort-on` that ended the run early.
    #[serde(default)]
    pub(crate) aborted: Option<Aborted>,
    /// Reason of the early end, if the target was lost.
    #[serde(default)]
    pub(crate) gave_up: Option<GaveUp>,
    /// Times of 0.1 s and more without service, in order: with failures, and without a reply on any
    /// connection.
    #[serde(default)]
    pub(crate) outages: Vec<Outage>,
    /// The target was out of service when the load ended, and no connection was open.
    #[serde(default)]
    pub(crate) target_lost: bool,
    /// Comparison with the run of `--baseline`.
    #[serde(default)]
    pub(crate) baseline: Option<Baseline>,
    /// Every kind of failure, of the whole run.
    pub(crate) failures: Vec<FailureRow>,
    pub(crate) generator: Generator,
    /// The process under test, if it is known.
    pub(crate) server: Option<Server>,
    /// TCP counters of the kernel.
    #[serde(default)]
    pub(crate) network: Option<Network>,
    /// The checked gates, in the order of the command line.
    pub(crate) thresholds: Vec<Threshold>,
    /// Facts that limit the meaning of the figures.
    pub(crate) notes: Vec<String>,
    /// Bugs of loadtest that it detected during the run.
    pub(crate) internal_errors: Vec<String>,
    pub(crate) interrupted: bool,
    pub(crate) exit_code: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Env {
    pub(crate) kernel: Option<String>,
    pub(crate) cpu: Option<String>,
    pub(crate) cores: Option<usize>,
    pub(crate) driver: String,
    pub(crate) limits: EnvLimits,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnvLimits {
    pub(crate) files_needed: u64,
    pub(crate) files_limit: u64,
    pub(crate) ports_needed: u64,
    pub(crate) ports_available: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Target {
    pub(crate) url: String,
    /// `ip:port`, or `unix:` and a path.
    pub(crate) address: String,
    pub(crate) protocol: String,
    /// Version and cipher suite that the first connection negotiated.
    #[serde(default)]
    pub(crate) tls: Option<String>,
    pub(crate) own_server: bool,
}

impl Target {
    /// Whether the target is a Unix socket, which has no ports, no SYNs and no Nagle's algorithm.
    pub(crate) fn is_unix(&self) -> bool {
        self.address.starts_with(UNIX)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// Actual length.
    pub(crate) seconds: f64,
}

/// Messages of the measured window: those *due* in it (open loop) or sent in it (closed loop).
/// `scheduled` is the sum of the five outcomes; `sent` excludes those never sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Load {
    /// In a closed loop the same as `sent`.
    pub(crate) scheduled: u64,
    pub(crate) sent: u64,
    pub(crate) completed: u64,
    pub(crate) errors: LoadErrors,
    pub(crate) timed_out: u64,
    pub(crate) in_flight: u64,
    /// Due, but never sent, because no connection was free.
    pub(crate) never_sent: u64,
    /// Of these, messages that were late by more than `--deadline` when a connection was free.
    #[serde(default)]
    pub(crate) shed: u64,
    /// Scheduled per second of the measured window; `null` in a closed loop, which has no schedule.
    pub(crate) offered_rate: Option<f64>,
    /// Completed per second of the measured window.
    pub(crate) achieved_rate: f64,
    /// 95 % confidence interval, if the run is long enough.
    pub(crate) achieved_rate_ci: Option<[f64; 2]>,
    /// Bytes of messages that the kernel accepted; of a partly sent message in steps of 64 KiB.
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Messages whose reply was complete before they were fully sent.
    #[serde(default)]
    pub(crate) answered_early: u64,
    /// Replies before the window, not included in the figures above.
    pub(crate) warmup_completed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LoadErrors {
    pub(crate) total: u64,
    #[serde(flatten)]
    pub(crate) by_class: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Connections {
    pub(crate) asked: u32,
    /// Connection attempts; fewer than asked if the target did not answer or the run was
    /// interrupted.
    pub(crate) attempted: u32,
    pub(crate) opened: u32,
    pub(crate) failed: u32,
    /// With at least one reply, at any time.
    pub(crate) served: u32,
    /// Opened, and failed later.
    pub(crate) lost: u32,
    /// From the first attempt to the last opened connection.
    pub(crate) opened_in_s: f64,
    /// Connections opened again after one ended.
    pub(crate) reconnects: u64,
    /// Connects of all kinds that took 0.99 s or more: the kernel retransmits a lost SYN after 1 s.
    #[serde(default)]
    pub(crate) slow_connects: Option<u64>,
    /// The connections of `--idle`; not included in the figures above.
    pub(crate) idle: Option<IdleConnections>,
    /// Measured replies per connection.
    pub(crate) per_conn: Option<PerConnection>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct IdleConnections {
    pub(crate) asked: u32,
    /// At the end.
    pub(crate) open: u32,
    /// Opened, and closed by the target or the network.
    pub(crate) lost: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PerConnection {
    pub(crate) min: u64,
    pub(crate) p50: u64,
    pub(crate) max: u64,
    pub(crate) jain: f64,
    /// Number of connections by number of replies.
    pub(crate) bars: Vec<RepliesBar>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Latencies {
    /// From the scheduled send to the last byte of the reply. Only of an open loop: a closed loop
    /// has no schedule, and its latencies are not corrected.
    pub(crate) response: Option<Distribution>,
    /// From the actual send to the last byte of the reply.
    pub(crate) service: Option<Distribution>,
    /// Of every connect, in any phase.
    pub(crate) connect: Option<Distribution>,
    /// Of every TLS handshake, counted from the connect.
    #[serde(default)]
    pub(crate) tls: Option<Distribution>,
    /// Of every WebSocket handshake, counted from the connect.
    #[serde(default)]
    pub(crate) handshake: Option<Distribution>,
}

impl Report {
    /// The main latencies and their name: `response` in an open loop, `service` in a closed one.
    pub(crate) fn headline(&self) -> Option<(&'static str, &Distribution)> {
        let Latencies { response, service, connect: _, tls: _, handshake: _ } = &self.latency_us;
        match (response, service) {
            (Some(response), _) => Some(("response", response)),
            (None, Some(service)) => Some(("service", service)),
            (None, None) => None,
        }
    }

    /// Whether the run ended before its time: by a signal, by `--abort-on` or because the target
    /// was lost. Its gates are then not conclusive.
    pub(crate) fn ended_early(&self) -> bool {
        self.interrupted || self.aborted.is_some() || self.gave_up.is_some()
    }

    /// Start of the measured window, in seconds from the start of the run.
    pub(crate) fn measured_from_s(&self) -> f64 {
        self.phases
            .iter()
            .take_while(|phase| phase.name != "measured")
            .map(|phase| phase.seconds)
            .sum()
    }
}
