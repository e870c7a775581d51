//! The part of the report's schema that says what failed, when, and where to look for it.

use serde::{Deserialize, Serialize};

/// A kind of failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureRow {
    pub(crate) stage: String,
    pub(crate) class: String,
    pub(crate) errno: Option<String>,
    /// What an HTTP reply said, of the class `status`.
    pub(crate) status: Option<u16>,
    /// Why TLS has failed, of the class `tls`.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    pub(crate) count: u64,
    /// Of these, messages sent in the measured window.
    pub(crate) measured: u64,
    /// When the first one was noticed, in seconds from the beginning of the measured window:
    /// negative before it. `null` if there was none.
    #[serde(default)]
    pub(crate) first_s: Option<f64>,
    #[serde(default)]
    pub(crate) last_s: Option<f64>,
    /// The first one.
    #[serde(default)]
    pub(crate) example: Option<FailureExample>,
}

/// One failure, for whoever looks for it in the target's log or in a trace of packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureExample {
    /// The connection's number among all of the run, from 0.
    pub(crate) connection: u64,
    /// Our end of it, with its port if it was open.
    pub(crate) local: Option<String>,
    /// The first bytes that were not expected, and their place in the reply.
    pub(crate) got: Option<String>,
}
