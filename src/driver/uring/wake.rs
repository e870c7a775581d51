//! The multishot poll of the eventfd that lets other threads end a sleep.
//!
//! The poll stays armed from the first sleep on: each write to the eventfd posts one completion,
//! and no entry has to be submitted again. The count of the eventfd is not read on this path. A
//! write notifies pollers also while the count is not zero, and the count cannot reach its maximum:
//! there is one write per sleep.

use std::sync::Arc;

use super::entry::{Entry, Ring};
use super::internal;
use super::queues::Queues;
use crate::sys::epoll;
use crate::sys::eventfd::EventFd;

pub(super) struct WakePoll {
    wake_fd: Arc<EventFd>,
    is_armed: bool,
    /// A completion has come since the watchdog's last look.
    is_woken: bool,
    /// The watchdog's last look found a write without a completion.
    is_suspect: bool,
}

impl WakePoll {
    pub(super) fn new(wake_fd: Arc<EventFd>) -> WakePoll {
        WakePoll { wake_fd, is_armed: false, is_woken: false, is_suspect: false }
    }

    pub(super) fn wake_fd(&self) -> &Arc<EventFd> {
        &self.wake_fd
    }

    pub(super) fn is_armed(&self) -> bool {
        self.is_armed
    }

    /// Returns whether another thread's wake will end a sleep.
    pub(super) fn arm<R: Ring>(&mut self, queues: &mut Queues<R>) -> bool {
        if !self.is_armed {
            let entry = Entry::WakePoll { fd: self.wake_fd.raw() };
            let pushed = queues.push_now(internal::user_data(internal::WAKE, 0), entry);
            self.is_armed = pushed.is_ok();
        }
        self.is_armed
    }

    /// Handles a completion of the poll. After the final one, the next wait arms another.
    pub(super) fn completed(&mut self, more: bool) {
        self.is_armed = more;
        self.is_woken = true;
    }

    /// Looks whether the kernel has lost a wake-up of the poll (H55), and if so, cancels the poll.
    /// The next wait arms another.
    ///
    /// A write whose completion has not been reaped yet looks the same, so the loss counts only if
    /// no completion has come by the next look.
    pub(super) fn look<R: Ring>(&mut self, queues: &mut Queues<R>) -> bool {
        let is_written = self.is_armed && epoll::drain_count(self.wake_fd.raw());
        let is_woken = std::mem::take(&mut self.is_woken);
        let was_suspect = std::mem::replace(&mut self.is_suspect, is_written && !is_woken);
        let is_lost = was_suspect && !is_woken && self.is_armed;
        if is_lost {
            self.is_suspect = false;
            self.cancel(queues);
        }
        is_lost
    }

    pub(super) fn cancel<R: Ring>(&self, queues: &mut Queues<R>) {
        let target = internal::user_data(internal::WAKE, 0);
        let cancel = internal::user_data(internal::CANCEL, 0);
        let _ = queues.push_now(cancel, Entry::Cancel { target }); // the next look tries again
    }
}
