//! The calls to libc.
//!
//! What lives here: the clock, epoll, the eventfd, fork detection, signals, anonymous memory, errno
//! names, and the socket calls that `socket2` does not have. Sockets otherwise go through
//! `socket2`, and rings through `io-uring`. Each call is one safe function where that is possible.
//!
//! **Absent on purpose.** Policy. This module does not retry, count or decide.

pub(crate) mod clock;
pub(crate) mod epoll;
pub(crate) mod errno;
pub(crate) mod eventfd;
pub(crate) mod fork;
pub(crate) mod inherited;
pub(crate) mod memory;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod stderr;
