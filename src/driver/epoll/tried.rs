//! What the result of a non-blocking call means for the operation that made it.

use std::io;

use crate::driver::request::Request;
use crate::sys::errno;

/// What one try has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Tried {
    /// The operation is over, with this result.
    Ended(i32),
    WaitsForEdge,
    /// A multishot operation that would bring more right now.
    HasMore,
}

/// What the result of a single call means.
pub(super) fn once(result: i32) -> Tried {
    match -result {
        errno::EAGAIN => Tried::WaitsForEdge,
        errno::EINTR => Tried::HasMore,
        _ => Tried::Ended(result),
    }
}

/// The same for a call that does not wait for an edge.
pub(super) fn at_once(result: i32) -> Tried {
    if result == -errno::EINTR { Tried::HasMore } else { Tried::Ended(result) }
}

pub(super) fn polled(result: i32) -> Tried {
    if result == 0 { Tried::WaitsForEdge } else { once(result) }
}

/// The result of a request for a descriptor that epoll does not take.
pub(super) fn refused(error: &io::Error, request: &Request) -> i32 {
    match (error.raw_os_error(), request) {
        (
            Some(errno::EPERM),
            Request::Poll { interest, .. } | Request::PollChanges { interest, .. },
        ) => interest.events() as i32,
        (code, _) => -code.unwrap_or(errno::EIO),
    }
}

pub(super) fn connected(result: i32) -> Tried {
    match -result {
        errno::EINPROGRESS | errno::EALREADY => Tried::WaitsForEdge,
        errno::EISCONN => Tried::Ended(0),
        errno::EAGAIN => Tried::Ended(result), // not begun, so no edge is owed
        _ => once(result),
    }
}
