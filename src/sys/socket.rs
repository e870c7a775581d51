//! Socket calls on descriptor numbers.
#![allow(unsafe_code)] // shutdown(2), ioctl(2), setsockopt(2), getsockopt(2)

use std::io;
use std::os::fd::RawFd;

/// Ends the receiving side of a connected socket: `shutdown(fd, SHUT_RD)`.
///
/// It acts on the open file, and so on all its descriptors, in every process.
pub(crate) fn shut_down_reading(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    let status = unsafe { libc::shutdown(fd, libc::SHUT_RD) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number of sent bytes that the peer has not taken: not acknowledged on TCP, not read on a
/// Unix socket (`SIOCOUTQ`). 0 if the call fails.
pub(crate) fn untaken_bytes(fd: RawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: `TIOCOUTQ`, which is `SIOCOUTQ`, writes one int.
    let status = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut count) };
    if status < 0 { 0 } else { usize::try_from(count).unwrap_or(0) }
}

/// Whether the socket is TCP, without a layer such as kTLS or MPTCP on top.
///
/// Two options suffice. MPTCP and SMC sockets pass `TCP_ULP` on to a TCP socket of theirs, but have
/// protocols of their own. Raw and netlink sockets may have the number 6 as well, but no `TCP_ULP`.
/// The name of the layer is empty if there is none. A kernel without the option (before 4.13)
/// returns an error, which counts as no.
pub(crate) fn is_plain_tcp(fd: RawFd) -> bool {
    let mut protocol = [0; size_of::<libc::c_int>()];
    let mut layer = [0; ULP_NAME_LEN];
    option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL, &mut protocol).is_some()
        && libc::c_int::from_ne_bytes(protocol) == libc::IPPROTO_TCP
        && option(fd, libc::IPPROTO_TCP, libc::TCP_ULP, &mut layer).is_some()
        && layer[0] == 0
}

/// The length of a layer name: `TCP_ULP_NAME_MAX` of the kernel.
const ULP_NAME_LEN: usize = 16;

/// Reads an option into the first bytes of `value`.
fn option(fd: RawFd, level: i32, name: i32, value: &mut [u8]) -> Option<()> {
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: `value` is `len` writable bytes, and `len` is valid for the call to change.
    let status = unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &mut len) };
    (status == 0).then_some(())
}

/// Leaves the choice of the local port to `connect(2)`, for a socket that is bound to port 0
/// (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2).
pub(crate) fn choose_port_at_connect(fd: RawFd) -> io::Result<()> {
    let is_on: libc::c_int = 1;
    // SAFETY: the kernel reads one int.
    let status = unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&is_on).cast(),
            size_of_val(&is_on) as libc::socklen_t,
        )
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
