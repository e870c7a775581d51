//! [`Unhandled`]: errors that no caller awaits.
//!
//! The failure of an operation is an `io::Error`, which the caller that awaits the operation
//! receives. A runtime that cannot start returns `driver::SetupError`.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::driver::DriverKind;

/// An error that no caller awaits.
///
/// [`Builder::on_unhandled`](crate::Builder::on_unhandled) receives each one exactly once. Without
/// a hook it is printed to standard error, at a limited rate and only if that does not block.
#[non_exhaustive]
pub enum Unhandled {
    /// A task panicked, and its `JoinHandle` was dropped without taking the result.
    TaskPanic {
        /// The name of the task, if it has one.
        name: Option<Arc<str>>,
        /// The place where the task was spawned.
        spawned_at: &'static Location<'static>,
        /// The payload of the panic.
        payload: Box<dyn Any + Send>,
    },
    /// A callback of `call_soon`, `call_later`, `call_at` or `signal::on` panicked, or a hook of
    /// the loop's turn.
    CallPanic {
        /// The place where the callback was scheduled or set.
        scheduled_at: &'static Location<'static>,
        /// The payload of the panic.
        payload: Box<dyn Any + Send>,
    },
    /// A waker of another library panicked when the loop woke it.
    WakePanic {
        /// The payload of the panic.
        payload: Box<dyn Any + Send>,
    },
    /// The destructor of a value of the program panicked while the loop dropped the value: a
    /// payload of a reported panic, a result that no caller took, a local of a task that had
    /// panicked.
    DropPanic {
        /// The payload of the panic.
        payload: Box<dyn Any + Send>,
    },
    /// A dropped stream could not send its queued bytes: the peer took none within the builder's
    /// `linger`, or sending failed. A peer that reset or closed the connection is not reported,
    /// only counted: [`Metrics::peer_resets`](crate::Metrics::peer_resets).
    BackgroundClose {
        /// The number of bytes that the kernel did not take.
        unsent_bytes: usize,
        /// The cause.
        error: io::Error,
    },
    /// A listener cannot accept, because descriptors or memory have run out, and pauses. Reported
    /// once per shortage, not once per attempt.
    AcceptCapacity {
        /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` or `ENOSPC`.
        error: io::Error,
    },
    /// The driver has failed, because a sandbox has forbidden its system calls. Every operation in
    /// flight has ended with this error, and every later one does. Tasks, timers and wakes go on.
    /// Reported once.
    DriverFailed {
        /// The error, with the name of the driver and the cause.
        error: io::Error,
    },
    /// A listener was bound after its address had been in use for a while, as it is while the
    /// kernel closes the sockets of a killed process. Reported once for each bind.
    BindWaited {
        /// The address.
        addr: String,
        /// The time for which the bind waited, and the loop with it.
        waited: Duration,
    },
    /// The runtime was dropped, and the kernel did not end all operations in time. Their memory was
    /// leaked, because freeing it would be unsound.
    UndrainedShutdown {
        /// The number of operations that were still in flight.
        in_flight_count: usize,
    },
    /// The runtime was dropped, and blocking jobs had not ended in time. They run on, on their
    /// threads, and their results are dropped.
    BlockingJobsLeft {
        /// The number of jobs that were running.
        running_count: usize,
    },
}

impl Unhandled {
    /// The names of the variants. Each has a rate limit of its own.
    pub(crate) const KINDS: [&'static str; 10] = [
        "TaskPanic",
        "CallPanic",
        "WakePanic",
        "BackgroundClose",
        "AcceptCapacity",
        "DriverFailed",
        "UndrainedShutdown",
        "BindWaited",
        "DropPanic",
        "BlockingJobsLeft",
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
            Unhandled::BlockingJobsLeft { .. } => 9,
        }
    }
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhandled::TaskPanic { name, spawned_at, payload } => {
                match name {
                    Some(name) => write!(f, "task {name:?}")?,
                    None => f.write_str("a task")?,
                }
                write!(f, " spawned at {spawned_at} panicked: {}", panic_text(payload))
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
                "{in_flight_count} operations outlived the runtime; their memory was leaked, as \
                 the kernel may still write to it"
            ),
            Unhandled::BlockingJobsLeft { running_count } => write!(
                f,
                "{running_count} blocking jobs outlived the runtime; they run on, and their \
                 results are dropped"
            ),
        }
    }
}

impl fmt::Debug for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unhandled({self})")
    }
}

/// Drops a value of the program. Returns the payload if its destructor panics.
pub(crate) fn try_drop<T>(value: T) -> Result<(), Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| drop(value)))
}

/// Drops a value of the program where a panic of its destructor can neither be reported nor unwind.
///
/// The panic hook has printed the panic. Its payload is dropped too. If that panics, the second
/// payload is leaked, as each drop could panic again.
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

/// The error of all operations after the driver has failed.
pub(crate) fn driver_failed(driver: DriverKind, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("the {driver} driver failed: {cause}"))
}

/// The error of an operation whose completion the kernel has dropped.
pub(crate) fn completion_dropped() -> io::Error {
    let text = "the kernel ran out of memory and dropped the completion of this operation";
    io::Error::other(text)
}

/// The error of an operation on a closed runtime.
pub(crate) fn runtime_closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the runtime of this resource has been closed")
}
