//! Calls on sockets that take a bare descriptor number.
#![allow(unsafe_code)] // shutdown(2), ioctl(2)

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

/// Bytes that were sent and that the peer has not taken yet: not acknowledged on TCP, not read on a
/// Unix socket (`SIOCOUTQ`). 0 for a descriptor that cannot be asked.
pub(crate) fn untaken_bytes(fd: RawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: `TIOCOUTQ`, which is `SIOCOUTQ`, writes one int.
    let status = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut count) };
    if status < 0 { 0 } else { usize::try_from(count).unwrap_or(0) }
}
