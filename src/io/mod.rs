//! Waiting for descriptors that other code made.
//!
//! [`AsyncFd`] waits until such a descriptor can be read or written. The program reads and writes
//! it with calls of its own.

mod async_fd;
mod poll_side;
mod watch;

#[cfg(test)]
mod tests;

pub use async_fd::AsyncFd;
