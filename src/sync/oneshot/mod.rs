//! A channel for one value, from one task to another of the same loop.
//!
//! This is tokio's `oneshot`, without atomics. Its halves stay on their thread. asyncio's
//! counterpart is a `Future` with `set_result`.
//!
//! ```
//! use ringloop::sync::oneshot;
//!
//! ringloop::run(async {
//!     let (sender, receiver) = oneshot::channel();
//!     ringloop::spawn(async move { sender.send("done").expect("the receiver is alive") });
//!     assert_eq!(receiver.await, Ok("done"));
//! });
//! ```

pub mod error;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use error::{RecvError, TryRecvError};

use super::waker_cell::{Waited, WakerCell};
use super::waking::wake_each;
use crate::task::coop;

/// Makes a channel for one value.
///
/// ```
/// let (sender, mut receiver) = ringloop::sync::oneshot::channel();
/// sender.send(1).expect("the receiver is alive");
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Rc::new(Channel {
        state: RefCell::new(State::Empty),
        receiver: WakerCell::default(),
        sender: WakerCell::default(),
    });
    (Sender { channel: Rc::clone(&channel) }, Receiver { channel, is_done: false })
}

/// What both halves share. No user code runs while `state` is borrowed.
struct Channel<T> {
    state: RefCell<State<T>>,
    receiver: WakerCell,
    /// The sender may wait for the end of the receiver.
    sender: WakerCell,
}

/// The state of a channel.
///
/// ```text
///           send                    receive, or drop of the receiver
///  Empty ─────────▶ Full(value) ─────────────────────────────────────▶ Ended
///    │                                                                   ▲
///    └───── drop of the sender, close or drop of the receiver ──────────┘
/// ```
#[derive(Debug)]
enum State<T> {
    Empty,
    Full(T),
    /// No value is sent from now on.
    Ended,
}

impl<T> Channel<T> {
    /// Ends an empty channel. Returns whether it was empty.
    fn end_if_empty(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let is_empty = matches!(*state, State::Empty);
        if is_empty {
            *state = State::Ended;
        }
        is_empty
    }

    /// Takes the value, if there is one.
    fn take(&self) -> Result<T, TryRecvError> {
        let mut state = self.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Ended) {
            State::Full(value) => Ok(value),
            State::Ended => Err(TryRecvError::Closed),
            State::Empty => {
                *state = State::Empty;
                Err(TryRecvError::Empty)
            }
        }
    }

    fn is_ended(&self) -> bool {
        matches!(*self.state.borrow(), State::Ended)
    }
}

/// The half that sends the value. Dropping it without sending ends the wait of the receiver.
pub struct Sender<T> {
    channel: Rc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Sends the value and wakes the receiver. Does not wait.
    ///
    /// # Errors
    ///
    /// Returns the value if the receiver was dropped or closed. A value that was sent is dropped if
    /// the receiver is dropped before it takes the value.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::oneshot::channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn send(self, value: T) -> Result<(), T> {
        let mut state = self.channel.state.borrow_mut();
        if !matches!(*state, State::Empty) {
            drop(state);
            return Err(value);
        }
        *state = State::Full(value);
        drop(state);
        wake_each(self.channel.receiver.take());
        Ok(())
    }

    /// Waits until the receiver is closed or dropped: then the value is not needed any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// use ringloop::sync::oneshot;
    ///
    /// ringloop::run(async {
    ///     let (mut sender, receiver) = oneshot::channel::<u32>();
    ///     ringloop::spawn(async move { drop(receiver) });
    ///     sender.closed().await;
    ///     assert!(sender.is_closed());
    /// });
    /// ```
    pub async fn closed(&mut self) {
        coop::leaf_fn_anywhere(|cx| self.wait_closed(cx)).await;
    }

    /// Polls for the end of the receiver, as [`closed`](Sender::closed) does. If it is pending, the
    /// task of `cx` is woken when the receiver ends.
    ///
    /// ```
    /// use std::task::Poll;
    ///
    /// ringloop::run(async {
    ///     let (mut sender, receiver) = ringloop::sync::oneshot::channel::<u32>();
    ///     drop(receiver);
    ///     std::future::poll_fn(|cx| sender.poll_closed(cx)).await;
    /// });
    /// ```
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        coop::leaf_anywhere(cx, |cx| self.wait_closed(cx))
    }

    /// Whether the receiver is closed or dropped, so that [`send`](Sender::send) would fail.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::oneshot::channel::<u32>();
    /// receiver.close();
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.channel.is_ended()
    }

    fn wait_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_closed()
            && (self.channel.sender.wait(cx.waker()) == Waited::Already || !self.is_closed())
        {
            return Poll::Pending;
        }
        drop(self.channel.sender.take());
        Poll::Ready(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let own = self.channel.sender.take();
        if self.channel.end_if_empty() {
            wake_each(self.channel.receiver.take());
        }
        drop(own); // user code, which may panic
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The half that receives the value: a future of it.
///
/// # Cancel safety
///
/// Cancel safe: await `&mut receiver` to keep the receiver when the wait is dropped, for example
/// in a `select!`. The value stays in the channel until a poll takes it.
///
/// # Errors
///
/// The future ends with [`RecvError`] if the sender was dropped without sending.
///
/// # Panics
///
/// If it is polled after it has returned its result.
#[must_use = "futures do nothing unless polled"]
pub struct Receiver<T> {
    channel: Rc<Channel<T>>,
    /// The future has returned its result.
    is_done: bool,
}

impl<T> Receiver<T> {
    /// Takes the value if it has been sent. Does not wait.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if the sender may still send, [`TryRecvError::Closed`] if it was
    /// dropped, or if the value was received before.
    ///
    /// ```
    /// use ringloop::sync::oneshot::{self, error::TryRecvError};
    ///
    /// let (sender, mut receiver) = oneshot::channel::<u32>();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.channel.take()
    }

    /// Refuses a value that has not been sent yet, and wakes a sender that waits in
    /// [`Sender::closed`] and a task that waits for the value. A value that has been sent can still
    /// be received.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::oneshot::channel();
    /// receiver.close();
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn close(&mut self) {
        if self.channel.end_if_empty() {
            let (sender, receiver) = (self.channel.sender.take(), self.channel.receiver.take());
            wake_each(sender.into_iter().chain(receiver));
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.is_done, "a oneshot receiver was polled after it had returned its result");
        let outcome = coop::leaf_anywhere(cx, |cx| {
            let mut taken = self.channel.take();
            if matches!(taken, Err(TryRecvError::Empty))
                && self.channel.receiver.wait(cx.waker()) == Waited::Anew
            {
                taken = self.channel.take();
            }
            match taken {
                Err(TryRecvError::Empty) => Poll::Pending,
                Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError::new())),
                Ok(value) => Poll::Ready(Ok(value)),
            }
        });
        self.is_done = outcome.is_ready();
        outcome
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let own = self.channel.receiver.take();
        self.close();
        // A value that was sent and is not received. Its destructor may do anything.
        let value = self.channel.take();
        drop((own, value));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("is_done", &self.is_done).finish_non_exhaustive()
    }
}
