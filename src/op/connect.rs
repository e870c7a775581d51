//! `connect(2)`: reach a peer.

use std::os::fd::{AsFd, AsRawFd};

use socket2::SockAddr;

use super::OpResult;
use crate::driver::request::Request;
use crate::sys::errno;

/// Connects to `addr`, which must not move or change until the completion: box it.
pub(crate) fn request(socket: &impl AsFd, addr: &SockAddr) -> Request {
    Request::Connect {
        fd: socket.as_fd().as_raw_fd(),
        addr: addr.as_ptr().cast(),
        addr_len: addr.len(),
    }
}

/// The meaning of a result; the error is an errno.
pub(crate) fn finish(answer: OpResult) -> Result<(), i32> {
    match answer.result {
        0.. => Ok(()),
        result => Err(errno::from_result(result)),
    }
}
