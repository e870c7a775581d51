//! [`Event`].

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::wait_list::{WaitList, WaiterId, wait_in};
use super::waking::wake_each;
use crate::task::coop;

/// A flag that tasks wait for.
///
/// This is asyncio's `Event`. [`set`](Event::set) wakes all waiters, and later waits return at
/// once, until [`clear`](Event::clear). A task that waited when the event was set returns, even if
/// it is cleared before the task runs. [`Notify`](super::Notify) wakes one waiter at a time.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Event;
///
/// ringloop::run(async {
///     let event = Rc::new(Event::new());
///     let waiting = Rc::clone(&event);
///     let task = ringloop::spawn(async move { waiting.wait().await });
///     event.set();
///     task.await.unwrap();
///     event.wait().await; // it is still set
/// });
/// ```
#[derive(Default)]
pub struct Event {
    state: RefCell<EventState>,
}

#[derive(Default)]
struct EventState {
    is_set: bool,
    waiters: WaitList,
}

/// The future of [`Event::wait`].
struct Wait<'a> {
    event: &'a Event,
    waiter_id: WaiterId,
}

impl Event {
    /// An event that is not set.
    ///
    /// ```
    /// assert!(!ringloop::sync::Event::new().is_set());
    /// ```
    pub fn new() -> Event {
        Event::default()
    }

    /// Sets the event, and wakes all waiters.
    ///
    /// ```
    /// let event = ringloop::sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        let woken = {
            let mut state = self.state.borrow_mut();
            state.is_set = true;
            state.waiters.wake_all()
        };
        wake_each(woken);
    }

    /// Clears the event: later waits wait for the next [`set`](Self::set).
    ///
    /// ```
    /// let event = ringloop::sync::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.state.borrow_mut().is_set = false;
    }

    /// Whether the event is set.
    ///
    /// ```
    /// assert!(!ringloop::sync::Event::new().is_set());
    /// ```
    pub fn is_set(&self) -> bool {
        self.state.borrow().is_set
    }

    /// Waits until the event is set.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// use ringloop::sync::Event;
    ///
    /// ringloop::run(async {
    ///     let event = Event::new();
    ///     event.set();
    ///     event.wait().await;
    /// });
    /// ```
    pub async fn wait(&self) {
        Wait { event: self, waiter_id: WaiterId::default() }.await;
    }

    fn is_over(&self, waiter_id: &WaiterId) -> bool {
        let state = self.state.borrow();
        state.is_set || state.waiters.was_in_wake_all(waiter_id)
    }
}

impl EventState {
    fn waiters(&mut self) -> &mut WaitList {
        &mut self.waiters
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Wait { event, waiter_id } = self.get_mut();
        coop::leaf_anywhere(cx, |cx| {
            if !event.is_over(waiter_id) {
                wait_in(&event.state, EventState::waiters, waiter_id, cx.waker());
            }
            // The clone of the waker may have set the event.
            if event.is_over(waiter_id) { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waker = self.event.state.borrow_mut().waiters.leave(&mut self.waiter_id);
        drop(waker);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish()
    }
}

#[cfg(test)]
mod tests;
