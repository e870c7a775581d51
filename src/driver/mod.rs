//! Drivers: what performs requests.
//!
//! One run-time enum is the only mechanism for "which driver". The contract of a driver:
//!
//! - [`push`](Driver::push) never blocks and never completes inline. If it returns
//!   [`Full`](PushOutcome::Full), nothing has happened.
//! - [`cancel`](Driver::cancel) is best effort. A cancel is never dropped, and its target still
//!   gets exactly one final completion.
//! - [`wait`](Driver::wait) is the only call that sleeps. It submits everything pushed before.
//! - [`Clock::now_ns`] is the only clock. A deadline is a time of it, also where a test has paused
//!   the clock of the loop.
//! - [`Unparker`] is thread-safe, idempotent, and harmless after the driver is gone.
//! - [`deregister`](Driver::deregister) precedes every `close(2)` of a descriptor that was named.
//! - In a forked child only [`disown`](Driver::disown) may be called: the other calls act on files
//!   that belong to the parent.
//! - After [`close`](Driver::close) the kernel writes to no memory that was lent, unless the memory
//!   was leaked.
//! - An error of `wait` or `flush` is final: the driver has retried what can be retried.
//!   [`fail`](Driver::fail) then replaces the driver by one that only sleeps.
//!
//! **Absent on purpose.** Tasks and wakers. A driver knows operations by their keys; the op table
//! above it knows their owners.

pub(crate) mod choose;
mod clock;
pub mod diagnosis;
mod environment;
mod epoll;
mod failed;
mod info;
mod poll_set;
pub(crate) mod request;
mod setup_error;
mod stats;
mod steps;
pub(crate) mod uring;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::sys::eventfd::EventFd;
use crate::sys::signal::Attachment;
pub(crate) use clock::Clock;
use epoll::Epoll;
use failed::Failed;
pub(crate) use info::RingSizes;
pub use info::{DriverChoice, DriverInfo, DriverKind};
pub(crate) use poll_set::PollSet;
use request::{Completion, Interest, Key, Request, Wait};
pub(crate) use request::{Drained, PushOutcome};
pub use setup_error::SetupError;
pub(crate) use setup_error::SetupStep;
pub(crate) use stats::DriverStats;
use uring::Uring;
use uring::ring::KernelRing;
#[cfg(any(test, fuzzing))]
use uring::scripted::ring::ScriptedRing;

/// The driver of a loop.
pub(crate) enum Driver {
    Uring(Uring<KernelRing>),
    Epoll(Epoll),
    /// The remains of a driver that could not go on.
    Failed(Failed),
    #[cfg(any(test, fuzzing))]
    Scripted(Uring<ScriptedRing>),
}

impl Driver {
    /// Takes a request, which the next flush or wait submits.
    pub(crate) fn push(&mut self, key: Key, request: Request) -> PushOutcome {
        match self {
            Driver::Uring(ring) => ring.push(key, request),
            Driver::Epoll(epoll) => epoll.push(key, request),
            Driver::Failed(_) => unreachable!("{request:?} for a driver that has failed"),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.push(key, request),
        }
    }

    /// Asks an operation to end. Its final completion still comes.
    pub(crate) fn cancel(&mut self, key: Key) {
        match self {
            Driver::Uring(ring) => ring.cancel(key),
            Driver::Epoll(epoll) => epoll.cancel(key),
            Driver::Failed(_) => {}
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.cancel(key),
        }
    }

    /// Ends a receive of a socket that no other descriptor shares, at a cost that does not depend
    /// on how much is in flight. Its final completion still comes.
    pub(crate) fn end_recv(&mut self, key: Key, fd: RawFd) {
        match self {
            Driver::Uring(ring) => ring.end_recv(key, fd),
            Driver::Epoll(epoll) => epoll.cancel(key),
            Driver::Failed(_) => {}
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.end_recv(key, fd),
        }
    }

    /// Completions that the kernel has dropped for want of memory, since the driver began.
    pub(crate) fn dropped_count(&mut self) -> u32 {
        match self {
            Driver::Uring(ring) => ring.dropped_count(),
            Driver::Epoll(_) => 0,
            Driver::Failed(_) => 0,
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.dropped_count(),
        }
    }

    /// Whether the last wait gave the kernel every cancel and took every completion.
    pub(crate) fn has_caught_up(&mut self) -> bool {
        match self {
            Driver::Uring(ring) => ring.has_caught_up(),
            Driver::Epoll(epoll) => epoll.has_caught_up(),
            Driver::Failed(_) => true,
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.has_caught_up(),
        }
    }

    /// Looks whether the wake-up by other threads has been lost, and repairs it. Returns whether it
    /// was lost.
    pub(crate) fn look_at_wake_poll(&mut self) -> bool {
        match self {
            Driver::Uring(ring) => ring.look_at_wake_poll(),
            Driver::Epoll(_) => false,
            Driver::Failed(_) => false,
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.look_at_wake_poll(),
        }
    }

    /// Whether cancels have not reached the kernel yet.
    pub(crate) fn has_cancels(&self) -> bool {
        match self {
            Driver::Uring(ring) => ring.has_cancels(),
            Driver::Epoll(_) => false,
            Driver::Failed(_) => false,
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.has_cancels(),
        }
    }

    /// Drops the driver's state of a descriptor that is about to be closed. No operation names it.
    pub(crate) fn deregister(&mut self, fd: RawFd) {
        match self {
            Driver::Uring(_) => {}
            Driver::Epoll(epoll) => epoll.deregister(fd),
            Driver::Failed(_) => {}
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(_) => {}
        }
    }

    /// Notes that the program has seen the descriptor and may put another protocol on its socket.
    pub(crate) fn expose(&mut self, fd: RawFd) {
        match self {
            Driver::Uring(_) => {}
            Driver::Epoll(epoll) => epoll.expose(fd),
            Driver::Failed(_) => {}
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(_) => {}
        }
    }

    /// Submits what was pushed, without waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Driver::Uring(ring) => ring.flush(),
            Driver::Epoll(epoll) => {
                epoll.flush();
                Ok(())
            }
            Driver::Failed(_) => Ok(()),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.flush(),
        }
    }

    /// Whether half of the submission queue waits for a flush.
    pub(crate) fn is_half_full(&mut self) -> bool {
        match self {
            Driver::Uring(ring) => ring.is_half_full(),
            Driver::Epoll(epoll) => epoll.is_half_full(),
            Driver::Failed(_) => false,
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.is_half_full(),
        }
    }

    /// Submits what was pushed, sleeps if nothing is ready and `wait` allows it, and appends
    /// completions to `out`.
    pub(crate) fn wait(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        match self {
            Driver::Uring(ring) => ring.wait(wait, out),
            Driver::Epoll(epoll) => epoll.wait(wait, out),
            Driver::Failed(failed) => {
                failed.wait(wait);
                Ok(())
            }
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.wait(wait, out),
        }
    }

    /// Makes `poll_set` readable when a wait would find something, from the next
    /// [`park`](Driver::park) on.
    pub(crate) fn join(&mut self, poll_set: &PollSet) -> io::Result<()> {
        match self {
            Driver::Uring(ring) => {
                ring.register_eventfd(poll_set.ready_fd())?;
                poll_set.add(ring.wake_fd().raw())
            }
            Driver::Epoll(epoll) => poll_set.add(epoll.descriptor()),
            Driver::Failed(failed) => poll_set.add(failed.wake_fd().raw()),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.register_eventfd(poll_set.ready_fd()),
        }
    }

    /// Forgets wakes of before, for a descriptor that is readable while the wake fd is.
    pub(crate) fn drain_wake_fd(&self) {
        match self {
            Driver::Uring(ring) => ring.wake_fd().drain(),
            Driver::Epoll(_) => {} // its set has an edge per write, which its wait takes
            Driver::Failed(failed) => failed.wake_fd().drain(),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(_) => {}
        }
    }

    /// Prepares a sleep outside of the driver: submits everything, and lets other threads end the
    /// sleep. Returns whether a wait would find something at once.
    pub(crate) fn park(&mut self) -> io::Result<bool> {
        match self {
            Driver::Uring(ring) => ring.park(),
            Driver::Epoll(epoll) => Ok(epoll.park()),
            Driver::Failed(_) => Ok(false),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.park(),
        }
    }

    /// Appends completions to `out` that are there already, without a system call. For a driver
    /// that may not be able to make one.
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        match self {
            Driver::Uring(ring) => ring.reap(out),
            Driver::Epoll(_) => {}
            Driver::Failed(_) => {}
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.reap(out),
        }
    }

    /// Ends the driver's own operations. Call when no other operation is in flight.
    pub(crate) fn drain(&mut self, deadline_ns: u64, now: impl Fn() -> u64) -> Drained {
        match self {
            Driver::Uring(ring) => ring.drain(deadline_ns, now),
            Driver::Epoll(_) => Drained::Yes,
            Driver::Failed(_) => Drained::Yes,
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.drain(deadline_ns, now),
        }
    }

    /// Closes the driver. Memory that the kernel may still use is leaked if it is not drained.
    pub(crate) fn close(self, drained: Drained) {
        match self {
            Driver::Uring(ring) => ring.close(drained),
            Driver::Epoll(epoll) => epoll.close(),
            Driver::Failed(_) => {}
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.close(drained),
        }
    }

    /// Gives up a forked child's copy: closes the child's own descriptors, and nothing else.
    pub(crate) fn disown(self) {
        match self {
            Driver::Uring(ring) => ring.disown(),
            Driver::Epoll(epoll) => drop(epoll),
            Driver::Failed(failed) => drop(failed),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.disown(),
        }
    }

    /// Ends a driver that cannot go on. Returns its replacement, which only sleeps, and whether the
    /// kernel has let go of all memory. Memory of the driver's own that the kernel may still write
    /// to is leaked.
    pub(crate) fn fail(self, clock: &Clock) -> (Driver, Drained) {
        let (wake_fd, drained) = match &self {
            Driver::Uring(ring) => (ring.wake_fd(), Drained::No),
            Driver::Epoll(epoll) => (epoll.wake_fd(), Drained::Yes), // lends for one call at a time
            Driver::Failed(failed) => (failed.wake_fd(), Drained::Yes),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => (ring.wake_fd(), Drained::No),
        };
        let failed = Failed::new(Arc::clone(wake_fd), clock.clone(), self.stats());
        self.close(drained);
        (Driver::Failed(failed), drained)
    }

    /// Whether the kernel has been seen to lose wake-ups, cancels or completions (H02, H33, H55).
    /// A scripted kernel is trusted unless a test asks for the watchdog.
    pub(crate) fn may_lose(&self) -> bool {
        matches!(self, Driver::Uring(_))
    }

    pub(crate) fn kind(&self) -> DriverKind {
        match self {
            Driver::Uring(_) => DriverKind::Uring,
            Driver::Epoll(_) => DriverKind::Epoll,
            Driver::Failed(_) => unreachable!("a driver fails once"),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(_) => DriverKind::Uring,
        }
    }

    pub(crate) fn stats(&self) -> DriverStats {
        match self {
            Driver::Uring(ring) => ring.stats(),
            Driver::Epoll(epoll) => epoll.stats(),
            Driver::Failed(failed) => failed.stats(),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(ring) => ring.stats(),
        }
    }
}

/// Ends a sleep of the loop, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Unparker {
    /// Shared with the driver. A wake after the end of the loop therefore writes to a descriptor
    /// that is still open and not read, never to a number that was given to another file.
    wake_fd: Arc<EventFd>,
}

impl Unparker {
    pub(crate) fn unpark(&self) {
        self.wake_fd.notify();
    }

    /// Makes signals end a sleep of the loop, for signals that are listened for.
    pub(crate) fn attach_to_signals(&self) -> io::Result<Attachment> {
        Attachment::new(&self.wake_fd)
    }
}

/// A driver, its description, and what its loop uses beside it.
pub(crate) struct Opened {
    pub(crate) driver: Driver,
    pub(crate) info: DriverInfo,
    pub(crate) unparker: Unparker,
    pub(crate) clock: Clock,
}

impl Opened {
    /// Closes a driver that was opened only to see whether it works. No operation was pushed.
    fn close_untouched(self) -> DriverInfo {
        self.driver.close(Drained::Yes);
        self.info
    }
}

/// Whether each descriptor is ready or has an error at this moment, in order.
pub(crate) fn are_ready(fds: impl Iterator<Item = (RawFd, Interest)>) -> Vec<bool> {
    crate::sys::epoll::poll_each(fds.map(|(fd, interest)| (fd, interest.events())))
}
