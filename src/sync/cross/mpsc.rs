//! Channels from many threads to one receiver.
//!
//! A bounded channel ([`channel`]) has a number of slots. When all are in use, senders wait:
//! [`Sender::send`] in a task, [`Sender::blocking_send`] on an ordinary thread.
//! [`unbounded_channel`] has no limit: use it only where something else limits the number of
//! values.
//!
//! This is tokio's `mpsc`, except that a future of `send` that is woken and not polled holds no
//! slot back. A freed slot wakes all senders that wait, in the order in which they began to wait,
//! and the first that runs takes it. [`sync::mpsc`](crate::sync::mpsc) is the form for one loop.
//!
//! ```
//! use ringloop::sync::cross::mpsc;
//!
//! let (sender, mut receiver) = mpsc::channel(2);
//! let threads = [1, 2, 3].map(|value| {
//!     let sender = sender.clone();
//!     std::thread::spawn(move || sender.blocking_send(value))
//! });
//! drop(sender); // the receiver ends after the last clone
//! let sum = ringloop::run(async move {
//!     let mut sum = 0;
//!     while let Some(value) = receiver.recv().await {
//!         sum += value;
//!     }
//!     sum
//! });
//! assert_eq!(sum, 6);
//! for thread in threads {
//!     thread.join().expect("no panic").expect("the receiver was alive");
//! }
//! ```

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::chan::Chan;
use super::park::block_on;
use crate::sync::mpsc::error::{SendError, TryRecvError, TrySendError};
use crate::sync::permits::PERMITS_MAX;
use crate::sync::wait_list::WaiterId;
use crate::task::coop;

/// Makes a channel with room for `capacity` values.
///
/// # Panics
///
/// If `capacity` is 0, or greater than 2^61 - 1 (on 64-bit systems).
///
/// ```
/// let (sender, receiver) = ringloop::sync::cross::mpsc::channel(1);
/// sender.try_send(1).expect("a free slot");
/// assert_eq!(receiver.len(), 1);
/// ```
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a bounded channel has a capacity of at least 1");
    assert!(capacity <= PERMITS_MAX, "a capacity of {capacity} exceeds {PERMITS_MAX}");
    let chan = Chan::new(Some(capacity));
    (Sender { chan: Arc::clone(&chan) }, Receiver { chan })
}

/// Makes a channel without a limit: sending never waits, and values that are not received use
/// memory.
///
/// ```
/// let (sender, mut receiver) = ringloop::sync::cross::mpsc::unbounded_channel();
/// sender.send(1).expect("the receiver is alive");
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub fn unbounded_channel<T>() -> (UnboundedSender<T>, Receiver<T>) {
    let chan = Chan::new(None);
    (UnboundedSender { chan: Arc::clone(&chan) }, Receiver { chan })
}

/// The sending half of a bounded channel, for any thread. Clones send on the same channel.
///
/// When the last sender is dropped, the receiver gets the values that are left, and then `None`.
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Sender<T> {
    /// Waits for a slot and sends the value.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has not sent, and its value is dropped with it.
    ///
    /// # Errors
    ///
    /// Returns the value if the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::cross::mpsc::channel(1);
    /// let thread = std::thread::spawn(move || receiver.blocking_recv());
    /// ringloop::run(sender.send(1)).expect("the receiver is alive");
    /// assert_eq!(thread.join().expect("no panic"), Some(1));
    /// ```
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut send =
            SendWait { chan: &self.chan, value: Some(value), waiter_id: WaiterId::default() };
        coop::leaf_fn_anywhere(|cx| send.poll(cx)).await
    }

    /// Sends the value if there is a free slot. Does not wait.
    ///
    /// # Errors
    ///
    /// Returns the value if there is no free slot or if the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::cross::mpsc::channel(1);
    /// sender.try_send(1).expect("a free slot");
    /// assert!(sender.try_send(2).is_err());
    /// ```
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.chan.try_send(value)
    }

    /// Blocks this thread until there is a slot, and sends the value.
    ///
    /// # Errors
    ///
    /// Returns the value if the receiver was closed or dropped.
    ///
    /// # Panics
    ///
    /// On a thread that runs a loop: the loop would stand still. Await `send` there.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::cross::mpsc::channel(1);
    /// let thread = std::thread::spawn(move || sender.blocking_send(1));
    /// assert_eq!(ringloop::run(receiver.recv()), Some(1));
    /// thread.join().expect("no panic").expect("the receiver was alive");
    /// ```
    #[track_caller]
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        let mut send =
            SendWait { chan: &self.chan, value: Some(value), waiter_id: WaiterId::default() };
        block_on(|cx| send.poll(cx))
    }

    /// Whether the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::cross::mpsc::channel::<u32>(1);
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed()
    }

    /// The number of slots, as given to [`channel`].
    ///
    /// ```
    /// assert_eq!(ringloop::sync::cross::mpsc::channel::<u32>(2).0.max_capacity(), 2);
    /// ```
    pub fn max_capacity(&self) -> usize {
        self.chan.slots_max()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.chan.add_sender();
        Sender { chan: Arc::clone(&self.chan) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// One send that may wait.
struct SendWait<'a, T> {
    chan: &'a Chan<T>,
    value: Option<T>,
    waiter_id: WaiterId,
}

impl<T> SendWait<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let sent = self.chan.poll_send(cx, &mut self.value, &mut self.waiter_id);
        sent.map_err(|()| SendError(self.value.take().expect("a value that was not sent")))
    }
}

impl<T> Drop for SendWait<'_, T> {
    fn drop(&mut self) {
        self.chan.leave(&mut self.waiter_id);
    }
}

/// The sending half of an unbounded channel, for any thread. Clones send on the same channel.
pub struct UnboundedSender<T> {
    chan: Arc<Chan<T>>,
}

impl<T> UnboundedSender<T> {
    /// Sends the value. Does not wait.
    ///
    /// # Errors
    ///
    /// Returns the value if the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::cross::mpsc::unbounded_channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(1).expect_err("it is gone").0, 1);
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.chan.try_send(value).map_err(|error| SendError(error.into_inner()))
    }

    /// Whether the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::cross::mpsc::unbounded_channel::<u32>();
    /// assert!(!sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed()
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> UnboundedSender<T> {
        self.chan.add_sender();
        UnboundedSender { chan: Arc::clone(&self.chan) }
    }
}

impl<T> Drop for UnboundedSender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

impl<T> fmt::Debug for UnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("UnboundedSender");
        text.field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The receiving half of both kinds of channels.
///
/// Dropping it drops the values that it has not taken, and ends the waits of senders.
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Receiver<T> {
    /// Waits for the next value. Returns `None` when all values were taken and no further one can
    /// be sent.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken no value.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::cross::mpsc::channel(1);
    /// let thread = std::thread::spawn(move || sender.blocking_send(1));
    /// ringloop::run(async {
    ///     assert_eq!(receiver.recv().await, Some(1));
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// thread.join().expect("no panic").expect("the receiver was alive");
    /// ```
    pub async fn recv(&mut self) -> Option<T> {
        coop::leaf_fn_anywhere(|cx| self.chan.poll_recv(cx)).await
    }

    /// Takes the next value if there is one. Does not wait.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if a value may still be sent, otherwise
    /// [`TryRecvError::Disconnected`].
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::cross::mpsc::channel(1);
    /// assert!(receiver.try_recv().is_err());
    /// sender.try_send(1).expect("a free slot");
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.chan.try_recv()
    }

    /// Blocks this thread until there is a value, or until no value can be sent any more.
    ///
    /// # Panics
    ///
    /// On a thread that runs a loop: the loop would stand still. Await `recv` there.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::cross::mpsc::channel(1);
    /// let thread = std::thread::spawn(move || receiver.blocking_recv());
    /// ringloop::run(sender.send(1)).expect("the receiver is alive");
    /// assert_eq!(thread.join().expect("no panic"), Some(1));
    /// ```
    #[track_caller]
    pub fn blocking_recv(&mut self) -> Option<T> {
        block_on(|cx| self.chan.poll_recv(cx))
    }

    /// Refuses further values, and ends the waits of senders. The values that were sent before can
    /// still be received.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::cross::mpsc::channel(1);
    /// sender.try_send(1).expect("a free slot");
    /// receiver.close();
    /// assert_eq!(receiver.blocking_recv(), Some(1));
    /// assert_eq!(receiver.blocking_recv(), None);
    /// ```
    pub fn close(&mut self) {
        self.chan.close();
    }

    /// The number of values in the channel.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::cross::mpsc::channel::<u32>(1).1.len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// Whether no value is in the channel.
    ///
    /// ```
    /// assert!(ringloop::sync::cross::mpsc::channel::<u32>(1).1.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.chan.receiver_dropped();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}
