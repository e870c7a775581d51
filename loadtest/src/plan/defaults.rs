//! Defaults that more than one command uses.

use crate::plan::target_url::Url;

/// Connections when a URL is given; somebody else's server is not to be flooded by default.
pub(crate) const CONNECTIONS_TO_URL: u32 = 50;

/// Connections of the canonical workload, to our own server.
pub(crate) const CONNECTIONS_TO_OWN_SERVER: u32 = 10_000;

/// Connects in flight at a time by default.
pub(crate) const CONNECTS_IN_FLIGHT_MAX: u32 = 256;

/// An unpaced burst of thousands of connects overflows any accept queue, and the lost SYNs come back
/// after 1 s and 3 s, looking like latency.
pub(crate) const CONNECT_RATE: u32 = 5_000;

/// How many connections a run has.
pub(crate) fn connections(asked: Option<u32>, url: Option<&Url>) -> u32 {
    asked.unwrap_or(match url {
        Some(_) => CONNECTIONS_TO_URL,
        None => CONNECTIONS_TO_OWN_SERVER,
    })
}
