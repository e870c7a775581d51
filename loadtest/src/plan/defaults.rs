//! Defaults that more than one command uses.

use crate::plan::target_url::Url;

/// Connections if a URL is given: a default must not flood a foreign server.
pub(crate) const CONNECTIONS_TO_URL: u32 = 50;

/// Connections to the built-in server, if no URL is given.
pub(crate) const CONNECTIONS_TO_OWN_SERVER: u32 = 10_000;

/// The most connects in flight.
pub(crate) const CONNECTS_IN_FLIGHT_MAX: u32 = 256;

/// Connects per second. A burst of thousands of connects overflows any accept queue, and the lost
/// SYNs are sent again after 1 s and 3 s, which would look like latency.
pub(crate) const CONNECT_RATE: u32 = 5_000;

/// The number of connections of a run.
pub(crate) fn connections(asked: Option<u32>, url: Option<&Url>) -> u32 {
    asked.unwrap_or(match url {
        Some(_) => CONNECTIONS_TO_URL,
        None => CONNECTIONS_TO_OWN_SERVER,
    })
}
