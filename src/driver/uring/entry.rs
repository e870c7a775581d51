//! The seam between the driver and a ring.
//!
//! Push an entry, enter, reap, provide a buffer: nothing else crosses. There are two rings: the
//! kernel's ([`super::ring::KernelRing`]) and, under test, one whose kernel is a script
//! (`super::scripted`). The seam lies *below* the driver's bookkeeping, so cancel list, timeout
//! entry, overflow flush, op table, streams and executor all run for real under a script.

use std::io;
use std::os::fd::RawFd;

use crate::buf::Loan;
use crate::driver::request::Request;
use crate::sys::errno;

/// One submission, before it is encoded as an SQE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// Completes at once. The functional probe sends one round.
    Nop,
    /// A request from above the waist.
    Op(Request),
    /// Best effort: ask the operation with this `user_data` to end. Posts no completion on success.
    Cancel { target: u64 },
    /// Completes at this moment of `CLOCK_MONOTONIC`, in either [`TimeoutForm`].
    Timeout { deadline_ns: u64 },
    /// Moves a pending `Timeout`. Posts no completion on success.
    TimeoutUpdate { target: u64, deadline_ns: u64 },
    /// Completes at each write to an eventfd, with `MORE` as long as it stays armed.
    WakePoll { fd: RawFd },
}

/// How a ring gives the moment of a timeout to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum TimeoutForm {
    /// The moment itself. Some kernels read it by the clock of another time namespace (H83).
    #[default]
    Absolute,
    /// The time that is left when the entry is submitted. Never early; late by the time that the
    /// kernel takes for the entries of the same submission.
    Relative,
}

/// One completion, as the kernel wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cqe {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

/// The submission queue has no room. Nothing was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The flags in the memory that the ring shares with the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RingFlags {
    /// Completions wait in the kernel because the CQ was full (H01). Only an enter brings them.
    pub(crate) cq_overflow: bool,
    /// Completions wait as task work of this thread (H08, H09). Only an enter runs it.
    pub(crate) taskrun: bool,
}

impl RingFlags {
    /// Whether completions exist that the CQ does not show.
    pub(crate) fn hidden_completions(self) -> bool {
        self.cq_overflow || self.taskrun
    }
}

/// The purpose of an enter, besides submitting everything that was pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Enter {
    /// Nothing else: run no task work, return at once.
    Submit,
    /// Bring completions forward (H08), return at once.
    Collect,
    /// Bring completions forward and sleep until there is at least one.
    Sleep,
}

/// Whether an enter failed temporarily: a signal (H06), or the kernel is short of memory or room
/// (H02). The entries stay where they are, and the next enter tries again.
///
/// `EBADR` is the one that reports a loss: the kernel has dropped a completion. It is returned only
/// by an enter that submits nothing, so the loss itself is read from the ring's own counter
/// ([`Ring::dropped_count`]), and `reactor::watchdog` finds the operation that it belongs to.
pub(super) fn is_passing(error: &io::Error) -> bool {
    let passing =
        [errno::EINTR, errno::EAGAIN, errno::EBUSY, errno::ENOMEM, errno::ETIME, errno::EBADR];
    error.raw_os_error().is_some_and(|code| passing.contains(&code))
}

/// A pair of queues.
///
/// # Safety of the completions
///
/// An implementation returns completions for pushed entries only, and a buffer id only after
/// that buffer was provided. The pool and the op table check both.
pub(crate) trait Ring {
    /// Puts one entry on the submission queue. It counts as known to the kernel from now on,
    /// whatever `enter` returns later (H05).
    fn push(&mut self, user_data: u64, entry: Entry) -> Result<(), Full>;

    /// Entries that were pushed and that the kernel has not consumed.
    fn unsubmitted_count(&mut self) -> u32;

    /// One system call. A result is no information about completions (H03): read the queue.
    fn enter(&mut self, enter: Enter) -> io::Result<()>;

    /// Copies out at most `count_max` completions and frees their entries.
    fn reap(&mut self, out: &mut Vec<Cqe>, count_max: usize);

    /// Completions that `reap` would find.
    fn reapable_count(&mut self) -> usize;

    fn flags(&mut self) -> RingFlags;

    /// Completions that the kernel has lost since the ring was made, wrapping (H02). Readable at
    /// any time, while `EBADR` comes only from an enter that submits nothing, was to sleep and
    /// leaves the queue empty. Until then no enter sleeps.
    fn dropped_count(&mut self) -> u32;

    /// Lends a buffer. The kernel sees it after the next [`publish`](Ring::publish).
    fn provide(&mut self, loan: Loan);

    /// Makes provided buffers visible to the kernel.
    fn publish(&mut self);

    /// The form of the timeouts that are pushed from now on. All pushed ones have been submitted.
    fn set_timeout_form(&mut self, form: TimeoutForm);

    /// Ends the receiving side of a socket. A receive in flight on it completes with what has
    /// arrived, then with the end of the stream.
    fn shut_down_reading(&mut self, fd: RawFd) -> io::Result<()>;

    /// Has the kernel notify an eventfd for each completion that is posted or to be run (H10).
    fn register_eventfd(&mut self, fd: RawFd) -> io::Result<()>;

    /// Closes the ring and leaks the memory that the kernel may still read or write.
    fn leak(self);

    /// In a forked child: closes the child's descriptor of the ring and touches no memory.
    fn disown(self);

    fn sq_entries(&self) -> u32;

    fn cq_entries(&self) -> u32;
}
