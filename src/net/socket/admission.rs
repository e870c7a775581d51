//! The limit on open connections of a listener.

/// What a listener does with connections beyond its
/// [`max_connections`](crate::net::TcpListenerBuilder::max_connections).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// They are not accepted until another connection is closed. They wait in the listen backlog,
    /// where a peer is connected and may send. Beyond the backlog the kernel refuses peers.
    #[default]
    LeaveInBacklog,
    /// They are accepted, reset at once and counted as
    /// [`Metrics::connections_shed`](crate::Metrics::connections_shed). The peer learns at once
    /// that it is not served, and may try another server.
    Shed,
}

/// The limit of one listener, and the connections that count for it.
pub(super) struct Limit {
    max: usize,
    overflow: Overflow,
    pub(super) open_count: usize,
}

impl Limit {
    pub(super) fn new(max: usize, overflow: Overflow) -> Limit {
        Limit { max, overflow, open_count: 0 }
    }

    /// Whether each accept must take one connection only, as the next one may exceed the limit.
    pub(super) fn is_exact(&self) -> bool {
        self.overflow == Overflow::LeaveInBacklog
    }

    /// Whether nothing must be accepted for now.
    pub(super) fn is_reached(&self) -> bool {
        self.is_exact() && self.open_count >= self.max
    }

    /// Counts a connection. Returns whether it is within the limit.
    pub(super) fn add(&mut self) -> bool {
        self.open_count += 1;
        let is_within = self.open_count <= self.max;
        assert!(is_within || !self.is_exact(), "{} of {}", self.open_count, self.max);
        is_within
    }

    /// Counts a connection that was closed.
    pub(super) fn remove(&mut self) {
        self.open_count = self.open_count.checked_sub(1).expect("it was counted");
    }
}
