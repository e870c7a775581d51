//! [`Sender`].

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::error::SendError;
use super::receiver::Receiver;
use super::shared::{Ref, Shared};
use crate::sync::wait_list::{WaiterId, wait_in};
use crate::sync::waking::wake_each;
use crate::task::coop;

/// The sending half of a `watch` channel. Clones send on the same channel.
///
/// When the last sender is dropped, the waits of receivers end with
/// [`RecvError`](super::error::RecvError). The last value stays readable.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Makes a channel with this value and without a receiver.
    ///
    /// ```
    /// let sender = ringloop::sync::watch::Sender::new(1);
    /// let receiver = sender.subscribe();
    /// assert_eq!(*receiver.borrow(), 1);
    /// ```
    pub fn new(value: T) -> Sender<T> {
        Sender::with(Rc::new(Shared::new(value)))
    }

    pub(super) fn with(shared: Rc<Shared<T>>) -> Sender<T> {
        shared.add_sender();
        Sender { shared }
    }

    /// Replaces the value and wakes the receivers that wait. Does not wait. [`Ref`]s keep the value
    /// that they have read.
    ///
    /// # Errors
    ///
    /// Returns the value if there is no receiver. The channel then keeps its value; see
    /// [`send_replace`](Sender::send_replace).
    ///
    /// # Panics
    ///
    /// Inside of the closure of [`send_modify`](Sender::send_modify) on the same channel.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::watch::channel(1);
    /// sender.send(2).expect("there is a receiver");
    /// assert_eq!(*receiver.borrow(), 2);
    /// drop(receiver);
    /// assert_eq!(sender.send(3).expect_err("there is none").0, 3);
    /// ```
    #[track_caller]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.shared.receiver_count() == 0 {
            return Err(SendError(value));
        }
        let former = self.shared.replace(value);
        drop(former);
        Ok(())
    }

    /// Changes the value in place and wakes the receivers that wait, also if there is no receiver.
    /// If `change` panics, the receivers are not woken and the value is as `change` left it.
    ///
    /// # Panics
    ///
    /// While a [`Ref`] to the current value is alive, and inside of the closure of another call.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::watch::channel(vec![1]);
    /// sender.send_modify(|list| list.push(2));
    /// assert_eq!(*receiver.borrow(), [1, 2]);
    /// ```
    #[track_caller]
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.shared.modify(|value| {
            change(value);
            true
        });
    }

    /// Changes the value in place like [`send_modify`](Sender::send_modify), and wakes the
    /// receivers only if `change` returns true. Returns what `change` has returned.
    ///
    /// # Panics
    ///
    /// As [`send_modify`](Sender::send_modify).
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::watch::channel(1);
    /// let is_raised = sender.send_if_modified(|value| {
    ///     let is_raised = *value < 3;
    ///     *value = 3.max(*value);
    ///     is_raised
    /// });
    /// assert!(is_raised);
    /// assert_eq!(receiver.has_changed(), Ok(true));
    /// ```
    #[track_caller]
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        self.shared.modify(change)
    }

    /// Replaces the value, wakes the receivers that wait, and returns the former value. Works
    /// without a receiver, too.
    ///
    /// # Panics
    ///
    /// While a [`Ref`] to the former value is alive, and inside of the closure of
    /// [`send_modify`](Sender::send_modify).
    ///
    /// ```
    /// let sender = ringloop::sync::watch::Sender::new(1);
    /// assert_eq!(sender.send_replace(2), 1);
    /// ```
    #[track_caller]
    pub fn send_replace(&self, value: T) -> T {
        self.shared.exchange(value)
    }

    /// The current value.
    ///
    /// # Panics
    ///
    /// Inside of the closure of [`send_modify`](Sender::send_modify) on the same channel.
    ///
    /// ```
    /// assert_eq!(*ringloop::sync::watch::Sender::new(1).borrow(), 1);
    /// ```
    #[track_caller]
    pub fn borrow(&self) -> Ref<T> {
        self.shared.read(false)
    }

    /// Makes a receiver, which has seen the current value.
    ///
    /// ```
    /// let sender = ringloop::sync::watch::Sender::new(1);
    /// let receiver = sender.subscribe();
    /// assert_eq!(receiver.has_changed(), Ok(false));
    /// ```
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::new(&self.shared)
    }

    /// Whether there is no receiver.
    ///
    /// ```
    /// assert!(ringloop::sync::watch::Sender::new(1).is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// The number of receivers.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::watch::channel(1);
    /// assert_eq!(sender.receiver_count(), 1);
    /// ```
    pub fn receiver_count(&self) -> usize {
        self.shared.receiver_count()
    }

    /// The number of senders.
    ///
    /// ```
    /// let sender = ringloop::sync::watch::Sender::new(1);
    /// assert_eq!(sender.clone().sender_count(), 2);
    /// ```
    pub fn sender_count(&self) -> usize {
        self.shared.sender_count()
    }

    /// Whether both senders belong to the same channel.
    ///
    /// ```
    /// let sender = ringloop::sync::watch::Sender::new(1);
    /// assert!(sender.same_channel(&sender.clone()));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until there is no receiver.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// use ringloop::sync::watch;
    ///
    /// ringloop::run(async {
    ///     let (sender, receiver) = watch::channel(1);
    ///     ringloop::spawn(async move { drop(receiver) });
    ///     sender.closed().await;
    ///     assert!(sender.is_closed());
    /// });
    /// ```
    pub async fn closed(&self) {
        let mut wait = Closed { shared: &self.shared, waiter_id: WaiterId::default() };
        coop::leaf_fn_anywhere(|cx| wait.poll(cx)).await;
    }
}

/// The wait for the end of the last receiver.
struct Closed<'a, T> {
    shared: &'a Shared<T>,
    waiter_id: WaiterId,
}

impl<T> Closed<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.receiver_count() > 0 {
            wait_in(&self.shared.senders, |list| list, &mut self.waiter_id, cx.waker());
        }
        // The clone of the waker is user code, which may have dropped the last receiver.
        match self.shared.receiver_count() {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        let waker = self.shared.senders.borrow_mut().leave(&mut self.waiter_id);
        drop(waker);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender::with(Rc::clone(&self.shared))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        wake_each(self.shared.remove_sender());
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Sender");
        text.field("receiver_count", &self.receiver_count()).finish_non_exhaustive()
    }
}
