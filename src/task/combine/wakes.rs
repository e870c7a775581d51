//! The wakers of the children of one task, and the queue of those that were woken.
//!
//! Each child has a waker of its own, which puts the child's index into a queue and wakes the task.
//! So one wake costs one poll, for any number of children. Wakers are used on any thread, so the
//! queue is behind a lock.
//!
//! ```text
//!            wake, 1st                 each_woken                 ready
//!   idle ───────────────▶ in the queue ───────────▶ being polled ───────▶ ended, dropped
//!    ▲                                                │
//!    └───────────────────── pending ──────────────────┘
//! ```
//!
//! **Budget.** A poll takes the children that were in the queue when it began, and stops when the
//! budget is spent. The others keep their places in the queue for the next poll. So a child that
//! uses up the budget delays the others, and does not starve them.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Wake, Waker};

use crate::primitives::{Mutex, MutexGuard};
use crate::task::coop;

/// What the wakers of all children share.
#[derive(Default)]
pub(super) struct Wakes {
    queue: Mutex<WakeQueue>,
}

#[derive(Default)]
struct WakeQueue {
    woken: VecDeque<usize>,
    /// By index, whether the child is in the queue.
    is_woken: Vec<bool>,
    /// The task of the last poll, until it is woken.
    parent: Option<Waker>,
}

impl Wakes {
    /// Adds a child with the next index. It is polled when its waker, which is returned, is used.
    pub(super) fn add(self: &Arc<Self>) -> Waker {
        let mut queue = self.lock();
        let index = queue.is_woken.len();
        queue.is_woken.push(false);
        drop(queue);
        Waker::from(Arc::new(ChildWaker { wakes: Arc::clone(self), index }))
    }

    /// Calls `poll` with each index that is in the queue now, until that returns a result or the
    /// budget is spent. Then the task is woken for the rest. Another wake wakes the task of `cx`.
    pub(super) fn each_woken<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(usize) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        self.wait(cx.waker()); // first: a later wake wakes the task
        let woken_count = self.lock().woken.len();
        for _ in 0..woken_count {
            if coop::left_for_combinators() == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            let Some(index) = self.take() else { break };
            poll(index)?;
        }
        ControlFlow::Continue(())
    }

    /// Drops the waker of the task. Wakers of children may outlive them, and must not keep the task
    /// alive.
    pub(super) fn leave(&self) {
        let parent = self.lock().parent.take();
        drop(parent); // user code: not under the lock
    }

    /// Takes the lock. No code that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, WakeQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task of `waker` at the next wake of a child.
    fn wait(&self, waker: &Waker) {
        let is_parent = |parent: &Waker| parent.will_wake(waker);
        if self.lock().parent.as_ref().is_some_and(is_parent) {
            return;
        }
        let waker = waker.clone(); // user code: not under the lock
        let former = self.lock().parent.replace(waker);
        drop(former);
    }

    /// Takes the first child of the queue. Its next wake puts it there again.
    fn take(&self) -> Option<usize> {
        let mut queue = self.lock();
        let index = queue.woken.pop_front()?;
        queue.is_woken[index] = false;
        Some(index)
    }
}

struct ChildWaker {
    wakes: Arc<Wakes>,
    index: usize,
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let parent = {
            let mut queue = self.wakes.lock();
            if std::mem::replace(&mut queue.is_woken[self.index], true) {
                return;
            }
            queue.woken.push_back(self.index);
            queue.parent.take()
        };
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}
