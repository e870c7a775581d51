//! Real descriptors, in a table of the fuzzer's own.
//!
//! The thread that fuzzes leaves the process's descriptor table. What it opens and closes is then
//! invisible to the other tests, the numbers are the same in every run, and whatever is open at the
//! end of a run has been leaked by that run.
#![allow(unsafe_code)] // descriptors as numbers

use std::os::fd::RawFd;

/// The first number that does not belong to the standard streams.
const FIRST: RawFd = 3;

/// Gives this thread an empty descriptor table, except for the standard streams.
pub(super) fn isolate() {
    // SAFETY: the range is closed in a copy of the table that belongs to this thread alone, and
    // this thread owns none of the descriptors.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
    assert_eq!(result, 0, "close_range: {}", std::io::Error::last_os_error());
}

/// Closes everything but the standard streams. Only in a table that `isolate` has made, when all
/// owners are gone.
pub(super) fn close_all() {
    // SAFETY: as the function's documentation demands.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) };
}

/// A connected pair of sockets.
pub(super) fn pair() -> (RawFd, RawFd) {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for two numbers.
    let result = unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr())
    };
    assert_eq!(result, 0, "socketpair: {}", std::io::Error::last_os_error());
    (fds[0], fds[1])
}

/// What the descriptor is open on, if it is open.
pub(super) fn inode(fd: RawFd) -> Option<u64> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has room for the result.
    let result = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    // SAFETY: the call has succeeded, so it has written all of it.
    (result == 0).then(|| unsafe { stat.assume_init() }.st_ino)
}

/// Makes `target` name what `source` names, and closes `source`.
pub(super) fn replace(target: RawFd, source: RawFd) {
    // SAFETY: both numbers are the model's to decide: the one is its own, the other names a socket
    // that the library has asked it to connect.
    let result = unsafe { libc::dup3(source, target, libc::O_CLOEXEC) };
    assert_eq!(result, target, "dup3: {}", std::io::Error::last_os_error());
    close(source);
}

pub(super) fn close(fd: RawFd) {
    // SAFETY: a descriptor of the model's own.
    unsafe { libc::close(fd) };
}

/// Whether the other side of `peer` has finished sending, or has been closed.
pub(super) fn has_ended(peer: RawFd) -> bool {
    let mut byte = 0u8;
    let target = (&raw mut byte).cast();
    // SAFETY: one byte of room.
    let count = unsafe { libc::recv(peer, target, 1, libc::MSG_DONTWAIT | libc::MSG_PEEK) };
    count == 0
}

/// What is open beside the standard streams, up to this number.
pub(super) fn open_now(number_max: RawFd) -> Vec<RawFd> {
    let entry = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut entries: Vec<libc::pollfd> = (FIRST..=number_max).map(entry).collect();
    // SAFETY: as many entries as are announced.
    unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, 0) };
    let is_open = |entry: &&libc::pollfd| entry.revents & libc::POLLNVAL == 0;
    entries.iter().filter(is_open).map(|entry| entry.fd).collect()
}
