//! Errors of `oneshot` channels.

use std::fmt;

/// The sender was dropped without sending a value, or the receiver was closed before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecvError(());

impl RecvError {
    pub(in crate::sync) fn new() -> RecvError {
        RecvError(())
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the oneshot channel was closed before a value was sent")
    }
}

impl std::error::Error for RecvError {}

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) has returned no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// No value has been sent yet.
    Empty,
    /// No value will be sent, or the value was received before.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "no value has been sent on the oneshot channel yet",
            TryRecvError::Closed => "the oneshot channel is closed",
        })
    }
}

impl std::error::Error for TryRecvError {}
