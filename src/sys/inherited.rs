//! Descriptors that this process inherited.
#![allow(unsafe_code)] // a number from the environment becomes a descriptor that is owned

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes ownership of a descriptor that the supervisor has opened for this process, and sets
/// close-on-exec.
///
/// Call it once for each number, and only for numbers that the supervisor has named: no other code
/// of this process owns those.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointers. A number that is not open fails here.
    let status = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above found it open. That no other code owns it is the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
