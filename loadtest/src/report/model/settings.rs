//! Settings of the run: `config` of the report. Results are elsewhere.

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
    /// Time that workers busy-wait before a message is due, of an open loop.
    #[serde(default)]
    pub(crate) spin_us: Option<f64>,
    /// Messages in flight per connection.
    pub(crate) pipeline: u32,
    pub(crate) seed: u64,
    pub(crate) interval_s: f64,
    /// `--requests`: the run ends after this many messages.
    pub(crate) requests_max: Option<u64>,
    pub(crate) think: Option<String>,
    pub(crate) requests_per_conn: Option<u64>,
    pub(crate) conn_lifetime_s: Option<f64>,
    /// `fin` or `rst`.
    pub(crate) close: String,
    /// `always` or `never`.
    pub(crate) reconnect: String,
    pub(crate) idle: u32,
    /// Whether each message was unique (`--verify`).
    pub(crate) verify: bool,
    /// Source addresses of the connections; empty if the kernel chose.
    pub(crate) sources: Vec<String>,
    /// Processors of the workers; empty if they were not pinned.
    pub(crate) cpus: Vec<u32>,
    /// Percentiles in the summary (`--percentiles`); distributions have these and the default ones.
    pub(crate) percentiles: Vec<f64>,
    pub(crate) connections_asked: u32,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    /// Size of each message, or of the largest; of HTTP, the whole request.
    pub(crate) message_bytes: u32,
    /// Size of the smallest message, if sizes are random.
    #[serde(default)]
    pub(crate) message_bytes_min: Option<u32>,
    /// Requests to an HTTP target.
    pub(crate) http: Option<HttpSettings>,
    /// TLS settings, if the target speaks TLS.
    #[serde(default)]
    pub(crate) tls: Option<TlsSettings>,
    /// Handshake and messages of a WebSocket target.
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
    /// `TCP_NODELAY`; `false` on a Unix socket.
    pub(crate) nodelay: bool,
    /// The arguments of `--rcvbuf` and `--sndbuf`; `null` is the kernel's default.
    #[serde(default)]
    pub(crate) rcvbuf_bytes: Option<u32>,
    #[serde(default)]
    pub(crate) sndbuf_bytes: Option<u32>,
}

/// Verification of a TLS target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TlsSettings {
    /// Server name that was sent and verified in the certificate.
    pub(crate) name: String,
    /// Source of trust in the certificate, as a text.
    pub(crate) trust: String,
}

/// Requests to an HTTP target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HttpSettings {
    pub(crate) method: String,
    /// As `--header` had them: `name: value`.
    pub(crate) fields: Vec<String>,
    /// `null` without a body.
    pub(crate) body_bytes: Option<u64>,
    /// The argument of `--expect-status`.
    pub(crate) expect_status: String,
    /// Number of URLs that each worker requests in turn (`--urls`).
    #[serde(default = "one")]
    pub(crate) requests: u64,
}

fn one() -> u64 {
    1
}

/// Handshake and messages of a WebSocket target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WsSettings {
    /// As `--header` had them: `name: value`.
    pub(crate) fields: Vec<String>,
    /// `binary` or `text`.
    pub(crate) messages: String,
}
