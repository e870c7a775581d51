//! `poll(2)`: whether a descriptor could be read or written now.
//!
//! Two forms. The ordinary one completes once, at once or as soon as the descriptor is ready. The
//! other one completes on every change, and exists for one fact about io_uring: **its polls for
//! writing also complete when the peer has finished sending** (`POLLRDHUP`), which `poll(2)` and
//! epoll report only if it is asked for. A socket whose peer has shut down its sending side and
//! does not read is then never writable, and every poll for writing completes at once. Another such
//! poll would spin; a poll for changes waits for the next one (`tests/async_fd/readiness.rs`,
//! `a_peer_that_has_finished_sending_makes_nothing_writable`).
//!
//! Discarding a result needs no code: it carries nothing, and the next poll finds the same
//! readiness.

use std::os::fd::{AsFd, AsRawFd};

use super::OpResult;
use crate::driver::request::{Interest, Request};
use crate::sys::errno;

/// Completes once.
pub(crate) fn request(fd: &impl AsFd, interest: Interest) -> Request {
    Request::Poll { fd: fd.as_fd().as_raw_fd(), interest }
}

/// Completes with the events of now, and again on every change, until it is cancelled.
pub(crate) fn request_changes(fd: &impl AsFd, interest: Interest) -> Request {
    Request::PollChanges { fd: fd.as_fd().as_raw_fd(), interest }
}

/// The meaning of a result. Whether more will follow is `OpResult::more`, in every case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Polled {
    /// A call would not wait. That includes one that fails: an error or a hang-up is ready.
    Ready,
    /// Something that was not asked for, and asking again would bring it again.
    SpuriousEvents,
    /// Interrupted or cancelled: asking again is right.
    Nothing,
    Failed(i32),
}

pub(crate) fn finish(interest: Interest, answer: &OpResult) -> Polled {
    if answer.result >= 0 {
        let is_ready = interest.is_met_by(answer.result as u32);
        return if is_ready { Polled::Ready } else { Polled::SpuriousEvents };
    }
    match errno::from_result(answer.result) {
        errno::ECANCELED | errno::EINTR | errno::EAGAIN => Polled::Nothing,
        code => Polled::Failed(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Interest::{Readable, Writable};

    /// Goal: errors and hang-ups are ready, the end of the peer's bytes is so for readers only.
    /// Method: the events one by one, both ways. Kills: a mask without `POLLERR` or `POLLHUP`; one
    /// with `POLLRDHUP` for writers.
    #[test]
    fn events_are_told_apart() {
        let meaning = |interest, events| {
            finish(interest, &OpResult { result: i32::from(events), more: false, buffer: None })
        };
        for both in [libc::POLLERR, libc::POLLHUP] {
            assert_eq!(meaning(Readable, both), Polled::Ready);
            assert_eq!(meaning(Writable, both), Polled::Ready);
        }
        assert_eq!(meaning(Readable, libc::POLLIN), Polled::Ready);
        assert_eq!(meaning(Writable, libc::POLLOUT), Polled::Ready);
        assert_eq!(meaning(Readable, libc::POLLRDHUP), Polled::Ready);
        assert_eq!(meaning(Writable, libc::POLLRDHUP), Polled::SpuriousEvents);
    }
}
