//! The read of the eventfd that lets other threads end a sleep.

use std::io;
use std::sync::Arc;

use super::entry::{Entry, Ring};
use super::internal;
use super::queues::Queues;
use crate::sys::epoll;
use crate::sys::eventfd::EventFd;
use crate::sys::memory::Mapping;

pub(super) struct WakeRead {
    wake_fd: Arc<EventFd>,
    is_armed: bool,
    /// The eventfd was readable at the watchdog's last look, and the read has not completed since.
    is_suspect: bool,
    /// Lent to the kernel while the read is armed. A mapping, because its address must not change.
    target: Mapping,
}

impl WakeRead {
    pub(super) fn new(wake_fd: Arc<EventFd>) -> io::Result<WakeRead> {
        let target = Mapping::hidden_from_children(size_of::<u64>())?;
        Ok(WakeRead { wake_fd, is_armed: false, is_suspect: false, target })
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
            let entry = Entry::WakeRead { fd: self.wake_fd.raw(), target: self.target.as_ptr() };
            let pushed = queues.push_now(internal::user_data(internal::WAKE, 0), entry);
            self.is_armed = pushed.is_ok();
        }
        self.is_armed
    }

    /// Handles the completion of the read. The next wait arms another.
    pub(super) fn ended(&mut self) {
        self.is_armed = false;
        self.is_suspect = false;
    }

    /// Looks whether the kernel has lost the wake-up of the read (H55), and if so, cancels it. The
    /// next wait arms another.
    pub(super) fn look<R: Ring>(&mut self, queues: &mut Queues<R>) -> bool {
        let is_ready = self.is_armed && epoll::is_readable(self.wake_fd.raw());
        let is_lost = std::mem::replace(&mut self.is_suspect, is_ready) && is_ready;
        if is_lost {
            self.cancel(queues);
        }
        is_lost
    }

    pub(super) fn cancel<R: Ring>(&self, queues: &mut Queues<R>) {
        let target = internal::user_data(internal::WAKE, 0);
        let cancel = internal::user_data(internal::CANCEL, 0);
        let _ = queues.push_now(cancel, Entry::Cancel { target }); // the next look tries again
    }

    /// Keeps the memory that the kernel may write to mapped, forever.
    pub(super) fn leak(self) {
        std::mem::forget(self.target);
    }
}
