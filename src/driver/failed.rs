//! The replacement of a driver that cannot go on: it sleeps and can be woken.
//!
//! A sandbox may forbid a system call after the loop has started. Then no operation can be trusted
//! to end, but tasks, timers and wakes from other threads need no operation: they go on, so that a
//! program can report the failure, clean up and exit in order.
//!
//! **Invariant.** Nothing is in flight here, and nothing is ever submitted.

use std::sync::Arc;

use super::clock::Clock;
use super::request::Wait;
use super::stats::DriverStats;
use crate::sys::eventfd::EventFd;

pub(crate) struct Failed {
    wake_fd: Arc<EventFd>,
    clock: Clock,
    /// As the driver left them.
    stats: DriverStats,
}

impl Failed {
    pub(super) fn new(wake_fd: Arc<EventFd>, clock: Clock, stats: DriverStats) -> Failed {
        Failed { wake_fd, clock, stats }
    }

    /// Sleeps until the wake fd is notified or the moment comes. Coming back early costs one turn.
    pub(super) fn wait(&mut self, wait: Wait) {
        let timeout_ns = match wait {
            Wait::Poll => return,
            Wait::Until(at_ns) => Some(self.clock.pass_until(at_ns)),
            Wait::Forever => None,
        };
        self.stats.enter_calls += 1;
        self.stats.sleeps += 1;
        self.wake_fd.sleep(timeout_ns);
    }

    pub(super) fn wake_fd(&self) -> &Arc<EventFd> {
        &self.wake_fd
    }

    pub(super) fn stats(&self) -> DriverStats {
        self.stats
    }
}
