//! Errors of queues.

use std::fmt;

/// The queue was shut down.
///
/// From `put`, it contains the item that was not put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueShutDown<T = ()>(pub T);

impl<T> fmt::Debug for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueShutDown")
    }
}

impl<T> fmt::Display for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHUT_DOWN)
    }
}

impl<T> std::error::Error for QueueShutDown<T> {}

/// Why `put_nowait` has not put. The item is in the error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutError<T> {
    /// There is no free place, or other tasks wait for it.
    Full(T),
    /// The queue was shut down.
    ShutDown(T),
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Full(_) => "Full(..)",
            PutError::ShutDown(_) => "ShutDown(..)",
        })
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Full(_) => "the queue has no free place",
            PutError::ShutDown(_) => SHUT_DOWN,
        })
    }
}

impl<T> std::error::Error for PutError<T> {}

/// Why `get_nowait` has returned no item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GetError {
    /// There is no item, or other tasks wait for it.
    Empty,
    /// The queue was shut down, and its items were taken.
    ShutDown,
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GetError::Empty => "the queue has no item",
            GetError::ShutDown => SHUT_DOWN,
        })
    }
}

impl std::error::Error for GetError {}

const SHUT_DOWN: &str = "the queue was shut down";
