//! [`Receiver`] of bounded channels.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::chan::Chan;
use super::error::TryRecvError;
use crate::task::coop;

/// The receiving half of a bounded channel.
///
/// Dropping it drops the values that it has not taken, and ends the waits of senders.
pub struct Receiver<T> {
    chan: Rc<Chan<T>>,
}

impl<T> Receiver<T> {
    pub(super) fn new(chan: Rc<Chan<T>>) -> Receiver<T> {
        Receiver { chan }
    }

    /// Waits for the next value. Returns `None` when all values were taken and no further one can
    /// be sent: all senders were dropped, or the receiver was closed and no slot is reserved.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken no value.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::channel(2);
    ///     ringloop::spawn(async move { sender.send(1).await });
    ///     assert_eq!(receiver.recv().await, Some(1));
    ///     assert_eq!(receiver.recv().await, None);
    /// });
    /// ```
    pub async fn recv(&mut self) -> Option<T> {
        coop::leaf_fn_anywhere(|cx| self.chan.poll_take(cx, Chan::take)).await
    }

    /// Waits for at least one value and moves up to `limit` values to the end of `buffer`. Returns
    /// their number: 0 if [`recv`](Receiver::recv) would return `None`, or if `limit` is 0.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken no value.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::channel(4);
    ///     for value in 0..3 {
    ///         sender.send(value).await.expect("the receiver is alive");
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
    /// let (sender, mut receiver) = mpsc::channel(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.try_send(1).expect("a free slot");
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.chan.take()
    }

    /// Polls for the next value, as [`recv`](Receiver::recv) does. If it is pending, the task of
    /// `cx` is woken by the next value or by the end. Only the task that has polled last is woken.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = ringloop::sync::mpsc::channel(1);
    ///     sender.send(1).await.expect("the receiver is alive");
    ///     let value = std::future::poll_fn(|cx| receiver.poll_recv(cx)).await;
    ///     assert_eq!(value, Some(1));
    /// });
    /// ```
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        coop::leaf_anywhere(cx, |cx| self.chan.poll_take(cx, Chan::take))
    }

    /// Refuses further values, and ends the waits of senders. The values that were sent before, and
    /// those of reserved slots, can still be received.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::channel(2);
    ///     sender.send(1).await.expect("the receiver is open");
    ///     receiver.close();
    ///     assert!(sender.send(2).await.is_err());
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
    /// let (sender, receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed() || self.chan.sender_count() == 0
    }

    /// The number of values in the channel.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::mpsc::channel(1);
    /// sender.try_send(1).expect("a free slot");
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.chan.len()
    }

    /// Whether no value is in the channel.
    ///
    /// ```
    /// assert!(ringloop::sync::mpsc::channel::<u32>(1).1.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of slots that are neither in use nor reserved.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::mpsc::channel::<u32>(2).1.capacity(), 2);
    /// ```
    pub fn capacity(&self) -> usize {
        let (gate, _) = self.chan.slots().expect("a bounded channel");
        gate.available()
    }

    /// The number of slots, as given to [`channel`](super::channel).
    ///
    /// ```
    /// assert_eq!(ringloop::sync::mpsc::channel::<u32>(2).1.max_capacity(), 2);
    /// ```
    pub fn max_capacity(&self) -> usize {
        self.chan.slots().expect("a bounded channel").1
    }

    /// The number of senders.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    /// let _other = sender.clone();
    /// assert_eq!(receiver.sender_strong_count(), 2);
    /// ```
    pub fn sender_strong_count(&self) -> usize {
        self.chan.sender_count()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.chan.receiver_dropped();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Receiver");
        text.field("len", &self.len()).field("max_capacity", &self.max_capacity());
        text.field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
