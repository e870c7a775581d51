//! Writes to standard error that do not block.
#![allow(unsafe_code)] // poll(2), write(2)

use std::sync::{Mutex, PoisonError};

/// The greatest length of a line in bytes, with its newline. A pipe that is writable takes as many
/// bytes at once.
pub(crate) const LINE_BYTES_MAX: usize = libc::PIPE_BUF;

/// Writes `line` and a newline in one call, if standard error is writable. Returns whether they
/// were written.
///
/// A lock makes the loops of this process write one after the other, so that no loop uses the room
/// that another has found. Another process that shares the pipe, and a terminal that stops in the
/// middle of a line, can still block the write.
///
/// # Panics
///
/// If the line is longer than [`LINE_BYTES_MAX`].
pub(crate) fn try_write_line(line: &str) -> bool {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let mut bytes = Vec::with_capacity(line.len() + 1);
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    assert!(
        bytes.len() <= LINE_BYTES_MAX,
        "a line of {} bytes, more than {LINE_BYTES_MAX}",
        bytes.len()
    );
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_writable() {
        return false;
    }
    // SAFETY: the pointer and the length describe `bytes`, which outlives the call.
    let written = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written) == Ok(bytes.len())
}

/// Whether a write would succeed at once. A pipe without a reader does not count as writable: a
/// write would raise `SIGPIPE` in a program that has not disabled the signal.
fn is_writable() -> bool {
    let mut poll = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd, and a timeout of 0 that does not wait.
    let ready_count = unsafe { libc::poll(&mut poll, 1, 0) };
    ready_count == 1 && poll.revents == libc::POLLOUT
}
