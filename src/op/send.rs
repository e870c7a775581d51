//! `send(2)`: hand bytes of a connected socket to the kernel.

use std::os::fd::{AsFd, AsRawFd};

use super::OpResult;
use crate::driver::request::Request;
use crate::sys::errno;

/// The most bytes of one request; results are `i32`, and lengths near its end misbehave (H21).
pub(crate) const LEN_MAX: usize = 1 << 30;

/// Sends from `source`, which must not move or change until the completion.
pub(crate) fn request(socket: &impl AsFd, source: &[u8]) -> Request {
    Request::Send {
        fd: socket.as_fd().as_raw_fd(),
        source: source.as_ptr(),
        source_len: source.len().min(LEN_MAX) as u32,
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel took this many bytes, perhaps fewer than asked (H44).
    Bytes(usize),
    /// Interrupted before the first byte.
    Nothing,
    /// Cancelled. On some kernels bytes may have been sent nevertheless (H32), so the stream is
    /// of no further use.
    Cancelled,
    Failed(i32),
}

pub(crate) fn finish(answer: OpResult) -> Sent {
    match answer.result {
        count @ 0.. => Sent::Bytes(count as usize),
        result => match errno::from_result(result) {
            errno::EINTR | errno::EAGAIN => Sent::Nothing,
            errno::ECANCELED => Sent::Cancelled,
            code => Sent::Failed(code),
        },
    }
}
