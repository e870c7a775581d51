//! The ends of the tasks of one set, in their order.
//!
//! The join cell of a task in a [`HandleSet`](super::handle_set::HandleSet) has an [`Entry`] in
//! place of a waker. The end of the task records its index, which costs O(1) for any number of
//! tasks, and wakes the task that waits for the set. A task ends on the thread of its loop only, so
//! no lock is needed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use crate::error::discard;

/// The ends of the tasks of one set.
#[derive(Default)]
pub(super) struct Ended(RefCell<EndedQueue>);

#[derive(Default)]
struct EndedQueue {
    indices: VecDeque<usize>,
    /// The task that waits for the next end.
    waiter: Option<Waker>,
}

impl Ended {
    /// The number of ends that have not been taken.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().indices.len()
    }

    /// The indices from the `start`th end on.
    pub(super) fn indices_from(&self, start: usize) -> Vec<usize> {
        self.0.borrow().indices.range(start..).copied().collect()
    }

    /// Takes the first end.
    pub(super) fn take_first(&self) -> Option<usize> {
        self.0.borrow_mut().indices.pop_front()
    }

    pub(super) fn clear(&self) {
        self.0.borrow_mut().indices.clear();
    }

    /// Wakes the task of `waker` at the next end.
    pub(super) fn wait(&self, waker: &Waker) {
        let is_waiting = |waiter: &Waker| waiter.will_wake(waker);
        if self.0.borrow().waiter.as_ref().is_some_and(is_waiting) {
            return;
        }
        let waker = waker.clone(); // user code: not under the borrow
        let former = self.0.borrow_mut().waiter.replace(waker);
        drop(former);
    }
}

/// A task may outlive its set and drop the last reference, so a panic of the waker is caught.
impl Drop for Ended {
    fn drop(&mut self) {
        discard(self.0.get_mut().waiter.take());
    }
}

/// The place of one task in a set.
pub(super) struct Entry {
    ended: Rc<Ended>,
    index: usize,
}

impl Entry {
    pub(super) fn new(ended: &Rc<Ended>, index: usize) -> Entry {
        Entry { ended: Rc::clone(ended), index }
    }

    /// Records the end of the task.
    pub(super) fn record(self) {
        let waiter = {
            let mut queue = self.ended.0.borrow_mut();
            queue.indices.push_back(self.index);
            queue.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}
