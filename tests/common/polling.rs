//! A foreign event loop: `poll(2)`.
#![allow(unsafe_code)] // poll(2)

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits until a descriptor is readable, for at most `timeout` if given. Returns which are.
pub(crate) fn poll<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> [bool; N] {
    let entry =
        |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries = descriptors.map(entry);
    // Rounded up, as a shorter sleep than the time until a deadline would spin.
    let timeout_ms = timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000) as i32);
    // SAFETY: the pointer and the length are those of `entries`.
    let status = unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, timeout_ms) };
    assert!(status >= 0, "{}", std::io::Error::last_os_error());
    entries.map(|entry| entry.revents & libc::POLLIN != 0)
}
