//! The failures in the report's schema: kind, count, time and an example.

use serde::{Deserialize, Serialize};

/// A kind of failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureRow {
    pub(crate) stage: String,
    pub(crate) class: String,
    pub(crate) errno: Option<String>,
    /// Status of the HTTP replies, of the class `status`.
    pub(crate) status: Option<u16>,
    /// Reason of the TLS failure, of the class `tls`.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    pub(crate) count: u64,
    /// Of these, messages sent in the measured window.
    pub(crate) measured: u64,
    /// Time of the first one, in seconds from the start of the measured window: negative before it.
    /// `null` without a measured window.
    #[serde(default)]
    pub(crate) first_s: Option<f64>,
    #[serde(default)]
    pub(crate) last_s: Option<f64>,
    /// The first failure of this kind.
    #[serde(default)]
    pub(crate) example: Option<FailureExample>,
}

/// One failure, with the data to find it in the target's log or in a packet capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureExample {
    /// Number of the connection in the run, from 0.
    pub(crate) connection: u64,
    /// Local address, with the port if the connection was open.
    pub(crate) local: Option<String>,
    /// The first unexpected bytes and their offset in the reply.
    pub(crate) got: Option<String>,
}
