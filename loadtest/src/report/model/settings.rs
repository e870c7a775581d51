//! The run as it was asked for: `config` of the report. What became of it is not here.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Config {
    /// [`crate::report::model::CLOSED_LOOP`] or [`crate::report::model::OPEN_LOOP`].
    pub(crate) mode: String,
    /// `50 000/s`, `from 1 000/s to 5 000/s` or `stages 10s:100 60s:500`, of an open loop.
    pub(crate) rate: Option<String>,
    /// `constant` or `poisson`, of an open loop.
    pub(crate) arrivals: Option<String>,
    /// `any` or `per-conn`, of an open loop.
    pub(crate) dispatch: Option<String>,
    /// How long before a message is due the workers stay awake, of an open loop.
    #[serde(default)]
    pub(crate) spin_us: Option<f64>,
    /// Messages that a connection may have outstanding.
    pub(crate) pipeline: u32,
    pub(crate) seed: u64,
    pub(crate) interval_s: f64,
    /// `--requests`: the run ends when so many are done.
    pub(crate) requests_max: Option<u64>,
    pub(crate) think: Option<String>,
    pub(crate) requests_per_conn: Option<u64>,
    pub(crate) conn_lifetime_s: Option<f64>,
    /// `fin` or `rst`.
    pub(crate) close: String,
    /// `always` or `never`.
    pub(crate) reconnect: String,
    pub(crate) idle: u32,
    /// Whether each message was unlike every other (`--verify`).
    pub(crate) verify: bool,
    /// Local addresses that the connections were spread over; empty if the kernel chose.
    pub(crate) sources: Vec<String>,
    /// Processors that the workers were pinned to; empty if the kernel chose.
    pub(crate) cpus: Vec<u32>,
    /// What the summary shows (`--percentiles`); distributions have these and the default ones.
    pub(crate) percentiles: Vec<f64>,
    pub(crate) connections_asked: u32,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    /// Of each message, or of the longest; of HTTP, the whole request.
    pub(crate) message_bytes: u32,
    /// Of the shortest, if sizes were drawn at random.
    #[serde(default)]
    pub(crate) message_bytes_min: Option<u32>,
    /// What was asked, of an `http://` target.
    pub(crate) http: Option<HttpSettings>,
    /// Of a target that speaks TLS.
    #[serde(default)]
    pub(crate) tls: Option<TlsSettings>,
    /// What was agreed on with a `ws://` target.
    #[serde(default)]
    pub(crate) ws: Option<WsSettings>,
    pub(crate) duration_s: f64,
    pub(crate) warmup_s: f64,
    pub(crate) drain_s: f64,
    /// The argument of `--deadline`.
    #[serde(default)]
    pub(crate) deadline_s: Option<f64>,
    pub(crate) connects_per_s: f64,
    pub(crate) connects_in_flight_max: u32,
    pub(crate) connect_timeout_s: f64,
    pub(crate) timeout_s: f64,
    /// Off on a Unix socket, which has nothing of the kind.
    pub(crate) nodelay: bool,
    /// As `--rcvbuf` and `--sndbuf` asked for them; `None` is the kernel's choice.
    #[serde(default)]
    pub(crate) rcvbuf_bytes: Option<u32>,
    #[serde(default)]
    pub(crate) sndbuf_bytes: Option<u32>,
}

/// How a target that speaks TLS was known.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TlsSettings {
    /// Asked for, and to be found in the certificate.
    pub(crate) name: String,
    /// Who vouches for the certificate, in words.
    pub(crate) trust: String,
}

/// What was asked of an `http://` target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HttpSettings {
    pub(crate) method: String,
    /// As `--header` had them: `name: value`.
    pub(crate) fields: Vec<String>,
    /// `None` without a body.
    pub(crate) body_bytes: Option<u64>,
    /// As `--expect-status` has it.
    pub(crate) expect_status: String,
    /// How many were asked in turn, each worker by itself (`--urls`).
    #[serde(default = "one")]
    pub(crate) requests: u64,
}

fn one() -> u64 {
    1
}

/// What was agreed on with a `ws://` target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WsSettings {
    /// As `--header` had them: `name: value`.
    pub(crate) fields: Vec<String>,
    /// `binary` or `text`.
    pub(crate) messages: String,
}
