//! Channels from many tasks to one task of the same loop.
//!
//! A bounded channel ([`channel`]) has a number of slots. When all are in use, [`Sender::send`]
//! waits, so a fast producer cannot fill the memory. [`unbounded_channel`] has no limit: use it
//! only where something else limits the number of values.
//!
//! This is tokio's `mpsc`, without atomics. Its halves stay on their thread. Differences:
//!
//! - A future of `send` that is woken and not polled holds no slot back: after one round of the
//!   ready queue, the slot is offered to the next sender. In tokio such a future keeps its slot.
//! - Senders take slots in the order in which they began to wait. `try_send` does not overtake
//!   them.
//! - There are no blocking forms, because the receiver is on the same thread.
//!
//! ```
//! use ringloop::sync::mpsc;
//!
//! ringloop::run(async {
//!     let (sender, mut receiver) = mpsc::channel(2);
//!     for worker in 0..3 {
//!         let sender = sender.clone();
//!         ringloop::spawn(async move { sender.send(worker).await });
//!     }
//!     drop(sender); // the receiver ends after the last clone
//!     let mut sum = 0;
//!     while let Some(worker) = receiver.recv().await {
//!         sum += worker;
//!     }
//!     assert_eq!(sum, 3);
//! });
//! ```

mod bounded;
mod chan;
pub mod error;
mod permit;
mod receiver;
#[cfg(test)]
mod tests;
mod unbounded;

pub use bounded::{OwnedPermit, Sender, WeakSender};
pub use permit::Permit;
pub use receiver::Receiver;
pub use unbounded::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel};

use chan::{Chan, Slots};

use super::gate::Gate;
use super::permits::PERMITS_MAX;

/// Makes a channel with room for `capacity` values.
///
/// # Panics
///
/// If `capacity` is 0, or greater than 2^61 - 1 (on 64-bit systems).
///
/// ```
/// ringloop::run(async {
///     let (sender, mut receiver) = ringloop::sync::mpsc::channel(1);
///     sender.send("a value").await.expect("the receiver is alive");
///     assert_eq!(receiver.recv().await, Some("a value"));
/// });
/// ```
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a bounded channel has a capacity of at least 1");
    assert!(capacity <= PERMITS_MAX, "a capacity of {capacity} exceeds {PERMITS_MAX}");
    let chan = Chan::new(Slots::Bounded { gate: Gate::new(capacity), max: capacity });
    let receiver = Receiver::new(std::rc::Rc::clone(&chan));
    (Sender::new(chan), receiver)
}
