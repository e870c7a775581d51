//! [`PollSet`]: the descriptor by which a foreign loop waits for this one.
//!
//! The descriptor of a ring with `DEFER_TASKRUN` is not readable when the ring has completions to
//! run (H10), so it cannot be given to a foreign loop. An eventfd that is registered with the ring
//! is: the kernel notifies it for each completion that is posted or to be run. Where the cause is a
//! write to another eventfd, as by a wake of another thread, the kernel defers that by some
//! milliseconds, so the wake fd itself is in the set too. The epoll driver has a descriptor that
//! can be polled. A driver that fails is replaced, and the program keeps its
//! descriptor. So the program polls an epoll instance of its own, which holds these.
//!
//! **Invariant.** After [`Driver::park`](super::Driver::park) the set is readable if the driver has
//! something to do, and becomes readable when it has.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use crate::sys::epoll::{self, Epoll};
use crate::sys::eventfd::EventFd;

pub(crate) struct PollSet {
    set: Epoll,
    ready_fd: EventFd,
}

impl PollSet {
    pub(crate) fn new() -> io::Result<PollSet> {
        let poll_set = PollSet { set: Epoll::new()?, ready_fd: EventFd::new()? };
        poll_set.add(poll_set.ready_fd.raw())?;
        Ok(poll_set)
    }

    /// The descriptor for the foreign loop.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    /// The eventfd that a ring notifies.
    pub(super) fn ready_fd(&self) -> RawFd {
        self.ready_fd.raw()
    }

    /// Makes the set readable when `fd` is.
    pub(super) fn add(&self, fd: RawFd) -> io::Result<()> {
        self.set.add(fd, epoll::LEVEL_IN, 0)
    }

    /// Makes the set readable.
    pub(crate) fn notify(&self) {
        self.ready_fd.notify();
    }

    /// Forgets earlier notifications, before a turn that looks at everything.
    pub(crate) fn begin_turn(&self) {
        self.ready_fd.drain();
    }
}
