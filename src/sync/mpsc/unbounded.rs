//! The halves of unbounded channels.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::chan::{Chan, Closed, Slots};
use super::error::{SendError, TryRecvError};
use crate::task::coop;

/// Makes a channel without a limit: [`send`](UnboundedSender::send) never waits, and values that
/// are not received use memory.
///
/// Use it only where something else limits the number of values. Otherwise a producer that is
/// faster than the consumer fills the memory; see [`channel`](super::channel).
///
/// ```
/// ringloop::run(async {
///     let (sender, mut receiver) = ringloop::sync::mpsc::unbounded_channel();
///     sender.send("a value").expect("the receiver is alive");
///     assert_eq!(receiver.recv().await, Some("a value"));
/// });
/// ```
pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let chan = Chan::new(Slots::Unbounded);
    (UnboundedSender { chan: Rc::clone(&chan) }, UnboundedReceiver { chan })
}

/// The sending half of an unbounded channel. Clones send on the same channel.
///
/// When the last sender is dropped, the receiver gets the values that are left, and then `None`.
pub struct UnboundedSender<T> {
    chan: Rc<Chan<T>>,
}

impl<T> UnboundedSender<T> {
    /// Sends the value. Does not wait.
    ///
    /// # Errors
    ///
    /// Returns the value if the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::mpsc::unbounded_channel();
    /// sender.send(1).expect("the receiver is alive");
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// drop(receiver);
    /// assert_eq!(sender.send(2).expect_err("it is gone").0, 2);
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.chan.is_closed() {
            return Err(SendError(value));
        }
        self.chan.push(value).map_err(SendError)
    }

    /// Waits until the receiver is closed or dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let (sender, receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    ///     ringloop::spawn(async move { drop(receiver) });
    ///     sender.closed().await;
    ///     assert!(sender.is_closed());
    /// });
    /// ```
    pub async fn closed(&self) {
        let mut wait = Closed::new(&self.chan);
        coop::leaf_fn_anywhere(|cx| wait.poll(cx)).await;
    }

    /// Whether the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    /// receiver.close();
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed()
    }

    /// Whether both senders belong to the same channel.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    /// assert!(sender.same_channel(&sender.clone()));
    /// ```
    pub fn same_channel(&self, other: &UnboundedSender<T>) -> bool {
        Rc::ptr_eq(&self.chan, &other.chan)
    }

    /// Makes a sender that does not keep the channel open.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    /// let weak = sender.downgrade();
    /// drop(sender);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn downgrade(&self) -> WeakUnboundedSender<T> {
        WeakUnboundedSender::new(&self.chan)
    }

    /// The number of senders.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    /// assert_eq!(sender.clone().strong_count(), 2);
    /// ```
    pub fn strong_count(&self) -> usize {
        self.chan.sender_count()
    }

    /// The number of weak senders.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    /// let _weak = sender.downgrade();
    /// assert_eq!(sender.weak_count(), 1);
    /// ```
    pub fn weak_count(&self) -> usize {
        self.chan.weak_count()
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> UnboundedSender<T> {
        self.chan.add_sender();
        UnboundedSender { chan: Rc::clone(&self.chan) }
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

/// A sender of an unbounded channel that does not keep the channel open.
/// [`upgrade`](WeakUnboundedSender::upgrade) makes an [`UnboundedSender`] while there is another
/// one.
pub struct WeakUnboundedSender<T> {
    chan: Rc<Chan<T>>,
}

impl<T> WeakUnboundedSender<T> {
    fn new(chan: &Rc<Chan<T>>) -> WeakUnboundedSender<T> {
        chan.add_weak();
        WeakUnboundedSender { chan: Rc::clone(chan) }
    }

    /// Makes a sender, or returns `None` if all senders were dropped.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::mpsc::unbounded_channel();
    /// let weak = sender.downgrade();
    /// weak.upgrade().expect("a sender").send(1).expect("the receiver is alive");
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn upgrade(&self) -> Option<UnboundedSender<T>> {
        self.chan.upgrade().then(|| UnboundedSender { chan: Rc::clone(&self.chan) })
    }
}

impl<T> Clone for WeakUnboundedSender<T> {
    fn clone(&self) -> WeakUnboundedSender<T> {
        WeakUnboundedSender::new(&self.chan)
    }
}

impl<T> Drop for WeakUnboundedSender<T> {
    fn drop(&mut self) {
        self.chan.remove_weak();
    }
}

impl<T> fmt::Debug for WeakUnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakUnboundedSender").finish_non_exhaustive()
    }
}

/// The receiving half of an unbounded channel.
///
/// Dropping it drops the values that it has not taken.
pub struct UnboundedReceiver<T> {
    chan: Rc<Chan<T>>,
}

impl<T> UnboundedReceiver<T> {
    /// Waits for the next value. Returns `None` when all values were taken and no further one can
    /// be sent: all senders were dropped, or the receiver was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken no value.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::unbounded_channel();
    ///     ringloop::spawn(async move { sender.send(1) });
    ///     assert_eq!(receiver.recv().await, Some(1));
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// ```
    pub async fn recv(&mut self) -> Option<T> {
        coop::leaf_fn_anywhere(|cx| self.chan.poll_take(cx, Chan::take)).await
    }

    /// Waits for at least one value and moves up to `limit` values to the end of `buffer`. Returns
    /// their number: 0 if `limit` is 0, or if [`recv`](UnboundedReceiver::recv) would return
    /// `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken no value.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::unbounded_channel();
    ///     for value in 0..3 {
    ///         sender.send(value).expect("the receiver is alive");
    ///     }
    ///     let mut values = Vec::new();
    ///     assert_eq!(receiver.recv_many(&mut values, 2).await, 2);
    ///     assert_eq!(values, [0, 1]);
    /// });
    /// ```
    pub async fn recv_many(&mut self, buffer: &mut Vec<T>, limit: usize) -> usize {
        let poll = |cx: &mut Context<'_>| {
            self.chan.poll_take(cx, |chan| chan.take_many(&mut *buffer, limit))
        };
        coop::leaf_fn_anywhere(poll).await.unwrap_or(0)
    }

    /// Takes the next value if there is one. Does not wait.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if a value may still be sent, otherwise
    /// [`TryRecvError::Disconnected`].
    ///
    /// ```
    /// use ringloop::sync::mpsc::{self, error::TryRecvError};
    ///
    /// let (sender, mut receiver) = mpsc::unbounded_channel();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).expect("the receiver is alive");
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.chan.take()
    }

    /// Polls for the next value, as [`recv`](UnboundedReceiver::recv) does. If it is pending, the
    /// task of `cx` is woken by the next value or by the end. Only the task that has polled last is
    /// woken.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = ringloop::sync::mpsc::unbounded_channel();
    ///     sender.send(1).expect("the receiver is alive");
    ///     let value = std::future::poll_fn(|cx| receiver.poll_recv(cx)).await;
    ///     assert_eq!(value, Some(1));
    /// });
    /// ```
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        coop::leaf_anywhere(cx, |cx| self.chan.poll_take(cx, Chan::take))
    }

    /// Refuses further values. The values that were sent before can still be received.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::unbounded_channel();
    ///     sender.send(1).expect("the receiver is open");
    ///     receiver.close();
    ///     assert!(sender.send(2).is_err());
    ///     assert_eq!(receiver.recv().await, Some(1));
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// ```
    pub fn close(&mut self) {
        self.chan.close();
    }

    /// Whether the receiver was closed or all senders were dropped.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed() || self.chan.sender_count() == 0
    }

    /// The number of values in the channel.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::mpsc::unbounded_channel();
    /// sender.send(1).expect("the receiver is alive");
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// Whether no value is in the channel.
    ///
    /// ```
    /// assert!(ringloop::sync::mpsc::unbounded_channel::<u32>().1.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of senders.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::mpsc::unbounded_channel::<u32>();
    /// let _other = sender.clone();
    /// assert_eq!(receiver.sender_strong_count(), 2);
    /// ```
    pub fn sender_strong_count(&self) -> usize {
        self.chan.sender_count()
    }
}

impl<T> Drop for UnboundedReceiver<T> {
    fn drop(&mut self) {
        self.chan.receiver_dropped();
    }
}

impl<T> fmt::Debug for UnboundedReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("UnboundedReceiver");
        text.field("len", &self.len()).field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
