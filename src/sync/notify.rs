//! [`Notify`].

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::gate::Gate;
use super::wait_list::WaiterId;
use crate::task::coop;

/// The number of notifications that are stored without a waiter.
const SPARE: usize = 1;

/// Wakes tasks that wait for an event, without a value.
///
/// This is tokio's `Notify` for one thread. [`notify_one`](Notify::notify_one) wakes one waiter; if
/// there is none, the notification is stored, and the next wait returns at once. At most one is
/// stored. [`notify_waiters`](Notify::notify_waiters) wakes all waiters and stores nothing.
///
/// It differs from tokio in one point: a notification is not assigned to the waiter that was woken.
/// The first poll that finds it takes it, waiters in their order. So a waiter that is dropped, or
/// alive and not polled, does not keep a notification from the next one.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Notify;
///
/// ringloop::run(async {
///     let notify = Rc::new(Notify::new());
///     let waiting = Rc::clone(&notify);
///     let task = ringloop::spawn(async move { waiting.notified().await });
///     notify.notify_one();
///     task.await.unwrap();
/// });
/// ```
pub struct Notify {
    gate: Rc<Gate>,
    /// The number of calls of `notify_waiters`.
    generation: Cell<u64>,
}

/// The future of [`Notify::notified`].
///
/// # Cancel safety
///
/// Cancel safe: if it was woken, the next waiter is. A dropped future loses its place in the queue.
///
/// ```
/// use ringloop::sync::Notify;
///
/// ringloop::run(async {
///     let notify = Notify::new();
///     let notified = notify.notified();
///     notify.notify_waiters(); // counts: the future was created before
///     notified.await;
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    state: NotifiedState,
}

/// The future of [`Notify::notified_owned`]. As [`Notified`], without the borrow.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Notify;
///
/// ringloop::run(async {
///     let notify = Rc::new(Notify::new());
///     let task = ringloop::spawn(Rc::clone(&notify).notified_owned());
///     notify.notify_one();
///     task.await.unwrap();
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct OwnedNotified {
    notify: Rc<Notify>,
    state: NotifiedState,
}

/// A wait for a notification.
struct NotifiedState {
    waiter_id: WaiterId,
    /// The generation in which the future was created. A later one ends the wait.
    generation: u64,
    is_done: bool,
}

impl Notify {
    /// A `Notify` without a stored notification.
    ///
    /// ```
    /// let notify = ringloop::sync::Notify::new();
    /// notify.notify_one();
    /// ```
    pub fn new() -> Notify {
        Notify { gate: Gate::of_notifications(SPARE), generation: Cell::new(0) }
    }

    /// Waits for a notification.
    ///
    /// A call of [`notify_waiters`](Self::notify_waiters) counts from the creation of the future.
    /// For [`notify_one`](Self::notify_one), the future is a waiter from its first poll, or from
    /// [`enable`](Notified::enable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: see [`Notified`].
    ///
    /// ```
    /// use ringloop::sync::Notify;
    ///
    /// ringloop::run(async {
    ///     let notify = Notify::new();
    ///     notify.notify_one(); // stored
    ///     notify.notified().await;
    /// });
    /// ```
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, state: NotifiedState::new(self) }
    }

    /// Like [`notified`](Self::notified), with a future that does not borrow the `Notify`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: see [`Notified`].
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::Notify;
    ///
    /// ringloop::run(async {
    ///     let notify = Rc::new(Notify::new());
    ///     notify.notify_one();
    ///     ringloop::spawn(notify.notified_owned()).await.unwrap();
    /// });
    /// ```
    pub fn notified_owned(self: Rc<Self>) -> OwnedNotified {
        let state = NotifiedState::new(&self);
        OwnedNotified { notify: self, state }
    }

    /// Notifies the first waiter. If there is none, the notification is stored for the next one; at
    /// most one is stored.
    ///
    /// ```
    /// use ringloop::sync::Notify;
    ///
    /// ringloop::run(async {
    ///     let notify = Notify::new();
    ///     notify.notify_one();
    ///     notify.notify_one(); // one is stored already
    ///     notify.notified().await;
    ///     let mut second = std::pin::pin!(notify.notified());
    ///     assert!(!second.as_mut().enable());
    /// });
    /// ```
    pub fn notify_one(&self) {
        self.gate.notify();
    }

    /// Notifies all waiters, and stores nothing. Futures that were created before count as waiters.
    ///
    /// ```
    /// use ringloop::sync::Notify;
    ///
    /// ringloop::run(async {
    ///     let notify = Notify::new();
    ///     let (first, second) = (notify.notified(), notify.notified());
    ///     notify.notify_waiters();
    ///     first.await;
    ///     second.await;
    /// });
    /// ```
    pub fn notify_waiters(&self) {
        self.generation.set(self.generation.get() + 1);
        self.gate.dismiss_all();
    }
}

impl NotifiedState {
    fn new(notify: &Notify) -> NotifiedState {
        let generation = notify.generation.get();
        NotifiedState { waiter_id: WaiterId::default(), generation, is_done: false }
    }

    /// Polls for a notification, and waits with `waker` if there is none.
    fn poll_state(&mut self, notify: &Notify, waker: &Waker) -> Poll<()> {
        if !self.is_done {
            let (generation, current) = (self.generation, &notify.generation);
            let is_dismissed = || generation != current.get();
            let gate = &notify.gate;
            let outcome = gate.poll_notified(is_dismissed, &mut self.waiter_id, waker);
            self.is_done = outcome.is_ready();
        }
        if self.is_done { Poll::Ready(()) } else { Poll::Pending }
    }

    fn enable(&mut self, notify: &Notify) -> bool {
        if notify.gate.is_waiting(&self.waiter_id) {
            return false; // with the waker that it has
        }
        self.poll_state(notify, Waker::noop()).is_ready()
    }

    fn leave(&mut self, notify: &Notify) {
        notify.gate.leave(&mut self.waiter_id);
    }
}

impl Notified<'_> {
    /// Makes the future a waiter, as its first poll would. Returns whether it was notified.
    ///
    /// ```
    /// use std::pin::pin;
    /// use ringloop::sync::Notify;
    ///
    /// ringloop::run(async {
    ///     let notify = Notify::new();
    ///     let mut first = pin!(notify.notified());
    ///     assert!(!first.as_mut().enable());
    ///     notify.notify_one(); // for `first`
    ///     assert!(first.as_mut().enable());
    ///     first.await;
    /// });
    /// ```
    pub fn enable(self: Pin<&mut Self>) -> bool {
        let Notified { notify, state } = self.get_mut();
        state.enable(notify)
    }
}

impl OwnedNotified {
    /// Makes the future a waiter, as its first poll would. Returns whether it was notified.
    ///
    /// ```
    /// use std::pin::pin;
    /// use std::rc::Rc;
    /// use ringloop::sync::Notify;
    ///
    /// ringloop::run(async {
    ///     let notify = Rc::new(Notify::new());
    ///     let mut first = pin!(Rc::clone(&notify).notified_owned());
    ///     assert!(!first.as_mut().enable());
    ///     notify.notify_one();
    ///     first.await;
    /// });
    /// ```
    pub fn enable(self: Pin<&mut Self>) -> bool {
        let OwnedNotified { notify, state } = self.get_mut();
        state.enable(notify)
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Notified { notify, state } = self.get_mut();
        coop::leaf_anywhere(cx, |cx| state.poll_state(notify, cx.waker()))
    }
}

impl Future for OwnedNotified {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let OwnedNotified { notify, state } = self.get_mut();
        coop::leaf_anywhere(cx, |cx| state.poll_state(notify, cx.waker()))
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        self.state.leave(self.notify);
    }
}

impl Drop for OwnedNotified {
    fn drop(&mut self) {
        self.state.leave(&self.notify);
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").field("is_done", &self.state.is_done).finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedNotified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedNotified")
            .field("is_done", &self.state.is_done)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
