//! Descriptors that this process was started with.
#![allow(unsafe_code)] // a number from the environment becomes a descriptor that is owned

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes over a descriptor that the supervisor has opened for this process, and sets close-on-exec.
///
/// Call it once for each number, for numbers that the supervisor has named: nothing else in this
/// process owns those.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointers. A number that is not open fails here.
    let status = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
