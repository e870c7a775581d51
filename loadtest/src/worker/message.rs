//! One message of a connection, from its send to its outcome.

use std::time::Instant;

use crate::measure::failure::Failure;

/// A message that was sent and has no reply yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// When it was to be sent. In a closed loop the same as `sent_at`.
    pub(super) due: Instant,
    pub(super) sent_at: Instant,
    /// Decided once, at the send: a window that is cut later does not exclude a sent message.
    pub(super) is_measured: bool,
}

/// Why the outstanding messages of a connection that has ended get no reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Failed(Failure),
    TimedOut,
}
