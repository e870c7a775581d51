//! Tasks that wait for the same thing, in the order in which they began to wait.
//!
//! A place is a number. A waiter that was woken and finds nothing, because a newcomer was polled
//! first, waits again under the number it has, so newcomers cannot push it back. A woken waiter
//! reserves nothing: its future may be alive and never be polled again.
//!
//! So an owner that wakes one waiter for a thing must wake the next one if the thing is still there
//! when the tasks have run. That also covers a waiter that is dropped after its wake.
//!
//! Every operation costs O(log n).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

use crate::error::discard;

#[derive(Default)]
pub(crate) struct WaitList {
    /// Waiters that have not been woken, by their numbers.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    next_number: Cell<u64>,
}

/// One waiter's place. Starts without one.
#[derive(Default, Debug)]
pub(crate) struct WaiterId(Option<u64>);

/// Waiters whose futures were forgotten. The list may go in the middle of a turn.
impl Drop for WaitList {
    fn drop(&mut self) {
        std::mem::take(self.waiting.get_mut()).into_values().for_each(discard);
    }
}

impl WaitList {
    /// Takes a place at the end, or waits at the one it has, with this waker.
    pub(crate) fn wait(&self, waiter_id: &mut WaiterId, waker: &Waker) {
        let number = *waiter_id.0.get_or_insert_with(|| {
            let number = self.next_number.get();
            self.next_number.set(number + 1);
            number
        });
        let is_same = |current: &Waker| current.will_wake(waker);
        if self.waiting.borrow().get(&number).is_some_and(is_same) {
            return;
        }
        let waker = waker.clone(); // cloning and dropping are user code: not under the borrow
        let former = self.waiting.borrow_mut().insert(number, waker);
        drop(former);
    }

    /// Takes the first waiter's waker, for the caller to wake when nothing is borrowed.
    pub(crate) fn next(&self) -> Option<Waker> {
        let first = self.waiting.borrow_mut().pop_first();
        first.map(|(_number, waker)| waker)
    }

    /// Whether this waiter was woken, and none that came before it waits to be woken.
    pub(crate) fn is_first_awake(&self, waiter_id: &WaiterId) -> bool {
        let waiting = self.waiting.borrow();
        let first = waiting.first_key_value().map(|(&first, _)| first);
        waiter_id.0.is_some_and(|number| first.is_none_or(|first| number < first))
    }

    /// Whether a waiter has not been woken.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Gives the place up. Whether it had been woken makes no difference: see above.
    pub(crate) fn leave(&self, waiter_id: &mut WaiterId) {
        let removed =
            waiter_id.0.take().and_then(|number| self.waiting.borrow_mut().remove(&number));
        drop(removed); // user code: not under the borrow
    }
}
