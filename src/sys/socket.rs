//! Calls on sockets that take a bare descriptor number.
#![allow(unsafe_code)] // shutdown(2)

use std::io;
use std::os::fd::RawFd;

/// Ends the receiving side of a connected socket: `shutdown(fd, SHUT_RD)`.
///
/// Acts on the open file, so on every descriptor of it, in whatever process.
pub(crate) fn shut_down_reading(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    let status = unsafe { libc::shutdown(fd, libc::SHUT_RD) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
