//! Descriptors of others.
//!
//! What the loop has no operation for, it can still wait for: [`AsyncFd`] tells when a descriptor
//! that other code made could be read or written. The reading and writing stays with its owner.

mod async_fd;
mod poll_side;
mod watch;

#[cfg(test)]
mod tests;

pub use async_fd::AsyncFd;
