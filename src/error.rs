//! Errors that no caller awaits.
//!
//! Failures of single operations are `io::Error`s and are returned to the caller that awaits them.
//! A runtime that cannot start returns `driver::SetupError`.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::time::Duration;

use crate::driver::DriverKind;

/// An error that no caller waits for. [`Builder::on_unhandled`](crate::Builder::on_unhandled)
/// receives each one exactly once; without a hook it is printed to standard error, at a limited
/// rate and only if that does not block.
#[non_exhaustive]
pub enum Unhandled {
    /// A task panicked, and its `JoinHandle` was dropped before anyone looked.
    TaskPanic {
        /// Where the task was spawned.
        spawned_at: &'static Location<'static>,
        /// What it panicked with.
        payload: Box<dyn Any + Send>,
    },
    /// A callback of `call_soon`, `call_later` or `call_at` panicked.
    CallPanic {
        /// Where the callback was scheduled.
        scheduled_at: &'static Location<'static>,
        /// What it panicked with.
        payload: Box<dyn Any + Send>,
    },
    /// A waker of another library panicked when the loop woke it.
    WakePanic {
        /// What it panicked with.
        payload: Box<dyn Any + Send>,
    },
    /// The destructor of a value of the program panicked where the loop dropped it: of a panic's
    /// payload that was reported, of a result that no caller took, of a local of a task that had
    /// panicked before.
    DropPanic {
        /// What it panicked with.
        payload: Box<dyn Any + Send>,
    },
    /// A dropped stream could not deliver the bytes that were still queued: they were not sent
    /// within the builder's `linger`, or sending failed. A peer that reset or left the connection
    /// is not reported, only counted: [`Metrics::peer_resets`](crate::Metrics::peer_resets).
    BackgroundClose {
        /// Bytes that the kernel never took.
        unsent_bytes: usize,
        /// Why not.
        error: io::Error,
    },
    /// A listener cannot accept for want of descriptors or memory, and pauses. Reported once per
    /// shortage, not once per attempt.
    AcceptCapacity {
        /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` or `ENOSPC`.
        error: io::Error,
    },
    /// The driver has failed and cannot go on: a sandbox has forbidden its system calls. Every
    /// operation in flight has ended with this error, and every later one does. Tasks, timers and
    /// wakes go on. Reported once.
    DriverFailed {
        /// Which driver, and why.
        error: io::Error,
    },
    /// A listener could be bound only after its address had been in use for a while, as it is while
    /// the kernel takes down a predecessor that was killed. Reported once for each bind.
    BindWaited {
        /// The address.
        addr: String,
        /// For how long the bind waited, and the loop with it.
        waited: Duration,
    },
    /// The runtime was dropped and the kernel did not let go of all operations in time. The memory
    /// they name was leaked, because freeing it would have been unsound.
    UndrainedShutdown {
        /// Operations that were still in flight.
        in_flight_count: usize,
    },
}

impl Unhandled {
    /// The names of the variants. Limits are by kind.
    pub(crate) const KINDS: [&'static str; 9] = [
        "TaskPanic",
        "CallPanic",
        "WakePanic",
        "BackgroundClose",
        "AcceptCapacity",
        "DriverFailed",
        "UndrainedShutdown",
        "BindWaited",
        "DropPanic",
    ];

    /// The index of this variant in [`KINDS`](Self::KINDS).
    pub(crate) fn kind(&self) -> usize {
        match self {
            Unhandled::TaskPanic { .. } => 0,
            Unhandled::CallPanic { .. } => 1,
            Unhandled::WakePanic { .. } => 2,
            Unhandled::BackgroundClose { .. } => 3,
            Unhandled::AcceptCapacity { .. } => 4,
            Unhandled::DriverFailed { .. } => 5,
            Unhandled::UndrainedShutdown { .. } => 6,
            Unhandled::BindWaited { .. } => 7,
            Unhandled::DropPanic { .. } => 8,
        }
    }
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhandled::TaskPanic { spawned_at, payload } => {
                write!(f, "a task spawned at {spawned_at} panicked: {}", panic_text(payload))
            }
            Unhandled::CallPanic { scheduled_at, payload } => {
                write!(f, "a callback from {scheduled_at} panicked: {}", panic_text(payload))
            }
            Unhandled::WakePanic { payload } => {
                write!(f, "a waker panicked: {}", panic_text(payload))
            }
            Unhandled::DropPanic { payload } => {
                write!(f, "a destructor panicked: {}", panic_text(payload))
            }
            Unhandled::BackgroundClose { unsent_bytes, error } => {
                write!(f, "a dropped stream lost {unsent_bytes} queued bytes: {error}")
            }
            Unhandled::AcceptCapacity { error } => {
                write!(f, "a listener pauses accepting: {error}")
            }
            Unhandled::DriverFailed { error } => {
                write!(f, "{error}; operations end with this error, tasks and timers go on")
            }
            Unhandled::BindWaited { addr, waited } => {
                write!(f, "binding to {addr} waited {waited:?} until the address was free")
            }
            Unhandled::UndrainedShutdown { in_flight_count } => write!(
                f,
                "{in_flight_count} operations outlived the runtime; their memory was leaked"
            ),
        }
    }
}

impl fmt::Debug for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unhandled({self})")
    }
}

/// Drops a value of the program. If its destructor panics, the payload is returned.
pub(crate) fn try_drop<T>(value: T) -> Result<(), Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| drop(value)))
}

/// Drops a value of the program where its destructor's panic can neither be reported nor unwind;
/// the panic hook has printed it. Its payload is dropped as well. If that panics too, the second
/// payload is forgotten, as there may be no end to it.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = try_drop(value)
        && let Err(second) = try_drop(payload)
    {
        std::mem::forget(second);
    }
}

/// The message of a panic, if it has one.
pub(crate) fn panic_text(payload: &Box<dyn Any + Send>) -> &str {
    let payload: &(dyn Any + Send) = &**payload;
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a payload that is not text)")
}

/// What operations answer once the driver has failed.
pub(crate) fn driver_failed(driver: DriverKind, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("the {driver} driver failed: {cause}"))
}

/// The error of an operation whose completion the kernel has dropped.
pub(crate) fn completion_dropped() -> io::Error {
    let text = "the kernel ran out of memory and dropped the completion of this operation";
    io::Error::other(text)
}

/// What an operation on a closed runtime answers.
pub(crate) fn runtime_closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the runtime of this resource has been closed")
}
