//! `accept4(2)`: take connections from a listening socket, one descriptor for each completion.
#![allow(unsafe_code)] // a number from the kernel becomes a descriptor that is owned

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::OpResult;
use crate::driver::request::Request;
use crate::sys::errno;

pub(crate) fn request(listener: &impl AsFd) -> Request {
    Request::Accept { fd: listener.as_fd().as_raw_fd(), is_multishot: true }
}

/// Accepts one connection.
pub(crate) fn request_one(listener: &impl AsFd) -> Request {
    Request::Accept { fd: listener.as_fd().as_raw_fd(), is_multishot: false }
}

/// The meaning of a result. Whether more will follow is `OpResult::more`, in every case.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A connection. Dropping it closes it, which also discards an unwanted result.
    Connection(OwnedFd),
    /// No connection, and trying again at once is right: a peer gave up before it was accepted, or
    /// the operation was interrupted or cancelled.
    Nothing,
    /// The process, the system or the kernel's memory is used up. Trying again at once would spin
    /// (H50).
    Exhausted(i32),
    /// This socket will never accept.
    Failed(i32),
}

pub(crate) fn finish(answer: OpResult) -> Accepted {
    if answer.result >= 0 {
        return Accepted::Connection(adopt(answer.result));
    }
    match errno::from_result(answer.result) {
        // Linux also reports network errors of the connection that was pending; by accept(2) they
        // are to be treated like EAGAIN.
        errno::ECONNABORTED
        | errno::EPROTO
        | errno::ENOPROTOOPT
        | errno::ENETDOWN
        | errno::EHOSTDOWN
        | errno::ENONET
        | errno::EHOSTUNREACH
        | errno::ENETUNREACH
        | errno::EPERM // a firewall rule forbade this connection
        | errno::EAGAIN
        | errno::EINTR
        | errno::ECANCELED => Accepted::Nothing,
        // epoll returns the last one beyond `fs.epoll.max_user_watches`.
        code @ (errno::EMFILE
        | errno::ENFILE
        | errno::ENOBUFS
        | errno::ENOMEM
        | errno::ENOSPC) => Accepted::Exhausted(code),
        code => Accepted::Failed(code),
    }
}

/// Owns a descriptor that an accept has just returned.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "descriptor {fd}");
    // SAFETY: the kernel opened this descriptor for the completion that is being finished, and each
    // completion is finished once (`Slots::complete` takes it by value), so no other value owns the
    // number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(result: i32) -> Accepted {
        finish(OpResult { result, more: false, buffer: None })
    }

    /// Goal: a shortage pauses, an aborted peer does not, a broken socket ends accepting.
    /// Method: one errno of each kind. Kills: EMFILE among the retries (H50: a spin).
    #[test]
    fn errors_are_told_apart() {
        assert!(matches!(meaning(-errno::ECONNABORTED), Accepted::Nothing));
        assert!(matches!(meaning(-errno::ECANCELED), Accepted::Nothing));
        assert!(matches!(meaning(-errno::EMFILE), Accepted::Exhausted(errno::EMFILE)));
        assert!(matches!(meaning(-errno::ENOSPC), Accepted::Exhausted(errno::ENOSPC)));
        assert!(matches!(meaning(-errno::EINVAL), Accepted::Failed(errno::EINVAL)));
        assert!(matches!(meaning(-512), Accepted::Nothing), "H19");
    }
}
