//! [`Sender`], [`WeakSender`] and [`OwnedPermit`] of bounded channels.

use std::fmt;
use std::rc::Rc;

use super::chan::{Chan, Closed};
use super::error::{SendError, TrySendError};
use super::permit::{self, Permit};
use crate::sync::gate::{Gate, Held};
use crate::sync::permits::Refusal;
use crate::task::coop;

/// The sending half of a bounded channel. Clones send on the same channel.
///
/// When the last sender is dropped, the receiver gets the values that are left, and then `None`.
pub struct Sender<T> {
    chan: Rc<Chan<T>>,
}

impl<T> Sender<T> {
    pub(super) fn new(chan: Rc<Chan<T>>) -> Sender<T> {
        Sender { chan }
    }

    fn gate(&self) -> &Rc<Gate> {
        self.slots().0
    }

    fn slots(&self) -> (&Rc<Gate>, usize) {
        self.chan.slots().expect("a bounded channel")
    }

    /// Waits for a slot and sends the value. Senders take slots in the order in which they began to
    /// wait.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has not sent, and its value is dropped with it. To keep the value,
    /// await [`reserve`](Sender::reserve) and send on the permit.
    ///
    /// # Errors
    ///
    /// Returns the value if the receiver was closed or dropped. A value that was sent is dropped if
    /// the receiver is dropped before it takes the value.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::channel(1);
    ///     sender.send(1).await.expect("the receiver is alive");
    ///     assert_eq!(receiver.recv().await, Some(1));
    ///     drop(receiver);
    ///     assert_eq!(sender.send(2).await.expect_err("the receiver is gone").0, 2);
    /// });
    /// ```
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        match self.gate().acquire(1).await {
            Ok(slot) => self.push(slot, value).map_err(SendError),
            Err(_closed) => Err(SendError(value)),
        }
    }

    /// Sends the value if there is a free slot. Does not wait, and overtakes no sender that waits.
    ///
    /// # Errors
    ///
    /// Returns the value if there is no free slot or if the receiver was closed or dropped.
    ///
    /// ```
    /// use ringloop::sync::mpsc::{self, error::TrySendError};
    ///
    /// let (sender, receiver) = mpsc::channel(1);
    /// sender.try_send(1).expect("a free slot");
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// drop(receiver);
    /// assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    /// ```
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.gate().attempt(1) {
            Ok(slot) => self.push(slot, value).map_err(TrySendError::Closed),
            Err(Refusal::Unavailable) => Err(TrySendError::Full(value)),
            Err(Refusal::Closed) => Err(TrySendError::Closed(value)),
        }
    }

    /// Waits for a slot and reserves it. [`Permit::send`] then sends without waiting.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has reserved nothing, and keeps no place.
    ///
    /// # Errors
    ///
    /// If the receiver was closed or dropped.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::channel(1);
    ///     let permit = sender.reserve().await.expect("the receiver is alive");
    ///     assert!(sender.try_send(1).is_err()); // the slot is reserved
    ///     permit.send(2);
    ///     assert_eq!(receiver.recv().await, Some(2));
    /// });
    /// ```
    pub async fn reserve(&self) -> Result<Permit<'_, T>, SendError<()>> {
        let slot = self.gate().acquire(1).await.map_err(|_closed| SendError(()))?;
        Ok(Permit::new(&self.chan, slot))
    }

    /// Reserves a slot if there is a free one. Does not wait, and overtakes no sender that waits.
    ///
    /// # Errors
    ///
    /// If there is no free slot, or if the receiver was closed or dropped.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::mpsc::channel(1);
    /// sender.try_reserve().expect("a free slot").send(1);
    /// assert!(sender.try_reserve().is_err());
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        match self.gate().attempt(1) {
            Ok(slot) => Ok(Permit::new(&self.chan, slot)),
            Err(Refusal::Unavailable) => Err(TrySendError::Full(())),
            Err(Refusal::Closed) => Err(TrySendError::Closed(())),
        }
    }

    /// Like [`reserve`](Sender::reserve), with a permit that contains this sender and may be moved
    /// to another task.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has reserved nothing. This sender is dropped with it.
    ///
    /// # Errors
    ///
    /// If the receiver was closed or dropped.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = mpsc::channel(1);
    ///     let permit = sender.reserve_owned().await.expect("the receiver is alive");
    ///     ringloop::spawn(async move { permit.send(1) });
    ///     assert_eq!(receiver.recv().await, Some(1));
    /// });
    /// ```
    pub async fn reserve_owned(self) -> Result<OwnedPermit<T>, SendError<()>> {
        let slot = self.gate().acquire(1).await.map_err(|_closed| SendError(()))?;
        Ok(OwnedPermit::new(self, slot))
    }

    /// Waits until the receiver is closed or dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// use ringloop::sync::mpsc;
    ///
    /// ringloop::run(async {
    ///     let (sender, receiver) = mpsc::channel::<u32>(1);
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
    /// let (sender, mut receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    /// receiver.close();
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.chan.is_closed()
    }

    /// The number of slots that are neither in use nor reserved.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::channel(2);
    /// sender.try_send(1).expect("a free slot");
    /// assert_eq!(sender.capacity(), 1);
    /// ```
    pub fn capacity(&self) -> usize {
        self.gate().available()
    }

    /// The number of slots, as given to [`channel`](super::channel).
    ///
    /// ```
    /// assert_eq!(ringloop::sync::mpsc::channel::<u32>(2).0.max_capacity(), 2);
    /// ```
    pub fn max_capacity(&self) -> usize {
        self.slots().1
    }

    /// Whether both senders belong to the same channel.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    /// assert!(sender.same_channel(&sender.clone()));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.chan, &other.chan)
    }

    /// Makes a sender that does not keep the channel open.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    /// let weak = sender.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(sender);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender::new(&self.chan)
    }

    /// The number of senders.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    /// assert_eq!(sender.clone().strong_count(), 2);
    /// ```
    pub fn strong_count(&self) -> usize {
        self.chan.sender_count()
    }

    /// The number of weak senders.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    /// let _weak = sender.downgrade();
    /// assert_eq!(sender.weak_count(), 1);
    /// ```
    pub fn weak_count(&self) -> usize {
        self.chan.weak_count()
    }

    /// Uses `slot` for the value.
    fn push(&self, slot: Held, value: T) -> Result<(), T> {
        slot.keep();
        self.chan.push(value)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.chan.add_sender();
        Sender { chan: Rc::clone(&self.chan) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.chan.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Sender");
        text.field("capacity", &self.capacity()).field("max_capacity", &self.max_capacity());
        text.field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A sender of a bounded channel that does not keep the channel open.
/// [`upgrade`](WeakSender::upgrade) makes a [`Sender`] while there is another one.
pub struct WeakSender<T> {
    chan: Rc<Chan<T>>,
}

impl<T> WeakSender<T> {
    fn new(chan: &Rc<Chan<T>>) -> WeakSender<T> {
        chan.add_weak();
        WeakSender { chan: Rc::clone(chan) }
    }

    /// Makes a sender, or returns `None` if all senders were dropped.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::mpsc::channel(1);
    /// let weak = sender.downgrade();
    /// weak.upgrade().expect("a sender").try_send(1).expect("a free slot");
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn upgrade(&self) -> Option<Sender<T>> {
        self.chan.upgrade().then(|| Sender { chan: Rc::clone(&self.chan) })
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> WeakSender<T> {
        WeakSender::new(&self.chan)
    }
}

impl<T> Drop for WeakSender<T> {
    fn drop(&mut self) {
        self.chan.remove_weak();
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSender").finish_non_exhaustive()
    }
}

/// A reserved slot of a bounded channel, from [`Sender::reserve_owned`], with its sender. Dropping
/// it frees the slot and drops the sender.
#[must_use = "dropping the permit frees the slot"]
pub struct OwnedPermit<T> {
    /// None when the permit was used.
    sender: Option<Sender<T>>,
    slot: Option<Held>,
}

impl<T> OwnedPermit<T> {
    fn new(sender: Sender<T>, slot: Held) -> OwnedPermit<T> {
        OwnedPermit { sender: Some(sender), slot: Some(slot) }
    }

    /// Sends a value in this slot, as [`Permit::send`] does, and returns the sender.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = ringloop::sync::mpsc::channel(2);
    ///     let permit = sender.reserve_owned().await.expect("the receiver is alive");
    ///     let sender = permit.send(1);
    ///     sender.try_send(2).expect("a free slot");
    ///     assert_eq!(receiver.recv().await, Some(1));
    /// });
    /// ```
    pub fn send(mut self, value: T) -> Sender<T> {
        let sender = self.sender.take().expect("used once");
        permit::push(&sender.chan, self.slot.take(), value);
        sender
    }

    /// Frees the slot and returns the sender.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let (sender, _receiver) = ringloop::sync::mpsc::channel::<u32>(1);
    ///     let permit = sender.reserve_owned().await.expect("the receiver is alive");
    ///     assert_eq!(permit.release().capacity(), 1);
    /// });
    /// ```
    pub fn release(mut self) -> Sender<T> {
        let sender = self.sender.take().expect("used once");
        permit::free(&sender.chan, self.slot.take());
        sender
    }
}

impl<T> Drop for OwnedPermit<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            permit::free(&sender.chan, self.slot.take());
        }
    }
}

impl<T> fmt::Debug for OwnedPermit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit").finish_non_exhaustive()
    }
}
