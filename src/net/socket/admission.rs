//! The number of open connections of a listener, and what happens beyond it.
//!
//! A connection counts from its accept until its descriptor is closed, whatever the program does
//! with the stream in between. The count outlives the listener, which it does not keep alive.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use super::listener::Listening;

/// What a listener does with connections beyond its
/// [`max_connections`](crate::net::TcpListenerBuilder::max_connections).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// They are not accepted until another connection is closed. They wait in the listen backlog,
    /// where a peer is connected and may send, and beyond the backlog the kernel turns peers away.
    #[default]
    LeaveInBacklog,
    /// They are accepted and reset at once, and counted as
    /// [`Metrics::connections_shed`](crate::Metrics::connections_shed). The peer learns at once that it
    /// is not served, and may try another server.
    Shed,
}

/// The limit of one listener.
pub(in crate::net) struct Limit {
    max: usize,
    overflow: Overflow,
    open_count: Cell<usize>,
    /// Who waits for room. Weak, as every open connection has the limit.
    listening: Weak<Listening>,
}

impl Limit {
    pub(super) fn new(max: usize, overflow: Overflow, listening: Weak<Listening>) -> Rc<Limit> {
        Rc::new(Limit { max, overflow, open_count: Cell::new(0), listening })
    }

    /// Counts a connection, if there is room for it.
    pub(super) fn admit(self: &Rc<Self>) -> Option<Admission> {
        if self.open_count.get() >= self.max {
            assert_eq!(self.overflow, Overflow::Shed, "{} of {}", self.open_count.get(), self.max);
            return None;
        }
        self.open_count.set(self.open_count.get() + 1);
        Some(Admission(Rc::clone(self)))
    }

    /// Whether each accept must take one connection only, as the next one may be one too many.
    pub(super) fn is_exact(&self) -> bool {
        self.overflow == Overflow::LeaveInBacklog
    }

    /// Whether to accept nothing for now.
    pub(super) fn is_closed(&self) -> bool {
        self.is_exact() && self.open_count.get() >= self.max
    }
}

/// One connection that counts.
pub(in crate::net) struct Admission(Rc<Limit>);

impl Drop for Admission {
    fn drop(&mut self) {
        let limit = &self.0;
        limit.open_count.set(limit.open_count.get().checked_sub(1).expect("it was counted"));
        if let Some(listening) = limit.listening.upgrade() {
            listening.has_room();
        }
    }
}

/// The descriptor of a connection, and its place among those that a listener counts.
pub(in crate::net) struct Connection {
    /// Closed before the place is given up.
    pub(super) fd: OwnedFd,
    pub(super) admission: Option<Admission>,
}

impl From<OwnedFd> for Connection {
    fn from(fd: OwnedFd) -> Connection {
        Connection { fd, admission: None }
    }
}
