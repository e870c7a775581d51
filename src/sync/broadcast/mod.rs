//! A channel in which every receiver gets every value.
//!
//! The channel keeps the last values, up to its capacity. A receiver that is slower than that
//! misses the oldest ones, and its next receive returns how many
//! ([`RecvError::Lagged`](error::RecvError::Lagged)). So a slow receiver delays neither the
//! senders nor the other receivers.
//!
//! This is tokio's `broadcast`, without atomics and locks. Its halves stay on their thread. The
//! capacity is exact: tokio rounds it up to a power of two. A value is dropped when the last
//! receiver has taken it, and the last receiver gets the value itself, not a clone.
//!
//! ```
//! use ringloop::sync::broadcast;
//!
//! ringloop::run(async {
//!     let (sender, mut first) = broadcast::channel(16);
//!     let mut second = sender.subscribe();
//!     sender.send("news").expect("there are receivers");
//!     assert_eq!(first.recv().await, Ok("news"));
//!     assert_eq!(second.recv().await, Ok("news"));
//! });
//! ```

pub mod error;
mod receiver;
mod ring;
mod sender;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

pub use receiver::Receiver;
pub use sender::Sender;

/// Makes a channel that keeps the last `capacity` values, with one sender and one receiver.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// ```
/// use ringloop::sync::broadcast::{self, error::TryRecvError};
///
/// let (sender, mut receiver) = broadcast::channel(2);
/// for value in 0..3 {
///     sender.send(value).expect("there is a receiver");
/// }
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Lagged(1)));
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast channel has a capacity of at least 1");
    let shared = Rc::new(RefCell::new(ring::Ring::new(capacity)));
    let receiver = Receiver::new(Rc::clone(&shared));
    (Sender::new(shared), receiver)
}
