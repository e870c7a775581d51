//! [`Receiver`].

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::error::{RecvError, TryRecvError};
use super::ring::{Removed, Shared};
use crate::sync::wait_list::{WaiterId, wait_in};
use crate::sync::waking::wake_each;
use crate::task::coop;

/// The receiving half of a `broadcast` channel. Gets every value that was sent since it was made.
///
/// [`Sender::subscribe`](super::Sender::subscribe) and [`resubscribe`](Receiver::resubscribe) make
/// further receivers.
pub struct Receiver<T> {
    shared: Shared<T>,
    /// The position of the next value.
    position: u64,
    waiter_id: WaiterId,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Shared<T>) -> Receiver<T> {
        let position = shared.borrow_mut().add_receiver();
        Receiver { shared, position, waiter_id: WaiterId::default() }
    }

    /// Makes another receiver of the same channel, which gets the values that are sent from now on.
    ///
    /// ```
    /// let (sender, first) = ringloop::sync::broadcast::channel(16);
    /// sender.send(1).expect("there is a receiver");
    /// let mut second = first.resubscribe();
    /// sender.send(2).expect("there are receivers");
    /// assert_eq!(second.try_recv(), Ok(2));
    /// ```
    pub fn resubscribe(&self) -> Receiver<T> {
        Receiver::new(Rc::clone(&self.shared))
    }

    /// The number of values that were sent and that this receiver has not taken. If it is greater
    /// than the capacity, the next receive returns
    /// [`Lagged`](super::error::RecvError::Lagged).
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::broadcast::channel(16);
    /// sender.send(1).expect("there is a receiver");
    /// assert_eq!(receiver.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        (self.shared.borrow().end() - self.position) as usize
    }

    /// Whether this receiver has taken all values that were sent.
    ///
    /// ```
    /// let (_sender, receiver) = ringloop::sync::broadcast::channel::<u32>(16);
    /// assert!(receiver.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all senders were dropped. There may be values that this receiver has not taken.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::broadcast::channel::<u32>(16);
    /// drop(sender);
    /// assert!(receiver.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.shared.borrow().sender_count() == 0
    }

    /// Whether both receivers belong to the same channel.
    ///
    /// ```
    /// let (_sender, receiver) = ringloop::sync::broadcast::channel::<u32>(16);
    /// assert!(receiver.same_channel(&receiver.resubscribe()));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T: Clone> Receiver<T> {
    /// Waits for the next value.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken no value.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] with the number of values that this receiver has missed; the next
    /// receive returns the oldest value that is left. [`RecvError::Closed`] if all senders were
    /// dropped and this receiver has taken all values.
    ///
    /// ```
    /// use ringloop::sync::broadcast::{self, error::RecvError};
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = broadcast::channel(16);
    ///     ringloop::spawn(async move { sender.send(7) });
    ///     assert_eq!(receiver.recv().await, Ok(7));
    ///     assert_eq!(receiver.recv().await, Err(RecvError::Closed));
    /// });
    /// ```
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        let mut wait = Wait { receiver: self };
        coop::leaf_fn_anywhere(|cx| wait.poll(cx)).await
    }

    /// Takes the next value if there is one. Does not wait.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv), and [`TryRecvError::Empty`] if this receiver has taken all
    /// values.
    ///
    /// ```
    /// use ringloop::sync::broadcast::{self, error::TryRecvError};
    ///
    /// let (sender, mut receiver) = broadcast::channel(16);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(7).expect("there is a receiver");
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let taken = self.shared.borrow_mut().take(&mut self.position);
        // The clone is user code, which may use this channel. The last receiver takes the value.
        taken.map(Rc::unwrap_or_clone)
    }
}

/// The wait of a receiver for a value.
struct Wait<'a, T> {
    receiver: &'a mut Receiver<T>,
}

impl<T: Clone> Wait<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let mut taken = self.receiver.try_recv();
        if let Err(TryRecvError::Empty) = taken {
            let Receiver { shared, waiter_id, .. } = &mut *self.receiver;
            wait_in(shared, |ring| &mut ring.receivers, waiter_id, cx.waker());
            // The clone of the waker is user code, which may have sent a value.
            taken = self.receiver.try_recv();
        }
        match taken {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError::Closed)),
            Err(TryRecvError::Lagged(count)) => Poll::Ready(Err(RecvError::Lagged(count))),
        }
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        let Receiver { shared, waiter_id, .. } = &mut *self.receiver;
        let waker = shared.borrow_mut().receivers.leave(waiter_id);
        drop(waker);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut ring = self.shared.borrow_mut();
        // The waker of a wait that was forgotten.
        let waker = ring.receivers.leave(&mut self.waiter_id);
        let Removed { woken, values } = ring.remove_receiver(self.position);
        drop(ring);
        wake_each(woken);
        drop((waker, values));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, is_closed) = (self.len(), self.is_closed());
        let mut text = f.debug_struct("Receiver");
        text.field("len", &len).field("is_closed", &is_closed).finish_non_exhaustive()
    }
}
