//! A channel for one value, between threads.
//!
//! This is tokio's `oneshot`. [`sync::oneshot`](crate::sync::oneshot) is the form for one loop.
//!
//! ```
//! use ringloop::sync::cross::oneshot;
//!
//! let (sender, receiver) = oneshot::channel();
//! let thread = std::thread::spawn(move || sender.send("done"));
//! assert_eq!(ringloop::run(receiver), Ok("done"));
//! thread.join().expect("no panic").expect("the receiver was alive");
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::park::block_on;
use crate::primitives::{Mutex, MutexGuard};
use crate::sync::oneshot::error::{RecvError, TryRecvError};
use crate::sync::waking::wake_each;
use crate::task::coop;

/// Makes a channel for one value.
///
/// ```
/// let (sender, receiver) = ringloop::sync::cross::oneshot::channel();
/// sender.send(1).expect("the receiver is alive");
/// assert_eq!(receiver.blocking_recv(), Ok(1));
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = State { value: Slot::Empty, receiver: None, sender: None };
    let channel = Arc::new(Channel(Mutex::new(state)));
    (Sender { channel: Arc::clone(&channel) }, Receiver { channel, is_done: false })
}

/// What both halves share.
///
/// **Invariant.** No user code runs under the lock: values and wakers are moved out of the state,
/// and woken, cloned or dropped when the lock was released. So a thread that holds the lock does
/// not block and does not panic.
struct Channel<T>(Mutex<State<T>>);

struct State<T> {
    value: Slot<T>,
    /// The task or thread that waits for the value.
    receiver: Option<Waker>,
    /// The task that waits for the end of the receiver.
    sender: Option<Waker>,
}

/// The state of a channel.
///
/// ```text
///           send                    receive, or drop of the receiver
///  Empty ─────────▶ Full(value) ─────────────────────────────────────▶ Ended
///    │                                                                   ▲
///    └───── drop of the sender, close or drop of the receiver ──────────┘
/// ```
enum Slot<T> {
    Empty,
    Full(T),
    /// No value is sent from now on.
    Ended,
}

impl<T> State<T> {
    fn take(&mut self) -> Result<T, TryRecvError> {
        match std::mem::replace(&mut self.value, Slot::Ended) {
            Slot::Full(value) => Ok(value),
            Slot::Ended => Err(TryRecvError::Closed),
            Slot::Empty => {
                self.value = Slot::Empty;
                Err(TryRecvError::Empty)
            }
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self.value, Slot::Ended)
    }

    /// Ends an empty channel. Returns the wakers of the halves that wait for that.
    #[must_use = "waking tasks is user code"]
    fn end_if_empty(&mut self) -> [Option<Waker>; 2] {
        match self.value {
            Slot::Empty => {
                self.value = Slot::Ended;
                [self.receiver.take(), self.sender.take()]
            }
            Slot::Full(_) | Slot::Ended => [None, None],
        }
    }
}

impl<T> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_if_empty(&self) {
        let wakers = self.lock().end_if_empty();
        wake_each(wakers.into_iter().flatten());
    }

    /// Returns what `check` returns, or stores a clone of the waker in the place that `place`
    /// selects.
    fn poll_state<R>(
        &self,
        cx: &mut Context<'_>,
        mut check: impl FnMut(&mut State<T>) -> Option<R>,
        place: impl Fn(&mut State<T>) -> &mut Option<Waker>,
    ) -> Poll<R> {
        let mut clone = None;
        loop {
            let mut state = self.lock();
            if let Some(result) = check(&mut state) {
                let former = place(&mut state).take();
                drop(state);
                drop(former);
                return Poll::Ready(result);
            }
            let current = place(&mut state);
            if current.as_ref().is_some_and(|current| current.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(clone) = clone.take() {
                let former = current.replace(clone);
                drop(state);
                drop(former);
                return Poll::Pending;
            }
            drop(state);
            clone = Some(cx.waker().clone());
        }
    }
}

/// The half that sends the value, from any thread. Dropping it without sending ends the wait of the
/// receiver.
pub struct Sender<T> {
    channel: Arc<Channel<T>>,
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
    /// let (sender, receiver) = ringloop::sync::cross::oneshot::channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn send(self, value: T) -> Result<(), T> {
        let mut state = self.channel.lock();
        if state.is_ended() {
            drop(state);
            return Err(value);
        }
        state.value = Slot::Full(value);
        let receiver = state.receiver.take();
        drop(state);
        wake_each(receiver);
        Ok(())
    }

    /// Waits until the receiver is closed or dropped: then the value is not needed any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// let (mut sender, receiver) = ringloop::sync::cross::oneshot::channel::<u32>();
    /// let thread = std::thread::spawn(move || drop(receiver));
    /// ringloop::run(sender.closed());
    /// assert!(sender.is_closed());
    /// thread.join().expect("no panic");
    /// ```
    pub async fn closed(&mut self) {
        coop::leaf_fn_anywhere(|cx| {
            let is_ended = |state: &mut State<T>| state.is_ended().then_some(());
            self.channel.poll_state(cx, is_ended, |state| &mut state.sender)
        })
        .await;
    }

    /// Whether the receiver is closed or dropped, so that [`send`](Sender::send) would fail.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::cross::oneshot::channel::<u32>();
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.channel.lock().is_ended()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let own = self.channel.lock().sender.take();
        self.channel.end_if_empty();
        drop(own);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The half that receives the value: a future of it, or
/// [`blocking_recv`](Receiver::blocking_recv) on an ordinary thread.
///
/// # Cancel safety
///
/// Cancel safe: await `&mut receiver` to keep the receiver when the wait is dropped. The value
/// stays in the channel until a poll takes it.
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
    channel: Arc<Channel<T>>,
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
    /// let (sender, mut receiver) = ringloop::sync::cross::oneshot::channel();
    /// assert!(receiver.try_recv().is_err());
    /// sender.send(1).expect("the receiver is alive");
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.channel.lock().take()
    }

    /// Blocks this thread until the value has been sent.
    ///
    /// # Errors
    ///
    /// If the sender was dropped without sending.
    ///
    /// # Panics
    ///
    /// On a thread that runs a loop: the loop would stand still. Await the receiver there. Also if
    /// the receiver has returned its result before.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::cross::oneshot::channel();
    /// let thread = std::thread::spawn(move || receiver.blocking_recv());
    /// ringloop::run(async { sender.send(1).expect("the receiver is alive") });
    /// assert_eq!(thread.join().expect("no panic"), Ok(1));
    /// ```
    #[track_caller]
    pub fn blocking_recv(mut self) -> Result<T, RecvError> {
        block_on(|cx| self.poll_value(cx))
    }

    /// Refuses a value that has not been sent yet, and ends the wait of a sender in
    /// [`Sender::closed`]. A value that has been sent can still be received.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::cross::oneshot::channel();
    /// receiver.close();
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn close(&mut self) {
        self.channel.end_if_empty();
    }

    fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        assert!(!self.is_done, "a oneshot receiver was polled after it had returned its result");
        let take = |state: &mut State<T>| match state.take() {
            Ok(value) => Some(Ok(value)),
            Err(TryRecvError::Closed) => Some(Err(RecvError::new())),
            Err(TryRecvError::Empty) => None,
        };
        let outcome = self.channel.poll_state(cx, take, |state| &mut state.receiver);
        self.is_done = outcome.is_ready();
        outcome
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        coop::leaf_anywhere(cx, |cx| self.poll_value(cx))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let own = self.channel.lock().receiver.take();
        self.channel.end_if_empty();
        // A value that was sent and is not received. Its destructor may do anything.
        let value = self.channel.lock().take();
        drop((own, value));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("is_done", &self.is_done).finish_non_exhaustive()
    }
}
