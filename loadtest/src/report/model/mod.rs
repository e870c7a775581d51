//! The report: one value with every figure of a run, from which text and JSON are rendered.
//!
//! **Invariant.** A figure is computed once, in `run::summary`, and rendered from here. Text and JSON
//! cannot disagree except by rounding (`tests/it/run.rs` compares them).
//!
//! The field names are the JSON's, and part of the interface: `schema_version` changes when one
//! goes or means something else.

pub(crate) mod comparison;
pub(crate) mod distribution;
pub(crate) mod failures;
pub(crate) mod interval;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod tool;
pub(crate) mod verdicts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::address::UNIX;
use crate::base::driver::DriverUsed;
use crate::measure::stats::RepliesBar;
use crate::report::model::distribution::Distribution;
use crate::report::model::failures::FailureRow;
use crate::report::model::interval::Interval;
use crate::report::model::server::{Network, Server};
use crate::report::model::settings::Config;
use crate::report::model::tool::Tool;
use crate::report::model::verdicts::{
    Aborted, Baseline, Confidence, FindMax, GaveUp, GeneratorVerdict, Outage, Rep, Threshold,
};

pub(crate) const SCHEMA_VERSION: u32 = 1;

/// `config.mode`: what a closed loop measures is said wherever its figures are shown.
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
    /// What the confidence intervals of the figures above rest on.
    pub(crate) confidence: Confidence,
    /// The run in pieces of `--interval`, in order of time.
    pub(crate) intervals: Vec<Interval>,
    /// Each run of `--reps`; empty if there was one only.
    #[serde(default)]
    pub(crate) reps: Vec<Rep>,
    /// What `--find-max` found.
    #[serde(default)]
    pub(crate) find_max: Option<FindMax>,
    /// What ended the run early, if `--abort-on` did.
    #[serde(default)]
    pub(crate) aborted: Option<Aborted>,
    /// Why the run ended early, if the target was lost.
    #[serde(default)]
    pub(crate) gave_up: Option<GaveUp>,
    /// Times of 0.1 s and more without service, in order: failures, and no reply on any connection.
    #[serde(default)]
    pub(crate) outages: Vec<Outage>,
    /// The target was out of service when the load ended, and no connection was open.
    #[serde(default)]
    pub(crate) target_lost: bool,
    /// How the run stands to that of `--baseline`.
    #[serde(default)]
    pub(crate) baseline: Option<Baseline>,
    /// Every kind of failure, of the whole run.
    pub(crate) failures: Vec<FailureRow>,
    pub(crate) generator: Generator,
    /// The process that was tested, if it is known.
    pub(crate) server: Option<Server>,
    /// What the kernel counted about TCP.
    #[serde(default)]
    pub(crate) network: Option<Network>,
    /// The gates that were judged, in the order they were given.
    pub(crate) thresholds: Vec<Threshold>,
    /// What a reader should know before trusting the figures.
    pub(crate) notes: Vec<String>,
    /// Bugs of this program that it noticed itself.
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
    /// Version and cipher suite, as the first connection has agreed on them.
    #[serde(default)]
    pub(crate) tls: Option<String>,
    pub(crate) own_server: bool,
}

impl Target {
    /// A Unix socket has no ports, no SYNs and no algorithm of Nagle's.
    pub(crate) fn is_unix(&self) -> bool {
        self.address.starts_with(UNIX)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// How long it really took.
    pub(crate) seconds: f64,
}

/// The messages of the measured window, which are those *due* in it (open loop) or sent in it
/// (closed loop). `scheduled` is the sum of the five fates; `sent` leaves out those never sent.
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
    /// Due, but the load never left this program: no connection had a place for it.
    pub(crate) never_sent: u64,
    /// Of these, messages that were later than `--deadline` when it was their turn.
    #[serde(default)]
    pub(crate) shed: u64,
    /// Scheduled per second of the measured window; `null` in a closed loop, which offers nothing.
    pub(crate) offered_rate: Option<f64>,
    /// Completed per second of the measured window.
    pub(crate) achieved_rate: f64,
    /// 95 % confidence interval, where the run allows one.
    pub(crate) achieved_rate_ci: Option<[f64; 2]>,
    /// Of messages, as far as the kernel has taken them: of a message that was cut, in steps of 64
    /// KiB.
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Messages whose reply was complete before they had been sent whole.
    #[serde(default)]
    pub(crate) answered_early: u64,
    /// Replies before the window, in none of the figures above.
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
    /// Connects begun; fewer than asked if nobody was there or the run was interrupted.
    pub(crate) attempted: u32,
    pub(crate) opened: u32,
    pub(crate) failed: u32,
    /// With at least one reply, at any time.
    pub(crate) served: u32,
    /// Opened, and failed later.
    pub(crate) lost: u32,
    /// From the first connect to the last that opened.
    pub(crate) opened_in_s: f64,
    /// Connections opened again after one ended.
    pub(crate) reconnects: u64,
    /// Connects of all kinds that took 0.99 s or more, after which a lost SYN is sent again.
    #[serde(default)]
    pub(crate) slow_connects: Option<u64>,
    /// The silent herd, if one was asked for; not in the figures above.
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
    /// How many connections had how many replies.
    pub(crate) bars: Vec<RepliesBar>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Latencies {
    /// From the moment the schedule wanted it sent to the last byte of the reply. Only of an open
    /// loop: a closed one has no schedule, and no correction is invented for it.
    pub(crate) response: Option<Distribution>,
    /// From the actual send to the last byte of the reply.
    pub(crate) service: Option<Distribution>,
    /// Of every connect, at any time.
    pub(crate) connect: Option<Distribution>,
    /// Of every handshake of TLS, which comes after the connect.
    #[serde(default)]
    pub(crate) tls: Option<Distribution>,
    /// From the connect to the peer's agreement, of a protocol that needs it: of WebSocket.
    #[serde(default)]
    pub(crate) handshake: Option<Distribution>,
}

/// How this program itself fared: figures of a saturated generator describe the generator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Generator {
    /// Of the workers, each once.
    pub(crate) drivers: Vec<DriverUsed>,
    pub(crate) verdict: GeneratorVerdict,
    /// Why it is no better.
    #[serde(default)]
    pub(crate) verdict_reason: Option<String>,
    /// How late messages left although there was a place for them: this program's own part of the
    /// response times. `null` in a closed loop.
    pub(crate) send_lag_us: Option<Lag>,
    /// How late the workers' loops came to a timer that rang at fixed times, a hundred times a
    /// second: what anything may have waited for this program.
    #[serde(default)]
    pub(crate) loop_lag_us: Option<Lag>,
    /// Of one core, per worker, in the measured window.
    pub(crate) cpu_percent: Vec<f64>,
    /// Of one core, per worker: the part of `cpu_percent` in which an open loop only waited for the
    /// next message, so as not to miss it (`--spin`).
    #[serde(default)]
    pub(crate) spin_percent: Vec<f64>,
    /// Runnable but without a processor, the worst worker.
    pub(crate) run_queue_wait_percent: Option<f64>,
    pub(crate) cq_overflows: u64,
    pub(crate) enobufs: u64,
    /// Of the whole process, at the end of the measured window.
    pub(crate) rss_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Lag {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Report {
    /// The latencies the run is about, and what they are: of an open loop from the scheduled send,
    /// of a closed one from the actual.
    pub(crate) fn headline(&self) -> Option<(&'static str, &Distribution)> {
        let Latencies { response, service, connect: _, tls: _, handshake: _ } = &self.latency_us;
        match (response, service) {
            (Some(response), _) => Some(("response", response)),
            (None, Some(service)) => Some(("service", service)),
            (None, None) => None,
        }
    }

    /// By a signal, by `--abort-on` or because the target was lost: what it would have become,
    /// nobody knows.
    pub(crate) fn ended_early(&self) -> bool {
        self.interrupted || self.aborted.is_some() || self.gave_up.is_some()
    }

    /// When the measured window began, from the beginning of the run.
    pub(crate) fn measured_from_s(&self) -> f64 {
        self.phases
            .iter()
            .take_while(|phase| phase.name != "measured")
            .map(|phase| phase.seconds)
            .sum()
    }
}
