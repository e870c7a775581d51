//! The report: one value with every figure of a run, from which text and JSON are rendered.
//!
//! **Invariant.** A figure is computed once, in `build`, and rendered from here. Text and JSON cannot
//! disagree except by rounding (`tests/it/run.rs` compares them).
//!
//! The field names are the JSON's, and part of the interface: `schema_version` changes when one goes
//! or means something else.

pub(crate) mod build;
pub(crate) mod figures;
mod json;
mod text;
mod total;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use self::json::JsonFile;
use crate::driver::DriverUsed;

/// What a closed loop measures, said wherever its figures are shown.
pub(crate) const MODE: &str = "closed loop (saturation)";

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    pub(crate) tool: Tool,
    pub(crate) command: Vec<String>,
    pub(crate) started_at: String,
    pub(crate) env: Env,
    pub(crate) target: Target,
    pub(crate) config: Config,
    pub(crate) phases: Vec<Phase>,
    pub(crate) load: Load,
    pub(crate) connections: Connections,
    pub(crate) latency_us: Latencies,
    /// Every kind of failure, of the whole run.
    pub(crate) failures: Vec<FailureRow>,
    pub(crate) generator: Generator,
    /// Our own server, if the run started one.
    pub(crate) server: Option<Server>,
    /// What a reader should know before trusting the figures.
    pub(crate) notes: Vec<String>,
    /// Bugs of this program that it noticed itself.
    pub(crate) internal_errors: Vec<String>,
    pub(crate) interrupted: bool,
    pub(crate) exit_code: u8,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Tool {
    pub(crate) fn this() -> Tool {
        Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Env {
    pub(crate) kernel: Option<String>,
    pub(crate) cpu: Option<String>,
    pub(crate) cores: Option<usize>,
    pub(crate) driver: String,
    pub(crate) limits: EnvLimits,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct EnvLimits {
    pub(crate) files_needed: u64,
    pub(crate) files_limit: u64,
    pub(crate) ports_needed: u64,
    pub(crate) ports_available: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) address: String,
    pub(crate) protocol: &'static str,
    pub(crate) own_server: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Config {
    pub(crate) mode: &'static str,
    pub(crate) connections_asked: u32,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    pub(crate) message_bytes: u32,
    pub(crate) duration_s: f64,
    pub(crate) warmup_s: f64,
    pub(crate) drain_s: f64,
    pub(crate) connects_per_s: f64,
    pub(crate) connects_in_flight_max: u32,
    pub(crate) connect_timeout_s: f64,
    pub(crate) timeout_s: f64,
    pub(crate) nodelay: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    /// How long it really took.
    pub(crate) seconds: f64,
}

/// The messages sent in the measured window: `sent` is the sum of the four fates.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) sent: u64,
    pub(crate) completed: u64,
    pub(crate) errors: LoadErrors,
    pub(crate) timed_out: u64,
    pub(crate) in_flight: u64,
    /// Completed per second of the measured window.
    pub(crate) achieved_rate: f64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Replies before the window, in none of the figures above.
    pub(crate) warmup_completed: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadErrors {
    pub(crate) total: u64,
    #[serde(flatten)]
    pub(crate) by_class: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Serialize)]
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
    pub(crate) connect_us: Option<Distribution>,
    /// Measured replies per connection.
    pub(crate) per_conn: Option<PerConnection>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct PerConnection {
    pub(crate) min: u64,
    pub(crate) p50: u64,
    pub(crate) max: u64,
    pub(crate) jain: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latencies {
    /// From the actual send to the last byte of the reply.
    pub(crate) service: Option<Distribution>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Distribution {
    pub(crate) samples: u64,
    /// Of these, waits that we ended: their true value is larger.
    pub(crate) censored: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
    /// By name: `p50`, `p99.9`.
    pub(crate) percentiles: BTreeMap<String, f64>,
    pub(crate) bars: Vec<BarRow>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct BarRow {
    pub(crate) over_us: u64,
    /// `null` in the last row of a chart with a long tail.
    pub(crate) up_to_us: Option<u64>,
    pub(crate) count: u64,
    pub(crate) percent: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailureRow {
    pub(crate) stage: &'static str,
    pub(crate) class: &'static str,
    pub(crate) errno: Option<String>,
    pub(crate) count: u64,
    /// Of these, messages sent in the measured window.
    pub(crate) measured: u64,
}

/// How this program itself fared: figures of a saturated generator describe the generator.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Generator {
    /// Of the workers, each once.
    pub(crate) drivers: Vec<DriverUsed>,
    pub(crate) verdict: Verdict,
    /// Of one core, per worker, in the measured window.
    pub(crate) cpu_percent: Vec<f64>,
    /// Runnable but without a processor, the worst worker.
    pub(crate) run_queue_wait_percent: Option<f64>,
    pub(crate) cq_overflows: u64,
    pub(crate) enobufs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Healthy,
    Marginal,
    Saturated,
    Unknown,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) pid: u32,
    pub(crate) kind: &'static str,
    pub(crate) driver: DriverUsed,
    /// Of one core, in the measured window.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) cpu_us_per_message: Option<f64>,
    /// At the end of the measured window.
    pub(crate) rss_bytes: Option<u64>,
}

impl Report {
    /// The summary for people.
    pub(crate) fn to_text(&self) -> String {
        text::render(self)
    }

    /// The report for programs, with a final newline.
    pub(crate) fn to_json(&self) -> String {
        json::render(self)
    }

    /// Why there is nothing to show, if there is nothing: one line.
    pub(crate) fn unreachable(&self) -> Option<String> {
        let connections = &self.connections;
        if connections.served > 0 || self.interrupted {
            return None;
        }
        let failures: Vec<String> = self.failures.iter().map(FailureRow::describe).collect();
        let failures = failures.join(", ");
        Some(if connections.opened == 0 {
            let (failed, attempted) = (connections.failed, connections.attempted);
            format!(
                "nobody answers at {}: {failed} of {attempted} connects failed ({failures})",
                self.target.url
            )
        } else if failures.is_empty() {
            format!("{}: no reply within {} s", self.target.url, self.config.duration_s)
        } else {
            format!("{}: no successful reply ({failures})", self.target.url)
        })
    }
}

impl FailureRow {
    /// `recv reset ECONNRESET 12`
    pub(crate) fn describe(&self) -> String {
        let errno = self.errno.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{} {}{errno} {}", self.stage, self.class, self.count)
    }
}
