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
//! - After [`close`](Driver::close) nobody writes to memory that was lent, or it was leaked.
//!
//! **Absent on purpose.** Tasks and wakers: a driver deals in keys, and who waits for one is known
//! only above.

pub(crate) mod request;
pub(crate) mod uring;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::buf::Pool;
use crate::error::SetupError;
use crate::sys::clock;
use crate::sys::eventfd::EventFd;
use request::{Completion, Key, Request, Wait};
pub(crate) use uring::Drained;
use uring::Uring;
use uring::ring::KernelRing;

/// Which driver a runtime should use. See [`Builder::driver`](crate::Builder::driver).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DriverChoice {
    /// What the environment variable `RINGLOOP_DRIVER` says (`auto` or `uring`), else the best
    /// driver that works here.
    #[default]
    Auto,
    /// io_uring or nothing: building the runtime fails where it cannot be used.
    Uring,
}

/// A kind of driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum DriverKind {
    /// Completions through io_uring.
    Uring,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverKind::Uring => f.write_str("io_uring"),
        }
    }
}

/// The driver that a runtime runs on, and how. `Display` prints it on one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriverInfo {
    pub(crate) kind: DriverKind,
    pub(crate) features: Vec<&'static str>,
    pub(crate) sizes: RingSizes,
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
}

impl fmt::Display for DriverInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DriverInfo { kind, features, sizes } = self;
        write!(f, "{kind} ({}", features.join(", "))?;
        write!(f, ", sq {}, cq {})", sizes.sq_entries, sizes.cq_entries)
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
    pub(crate) enters: u64,
    pub(crate) sleeps: u64,
    pub(crate) enter_retries: u64,
    pub(crate) submissions: u64,
    pub(crate) completions: u64,
    pub(crate) cq_overflows: u64,
    pub(crate) cancels_missed: u64,
    pub(crate) timeout_arms: u64,
    pub(crate) strays: u64,
}

/// The one clock of a loop.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    Monotonic,
    /// Stands still until somebody moves it.
    #[cfg_attr(not(test), expect(dead_code, reason = "only scripted rings have one"))]
    Virtual(Rc<Cell<u64>>),
}

impl Clock {
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Clock::Monotonic => clock::monotonic_ns(),
            Clock::Virtual(now_ns) => now_ns.get(),
        }
    }
}

/// Ends a sleep of the loop, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Unparker {
    /// Shared with the driver, so that a wake after the loop's end writes to a live descriptor that
    /// nobody reads, never to a number that has been given to someone else.
    bell: Arc<EventFd>,
}

impl Unparker {
    pub(crate) fn unpark(&self) {
        self.bell.ring();
    }
}

#[cfg_attr(test, expect(clippy::large_enum_variant, reason = "one value per loop"))]
pub(crate) enum Driver {
    Uring(Uring<KernelRing>),
    #[cfg(test)]
    Scripted(Uring<uring::scripted::ScriptedRing>),
}

/// One call on whichever driver there is.
macro_rules! each {
    ($driver:expr, $inner:ident => $call:expr) => {
        match $driver {
            Driver::Uring($inner) => $call,
            #[cfg(test)]
            Driver::Scripted($inner) => $call,
        }
    };
}

impl Driver {
    pub(crate) fn push(&mut self, key: Key, request: Request) -> PushOutcome {
        each!(self, driver => driver.push(key, request))
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        each!(self, driver => driver.cancel(key))
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        each!(self, driver => driver.flush())
    }

    pub(crate) fn is_half_full(&mut self) -> bool {
        each!(self, driver => driver.is_half_full())
    }

    pub(crate) fn wait(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        each!(self, driver => driver.wait(wait, out))
    }

    pub(crate) fn drain(&mut self, deadline_ns: u64, now: impl Fn() -> u64) -> Drained {
        each!(self, driver => driver.drain(deadline_ns, now))
    }

    pub(crate) fn cancel_everything(&mut self) -> io::Result<()> {
        each!(self, driver => driver.cancel_everything())
    }

    pub(crate) fn close(self, drained: Drained) {
        each!(self, driver => driver.close(drained))
    }

    pub(crate) fn stats(&self) -> DriverStats {
        each!(self, driver => driver.stats())
    }

    pub(crate) fn cq_entries(&self) -> u32 {
        each!(self, driver => driver.cq_entries())
    }
}

/// A driver and what comes with it.
pub(crate) struct Opened {
    pub(crate) driver: Driver,
    pub(crate) info: DriverInfo,
    pub(crate) unparker: Unparker,
    pub(crate) clock: Clock,
}

/// Opens the driver that was asked for.
pub(crate) fn open(
    choice: DriverChoice,
    sizes: RingSizes,
    pool: &Rc<Pool>,
) -> Result<Opened, SetupError> {
    match choice {
        DriverChoice::Auto => check_environment()?,
        DriverChoice::Uring => {}
    }
    let bell = EventFd::new()
        .map(Arc::new)
        .map_err(|cause| SetupError::new(DriverKind::Uring, "eventfd", cause))?;
    let (driver, rung) = uring::setup::open(sizes, pool, &bell)?;
    let mut features = rung.features();
    features.push("multishot");
    let sizes = RingSizes { sq_entries: driver.sq_entries(), cq_entries: driver.cq_entries() };
    Ok(Opened {
        driver: Driver::Uring(driver),
        info: DriverInfo { kind: DriverKind::Uring, features, sizes },
        unparker: Unparker { bell },
        clock: Clock::Monotonic,
    })
}

/// `RINGLOOP_DRIVER` is read before the first io_uring call, as some sandboxes kill on that (H24).
fn check_environment() -> Result<(), SetupError> {
    match std::env::var("RINGLOOP_DRIVER").as_deref() {
        Err(_) | Ok("" | "auto" | "uring") => Ok(()),
        Ok(_) => {
            let cause = io::Error::new(
                io::ErrorKind::InvalidInput,
                "the environment variable RINGLOOP_DRIVER must be auto or uring",
            );
            Err(SetupError::new(DriverKind::Uring, "choosing a driver", cause))
        }
    }
}

#[cfg(test)]
impl Opened {
    /// A driver whose kernel is a script.
    pub(crate) fn scripted(ring: uring::scripted::ScriptedRing, pool: &Rc<Pool>) -> Opened {
        let bell = Arc::new(EventFd::new().expect("an eventfd"));
        let clock = ring.clock();
        let driver = Uring::new(ring, Rc::clone(pool), Arc::clone(&bell)).expect("a mapping");
        let sizes = RingSizes { sq_entries: driver.sq_entries(), cq_entries: driver.cq_entries() };
        Opened {
            driver: Driver::Scripted(driver),
            info: DriverInfo { kind: DriverKind::Uring, features: vec!["scripted"], sizes },
            unparker: Unparker { bell },
            clock,
        }
    }
}
