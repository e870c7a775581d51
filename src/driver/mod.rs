//! Who performs requests.
//!
//! One run-time enum is the only mechanism for "which driver". The contract of a driver:
//!
//! - [`push`](Driver::push) never blocks and never completes inline; it may say that there is no
//!   room, and then nothing happened.
//! - [`cancel`](Driver::cancel) is best effort. It is never dropped, and the target still gets
//!   exactly one final completion.
//! - [`wait`](Driver::wait) is the only call that sleeps. It submits everything pushed before.
//! - [`Clock::now_ns`] is the only clock.
//! - [`Unparker`] is thread-safe, idempotent, and harmless after the driver is gone.
//! - [`deregister`](Driver::deregister) precedes every `close(2)` of a descriptor that was named.
//! - In a forked child only [`disown`](Driver::disown) may be called: others act on the parent's
//!   files.
//! - After [`close`](Driver::close) the kernel does not write to memory that was lent, or the
//!   memory was leaked.
//! - An error of `wait` or `flush` is the end of it: retrying is for the driver to decide, and it
//!   has decided. [`fail`](Driver::fail) then puts one in its place that only sleeps.
//!
//! **Absent on purpose.** Tasks and wakers: a driver deals in keys, and who waits for one is known
//! only above.

mod choose;
mod clock;
pub mod diagnosis;
mod environment;
mod epoll;
mod failed;
pub(crate) mod request;
mod setup_error;
pub(crate) mod uring;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
#[cfg(any(test, fuzzing))]
use std::rc::Rc;
use std::sync::Arc;

#[cfg(any(test, fuzzing))]
use crate::buf::Pool;
use crate::sys::eventfd::EventFd;
pub(crate) use choose::open;
pub(crate) use clock::Clock;
use epoll::Epoll;
use failed::Failed;
use request::{Completion, Interest, Key, Request, Wait};
pub use setup_error::SetupError;
pub(crate) use setup_error::SetupStep;
pub(crate) use uring::Drained;
use uring::Uring;
use uring::ring::KernelRing;

/// Which driver a runtime should use. See [`Builder::driver`](crate::Builder::driver).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DriverChoice {
    /// What the environment variable `RINGLOOP_DRIVER` says (`auto`, `uring` or `epoll`), else the
    /// best driver that works here.
    #[default]
    Auto,
    /// io_uring or nothing: building the runtime fails where it cannot be used.
    Uring,
    /// epoll, without a look at io_uring.
    Epoll,
}

/// A kind of driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum DriverKind {
    /// Completions through io_uring.
    Uring,
    /// Readiness through epoll, and non-blocking calls.
    Epoll,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverKind::Uring => f.write_str("io_uring"),
            DriverKind::Epoll => f.write_str("epoll"),
        }
    }
}

/// The driver that a runtime runs on, and how. `Display` prints it on one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriverInfo {
    pub(crate) kind: DriverKind,
    pub(crate) features: Vec<&'static str>,
    /// Of the rings, where there are some.
    pub(crate) sizes: Option<RingSizes>,
    /// Why not the first choice.
    pub(crate) reason: Option<String>,
    /// What usually brings the first choice back.
    pub(crate) advice: Option<&'static str>,
}

impl DriverInfo {
    /// Which driver.
    pub fn kind(&self) -> DriverKind {
        self.kind
    }

    /// The optional kernel features in use.
    pub fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// Why it is not io_uring, if it is not: what was asked for, or what went wrong.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// What usually helps where io_uring was tried and cannot be used.
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }
}

impl fmt::Display for DriverInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DriverInfo { kind, features, sizes, reason, advice } = self;
        write!(f, "{kind} ({}", features.join(", "))?;
        if let Some(sizes) = sizes {
            write!(f, ", sq {}, cq {}", sizes.sq_entries, sizes.cq_entries)?;
        }
        f.write_str(")")?;
        if let Some(reason) = reason {
            write!(f, ", because {reason}")?;
        }
        match advice {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

/// Entries of the submission and the completion queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingSizes {
    pub(crate) sq_entries: u32,
    pub(crate) cq_entries: u32,
}

impl RingSizes {
    pub(crate) fn halved(self) -> RingSizes {
        RingSizes { sq_entries: self.sq_entries / 2, cq_entries: self.cq_entries / 2 }
    }
}

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum PushOutcome {
    Taken,
    /// Nothing happened. There is room after a flush.
    Full,
}

/// What a driver counts.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct DriverStats {
    pub(crate) enter_calls: u64,
    pub(crate) sleeps: u64,
    pub(crate) enter_retries: u64,
    pub(crate) submissions: u64,
    pub(crate) completions: u64,
    pub(crate) cq_overflows: u64,
    pub(crate) cancels: u64,
    pub(crate) cancels_missed: u64,
    pub(crate) timeout_arms: u64,
    pub(crate) stale_completions: u64,
}

/// Ends a sleep of the loop, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Unparker {
    /// Shared with the driver, so that a wake after the loop's end writes to a live descriptor that
    /// is not read, never to a number that has been reused.
    wake_fd: Arc<EventFd>,
}

impl Unparker {
    pub(crate) fn unpark(&self) {
        self.wake_fd.notify();
    }
}

pub(crate) enum Driver {
    Uring(Uring<KernelRing>),
    Epoll(Epoll),
    /// What is left of one that could not go on.
    Failed(Failed),
    #[cfg(any(test, fuzzing))]
    Scripted(Uring<uring::scripted::ScriptedRing>),
}

/// One call on whichever driver there is.
macro_rules! each {
    (
        $driver:expr,
        $ring:ident => $on_ring:expr,
        $epoll:ident => $on_epoll:expr,
        $failed:ident => $on_failed:expr
    ) => {
        match $driver {
            Driver::Uring($ring) => $on_ring,
            Driver::Epoll($epoll) => $on_epoll,
            Driver::Failed($failed) => $on_failed,
            #[cfg(any(test, fuzzing))]
            Driver::Scripted($ring) => $on_ring,
        }
    };
}

impl Driver {
    pub(crate) fn push(&mut self, key: Key, request: Request) -> PushOutcome {
        each!(
            self,
            ring => ring.push(key, request),
            epoll => epoll.push(key, request),
            _failed => unreachable!("{request:?} for a driver that has failed")
        )
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        each!(self, ring => ring.cancel(key), epoll => epoll.cancel(key), _failed => ());
    }

    /// Ends a receive of a socket that no other descriptor shares, at a cost that does not depend
    /// on how much is in flight. Its final completion comes all the same.
    pub(crate) fn end_recv(&mut self, key: Key, fd: RawFd) {
        each!(self, ring => ring.end_recv(key, fd), epoll => epoll.cancel(key), _failed => ());
    }

    /// Completions that the kernel has dropped for want of memory, since the driver began.
    pub(crate) fn dropped_count(&mut self) -> u32 {
        each!(self, ring => ring.dropped_count(), _epoll => 0, _failed => 0)
    }

    /// Whether the last wait gave the kernel every cancel and took every completion.
    pub(crate) fn has_caught_up(&mut self) -> bool {
        each!(self, ring => ring.has_caught_up(), _epoll => true, _failed => true)
    }

    /// Looks whether the wake-up by other threads has been lost, and mends it. Returns whether it
    /// had.
    pub(crate) fn look_at_wake_read(&mut self) -> bool {
        each!(self, ring => ring.look_at_wake_read(), _epoll => false, _failed => false)
    }

    /// Whether cancels have not reached the kernel yet.
    pub(crate) fn has_cancels(&self) -> bool {
        each!(self, ring => ring.has_cancels(), _epoll => false, _failed => false)
    }

    /// The descriptor is about to be closed, and no operation names it.
    pub(crate) fn deregister(&mut self, fd: RawFd) {
        each!(self, _ring => (), epoll => epoll.deregister(fd), _failed => ());
    }

    /// The program has seen the descriptor and may put another protocol on its socket.
    pub(crate) fn expose(&mut self, fd: RawFd) {
        each!(self, _ring => (), epoll => epoll.expose(fd), _failed => ());
    }

    /// Has the kernel look at what was pushed, without waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        each!(
            self,
            ring => ring.flush(),
            epoll => {
                epoll.flush();
                Ok(())
            },
            _failed => Ok(())
        )
    }

    pub(crate) fn is_half_full(&mut self) -> bool {
        each!(self, ring => ring.is_half_full(), epoll => epoll.is_half_full(), _failed => false)
    }

    pub(crate) fn wait(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        each!(
            self,
            ring => ring.wait(wait, out),
            epoll => epoll.wait(wait, out),
            failed => {
                failed.wait(wait);
                Ok(())
            }
        )
    }

    /// Copies completions to `out` that are there already, without a system call. For a driver that
    /// may not be able to make one.
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        each!(self, ring => ring.reap(out), _epoll => (), _failed => ());
    }

    /// Takes back what the driver itself has in flight. Call when no operation is left.
    pub(crate) fn drain(&mut self, deadline_ns: u64, now: impl Fn() -> u64) -> Drained {
        each!(
            self,
            ring => ring.drain(deadline_ns, now),
            _epoll => Drained::Yes,
            _failed => Drained::Yes
        )
    }

    pub(crate) fn close(self, drained: Drained) {
        each!(self, ring => ring.close(drained), epoll => epoll.close(), _failed => ());
    }

    /// Gives up a forked child's copy: closes the child's own descriptors, and nothing else.
    pub(crate) fn disown(self) {
        each!(self, ring => ring.disown(), epoll => drop(epoll), failed => drop(failed));
    }

    /// Ends a driver that cannot go on. What takes its place only sleeps. `No` says that memory may
    /// still be written to by the kernel; the driver has leaked its own.
    pub(crate) fn fail(self, clock: &Clock) -> (Driver, Drained) {
        let drained = each!(
            &self,
            _ring => Drained::No,
            _epoll => Drained::Yes, // lends nothing for longer than one call
            _failed => Drained::Yes
        );
        let wake_fd =
            each!(&self, ring => ring.wake_fd(), old => old.wake_fd(), old => old.wake_fd());
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
            Driver::Failed(_) => unreachable!("fails once"),
            #[cfg(any(test, fuzzing))]
            Driver::Scripted(_) => DriverKind::Uring,
        }
    }

    pub(crate) fn stats(&self) -> DriverStats {
        each!(self, ring => ring.stats(), epoll => epoll.stats(), failed => failed.stats())
    }
}

/// Whether each descriptor is ready at this moment, in order, or has an error to tell.
pub(crate) fn are_ready(fds: impl Iterator<Item = (RawFd, Interest)>) -> Vec<bool> {
    crate::sys::epoll::poll_each(fds.map(|(fd, interest)| (fd, interest.events())))
}

/// A driver and what comes with it.
pub(crate) struct Opened {
    pub(crate) driver: Driver,
    pub(crate) info: DriverInfo,
    pub(crate) unparker: Unparker,
    pub(crate) clock: Clock,
}

impl Opened {
    /// For a driver that was opened only to see whether it can be: no operation was ever pushed.
    fn close_untouched(self) -> DriverInfo {
        self.driver.close(Drained::Yes);
        self.info
    }
}

#[cfg(any(test, fuzzing))]
impl Opened {
    /// A driver whose kernel is a script.
    pub(crate) fn scripted(ring: uring::scripted::ScriptedRing, pool: &Rc<Pool>) -> Opened {
        let wake_fd = Arc::new(EventFd::new().expect("an eventfd"));
        let clock = ring.clock();
        let driver = Uring::new(ring, Rc::clone(pool), Arc::clone(&wake_fd)).expect("a mapping");
        let sizes = RingSizes { sq_entries: driver.sq_entries(), cq_entries: driver.cq_entries() };
        Opened {
            driver: Driver::Scripted(driver),
            info: DriverInfo {
                kind: DriverKind::Uring,
                features: vec!["scripted"],
                sizes: Some(sizes),
                reason: None,
                advice: None,
            },
            unparker: Unparker { wake_fd },
            clock,
        }
    }
}
