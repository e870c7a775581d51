//! `recv(2)`: take bytes from a connected socket.
//!
//! Two forms. The multishot one names the loop's buffer pool and completes many times; the other
//! receives once into a buffer that the stream owns, for when the pool is empty.
//!
//! Discarding a result needs no code: the buffer it carries is an owned [`RecvBuf`].

use std::os::fd::{AsFd, AsRawFd};

use super::OpResult;
use crate::buf::RecvBuf;
use crate::driver::request::Request;
use crate::sys::errno;

/// Receives into buffers of the pool until it ends. With `poll_first` a buffer is
/// looked for when bytes, or the end, are there.
pub(crate) fn request(socket: &impl AsFd, poll_first: bool) -> Request {
    Request::Recv { fd: socket.as_fd().as_raw_fd(), poll_first }
}

/// Receives once into `target` what is there, without waiting. `target` must not be touched until
/// the completion.
pub(crate) fn request_into(socket: &impl AsFd, target: &mut [u8]) -> Request {
    Request::RecvInto {
        fd: socket.as_fd().as_raw_fd(),
        target: target.as_mut_ptr(),
        target_len: target.len() as u32,
    }
}

/// The meaning of a result. Whether more will follow is `OpResult::more`, in every case.
#[derive(Debug)]
pub(crate) enum Received {
    Bytes(RecvBuf),
    /// The peer has finished sending.
    End,
    /// The pool was empty. Bytes may be waiting, or the end may be (H47, H48).
    NoBuffers,
    /// Interrupted, cancelled, or nothing was there: nothing was taken.
    Nothing,
    Failed(i32),
}

/// Decodes a result of the multishot receive.
pub(crate) fn finish(answer: OpResult) -> Received {
    match (answer.result, answer.buffer) {
        (1.., Some(buffer)) => Received::Bytes(buffer),
        (1.., None) => panic!("{} bytes arrived without a buffer", answer.result),
        // A buffer that came with no bytes goes back to the pool here (H58).
        (0, _buffer) => Received::End,
        (result, _buffer) => failure(result),
    }
}

/// Decodes the result of a receive into `target`.
pub(crate) fn finish_into(answer: OpResult, target: Vec<u8>) -> Received {
    match answer.result {
        0 => Received::End,
        count @ 1.. => Received::Bytes(RecvBuf::private(target, count as usize)),
        result => failure(result),
    }
}

fn failure(result: i32) -> Received {
    match errno::from_result(result) {
        errno::ENOBUFS => Received::NoBuffers,
        errno::ECANCELED | errno::EINTR | errno::EAGAIN => Received::Nothing,
        code => Received::Failed(code),
    }
}
