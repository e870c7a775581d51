//! [`JoinError`]: why a task has no result.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::error::panic_text;

/// The error of a task that has no result.
pub enum JoinError {
    /// The task was aborted, or its runtime ended before it.
    Cancelled,
    /// The task panicked, with this payload.
    Panic(PanicPayload),
    /// A blocking job was not started, and its closure was dropped. Either too many jobs waited for
    /// a thread ([`Builder::blocking_queue`](crate::Builder::blocking_queue)), or the system has
    /// refused the first thread. Tasks are never refused.
    Refused(io::Error),
}

/// The payload of a panic. It is `Sync`, so that a [`JoinError`] converts to boxed errors of all
/// kinds.
pub struct PanicPayload(Mutex<Box<dyn Any + Send>>);

impl PanicPayload {
    pub(super) fn new(payload: Box<dyn Any + Send>) -> PanicPayload {
        PanicPayload(Mutex::new(payload))
    }

    /// The payload, for `std::panic::resume_unwind` or a downcast.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(panic_text(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PanicPayload({self})")
    }
}

impl JoinError {
    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> JoinError {
        JoinError::Panic(PanicPayload::new(payload))
    }

    /// Whether the task was aborted.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, JoinError::Cancelled)
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, JoinError::Panic(_))
    }

    /// The payload of the panic, for `std::panic::resume_unwind`.
    ///
    /// # Panics
    ///
    /// If the task was cancelled or refused, and did not panic.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self {
            JoinError::Panic(payload) => payload.into_inner(),
            JoinError::Cancelled | JoinError::Refused(_) => {
                panic!("JoinError::into_panic: no panic, but: {self}")
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Cancelled => f.write_str("the task was cancelled"),
            JoinError::Panic(payload) => write!(f, "the task panicked: {payload}"),
            JoinError::Refused(error) => write!(f, "the blocking job was refused: {error}"),
        }
    }
}

impl std::error::Error for JoinError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the error of a task converts to boxed errors of all kinds.
    ///
    /// Method: the compiler.
    ///
    /// Kills: a payload that is not `Sync`.
    #[test]
    fn errors_are_for_every_thread() {
        fn for_every_thread<T: Send + Sync>() {}
        for_every_thread::<JoinError>();
        let error = std::io::Error::other(JoinError::panicked(Box::new("why")));
        assert_eq!(error.to_string(), "the task panicked: why");
    }
}
