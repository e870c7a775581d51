//! How long connects and handshakes take.

use hdrhistogram::Histogram;

use crate::measure::stats;
use crate::net::connect::ConnectTimings;
use crate::net::tls::Connection;

/// Distributions over all connects of a worker.
#[derive(Debug)]
pub(super) struct ConnectTimes {
    pub(super) connect: Histogram<u64>,
    pub(super) tls: Histogram<u64>,
    /// Version and cipher suite of the first TLS connection.
    pub(super) tls_suite: Option<String>,
    /// Handshakes of the protocol, which follow both.
    pub(super) handshake: Histogram<u64>,
}

impl Default for ConnectTimes {
    fn default() -> ConnectTimes {
        ConnectTimes {
            connect: stats::new_histogram(),
            tls: stats::new_histogram(),
            tls_suite: None,
            handshake: stats::new_histogram(),
        }
    }
}

impl ConnectTimes {
    pub(super) fn record(&mut self, timings: ConnectTimings) {
        let ConnectTimings { connect, tls, handshake } = timings;
        let times = [
            (&mut self.connect, Some(connect)),
            (&mut self.tls, tls),
            (&mut self.handshake, handshake),
        ];
        for (histogram, time) in times {
            if let Some(time) = time {
                histogram.saturating_record(time.as_nanos() as u64);
            }
        }
    }

    /// Keeps what the first connection has negotiated.
    pub(super) fn note_suite(&mut self, connection: &Connection) {
        if self.tls_suite.is_none() {
            self.tls_suite = connection.suite();
        }
    }
}
