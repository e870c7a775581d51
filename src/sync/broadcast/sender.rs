//! [`Sender`].

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::error::SendError;
use super::receiver::Receiver;
use super::ring::{Sent, Shared};
use crate::sync::wait_list::{WaiterId, wait_in};
use crate::sync::waking::wake_each;
use crate::task::coop;

/// The sending half of a `broadcast` channel. Clones send on the same channel.
///
/// When the last sender is dropped, receivers get the values that are left, and then
/// [`RecvError::Closed`](super::error::RecvError::Closed).
pub struct Sender<T> {
    shared: Shared<T>,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Shared<T>) -> Sender<T> {
        Sender { shared }
    }

    /// Sends a value to all receivers and returns their number. Does not wait: if the channel is
    /// full, the value takes the place of the oldest one.
    ///
    /// # Errors
    ///
    /// Returns the value if there is no receiver. A later [`subscribe`](Sender::subscribe) makes
    /// sending possible again.
    ///
    /// ```
    /// use ringloop::sync::broadcast;
    ///
    /// let (sender, receiver) = broadcast::channel(16);
    /// assert_eq!(sender.send(1).expect("there is a receiver"), 1);
    /// drop(receiver);
    /// assert_eq!(sender.send(2).expect_err("there is none").0, 2);
    /// ```
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let value = Rc::new(value);
        let mut ring = self.shared.borrow_mut();
        let receiver_count = ring.receiver_count();
        let sent = ring.send(value);
        drop(ring);
        match sent {
            Ok(Sent { woken, oldest }) => {
                wake_each(woken);
                drop(oldest);
                Ok(receiver_count)
            }
            Err(value) => {
                let value = Rc::into_inner(value).expect("the only reference");
                Err(SendError(value))
            }
        }
    }

    /// Makes a receiver of the values that are sent from now on.
    ///
    /// ```
    /// use ringloop::sync::broadcast;
    ///
    /// let (sender, _first) = broadcast::channel(16);
    /// sender.send(1).expect("there is a receiver");
    /// let mut second = sender.subscribe();
    /// sender.send(2).expect("there are receivers");
    /// assert_eq!(second.try_recv(), Ok(2));
    /// ```
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::new(Rc::clone(&self.shared))
    }

    /// The number of values that at least one receiver has not taken.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::broadcast::channel(16);
    /// sender.send(1).expect("there is a receiver");
    /// assert_eq!(sender.len(), 1);
    /// receiver.try_recv().expect("the value");
    /// assert_eq!(sender.len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.shared.borrow().len()
    }

    /// Whether all receivers have taken all values.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::broadcast::channel::<u32>(16);
    /// assert!(sender.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of receivers.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::broadcast::channel::<u32>(16);
    /// assert_eq!(sender.receiver_count(), 1);
    /// drop(receiver);
    /// assert_eq!(sender.receiver_count(), 0);
    /// ```
    pub fn receiver_count(&self) -> usize {
        self.shared.borrow().receiver_count()
    }

    /// Whether both senders belong to the same channel.
    ///
    /// ```
    /// let (sender, _receiver) = ringloop::sync::broadcast::channel::<u32>(16);
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
    /// use ringloop::sync::broadcast;
    ///
    /// ringloop::run(async {
    ///     let (sender, receiver) = broadcast::channel::<u32>(16);
    ///     ringloop::spawn(async move { drop(receiver) });
    ///     sender.closed().await;
    ///     assert!(sender.send(1).is_err());
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
        if self.shared.borrow().receiver_count() == 0 {
            return Poll::Ready(());
        }
        wait_in(self.shared, |ring| &mut ring.senders, &mut self.waiter_id, cx.waker());
        // The clone of the waker is user code, which may have dropped the last receiver.
        match self.shared.borrow().receiver_count() {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        let waker = self.shared.borrow_mut().senders.leave(&mut self.waiter_id);
        drop(waker);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.borrow_mut().add_sender();
        Sender { shared: Rc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let woken = self.shared.borrow_mut().remove_sender();
        wake_each(woken);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, receiver_count) = (self.len(), self.receiver_count());
        let mut text = f.debug_struct("Sender");
        text.field("len", &len).field("receiver_count", &receiver_count).finish_non_exhaustive()
    }
}
