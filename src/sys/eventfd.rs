//! `eventfd(2)`: other threads write to it to wake the loop.
#![allow(unsafe_code)] // eventfd(2), write(2), ppoll(2), dup3(2)

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{clock, epoll};

/// A counter in the kernel. A write makes it readable, and a read resets it to zero.
#[derive(Debug)]
pub(crate) struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above made this descriptor, and no other value owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd { fd })
    }

    /// Makes another descriptor of the counter, which is never closed.
    pub(super) fn duplicate(&self) -> io::Result<RawFd> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::fcntl(self.raw(), libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
    }

    /// Makes an open descriptor one of this counter, in one step (`dup3(2)`).
    pub(super) fn replace(&self, fd: RawFd) -> io::Result<()> {
        loop {
            // SAFETY: no pointers. `fd` belongs to the caller, and nothing depends on its old file.
            if unsafe { libc::dup3(self.raw(), fd, libc::O_CLOEXEC) } >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sleeps until the counter is not zero, for at most `timeout_ns` if given, and resets it. A
    /// signal ends the sleep early.
    pub(crate) fn sleep(&self, timeout_ns: Option<u64>) {
        let timeout = timeout_ns.map(clock::timespec);
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut poll = libc::pollfd { fd: self.raw(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd, a timespec that outlives the call or none, and no signal mask.
        unsafe { libc::ppoll(&mut poll, 1, timeout, std::ptr::null()) };
        epoll::drain_count(self.raw());
    }

    /// Resets the counter, without waiting.
    pub(crate) fn drain(&self) {
        epoll::drain_count(self.raw());
    }

    /// Increments the counter.
    ///
    /// It cannot block: a write of 1 waits only when the counter is at its maximum of 2⁶⁴ − 2, and
    /// the caller writes once per sleep of the reader. A write fails only if the descriptor is
    /// broken, which `OwnedFd` excludes, so there is no error to return.
    pub(crate) fn notify(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes, as eventfd requires, and `fd` is open.
        let written = unsafe { libc::write(self.raw(), one.as_ptr().cast(), one.len()) };
        debug_assert_eq!(written, 8, "eventfd write: {}", io::Error::last_os_error());
    }
}

/// Takes the count if there is one, without waiting. What a read would do that has become ready.
#[cfg(any(test, fuzzing))]
pub(crate) fn try_take(fd: RawFd) -> bool {
    if !super::epoll::is_readable(fd) {
        return false;
    }
    let mut count = [0u8; 8];
    // SAFETY: eight writable bytes, and the read does not block.
    unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) == 8 }
}
