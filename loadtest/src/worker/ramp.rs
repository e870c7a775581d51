//! The state of the connects: how many are under way, and how long handshakes took.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::measure::stats;

/// How far the connects are.
#[derive(Debug)]
pub(crate) struct Ramp {
    pub(crate) started_at: Instant,
    pub(crate) started: u32,
    pub(crate) failed: u32,
    pub(crate) opened: u32,
    /// Neither opened nor failed yet.
    pub(crate) pending: u32,
    pub(crate) all_started: bool,
    /// From the start to the last connection that opened.
    pub(crate) length: Duration,
}

impl Ramp {
    pub(crate) fn new() -> Ramp {
        Ramp {
            started_at: Instant::now(),
            started: 0,
            failed: 0,
            opened: 0,
            pending: 0,
            all_started: false,
            length: Duration::ZERO,
        }
    }
}

/// What comes between the connect and the first message, where there is such a thing.
#[derive(Debug)]
pub(crate) struct Handshakes {
    pub(crate) tls: Histogram<u64>,
    pub(crate) tls_suite: Option<String>,
    pub(crate) protocol: Histogram<u64>,
}

impl Default for Handshakes {
    fn default() -> Handshakes {
        Handshakes {
            tls: stats::new_histogram(),
            tls_suite: None,
            protocol: stats::new_histogram(),
        }
    }
}
