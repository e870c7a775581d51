//! The timer that ends a sleep on kernels without `epoll_pwait2`.

use std::io;

use crate::sys::epoll::{self, TimerFd};

/// A timer among the descriptors. Set when a deadline earlier than its own appears, and otherwise
/// left alone: firing too early costs one turn.
pub(super) struct Alarm {
    timer: TimerFd,
    deadline_ns: Option<u64>,
}

impl Alarm {
    pub(super) fn new(timer: TimerFd) -> Alarm {
        Alarm { timer, deadline_ns: None }
    }

    pub(super) fn set(&mut self, deadline_ns: u64) -> io::Result<()> {
        if self.deadline_ns.is_some_and(|set_ns| set_ns <= deadline_ns) {
            return Ok(());
        }
        self.deadline_ns = Some(deadline_ns);
        self.timer.set(deadline_ns)
    }

    pub(super) fn has_fired(&mut self) {
        self.deadline_ns = None;
        epoll::drain_count(self.timer.raw());
    }
}
