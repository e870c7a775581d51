//! The only module that calls libc.
//!
//! What lives here: the clock, the eventfd, anonymous memory, errno names. Sockets go through
//! `socket2`, rings through `io-uring`; what neither of them has is here, one safe function each.
//!
//! **Absent on purpose.** Policy. Nothing here retries, counts or decides.

pub(crate) mod clock;
pub(crate) mod epoll;
pub(crate) mod errno;
pub(crate) mod eventfd;
pub(crate) mod fork;
pub(crate) mod inherited;
pub(crate) mod memory;
pub(crate) mod socket;
pub(crate) mod stderr;
