//! Channels between threads: their halves are `Send`.
//!
//! A half on a loop is awaited there. A half on an ordinary thread uses the `blocking_` methods. A
//! value that is sent wakes the loop of the receiver, once per sleep
//! ([`oneshot`], [`mpsc`]).
//!
//! Between tasks of one loop, use [`sync::oneshot`](crate::sync::oneshot) and
//! [`sync::mpsc`](crate::sync::mpsc), which need no locks.
//!
//! The end of a loop is harmless for the other side: its halves are dropped with its tasks, so the
//! other halves find the channel closed.
//!
//! ```
//! use ringloop::sync::cross::oneshot;
//!
//! let (sender, receiver) = oneshot::channel();
//! let thread = std::thread::spawn(move || sender.send(6 * 7));
//! assert_eq!(ringloop::run(receiver), Ok(42));
//! thread.join().expect("no panic").expect("the receiver was alive");
//! ```

mod chan;
pub mod mpsc;
pub mod oneshot;
mod park;
#[cfg(test)]
mod tests;
