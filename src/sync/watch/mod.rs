//! A channel that keeps only the last value, for state that tasks follow: a configuration, the
//! phase of a shutdown, a progress.
//!
//! Receivers read the current value at any time, and wait until it changes. A receiver that is slow
//! misses the values between two of its reads, but never the last one.
//!
//! This is tokio's `watch`, without atomics and locks. Its halves stay on their thread. A
//! [`Ref`] is a snapshot, so a send is possible while a `Ref` is alive.
//!
//! ```
//! use ringloop::sync::watch;
//!
//! ringloop::run(async {
//!     let (sender, mut receiver) = watch::channel("starting");
//!     ringloop::spawn(async move { sender.send("ready").expect("there is a receiver") });
//!     receiver.changed().await.expect("the sender is alive");
//!     assert_eq!(*receiver.borrow_and_update(), "ready");
//! });
//! ```

pub mod error;
mod receiver;
mod sender;
mod shared;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub use receiver::Receiver;
pub use sender::Sender;
pub use shared::Ref;

use shared::Shared;

/// Makes a channel with this value, one sender and one receiver, which has seen the value.
///
/// ```
/// let (sender, receiver) = ringloop::sync::watch::channel(1);
/// assert_eq!(*receiver.borrow(), 1);
/// assert_eq!(sender.receiver_count(), 1);
/// ```
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared::new(value));
    let receiver = Receiver::new(&shared);
    (Sender::with(shared), receiver)
}
