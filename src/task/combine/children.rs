//! Futures of one task, of which only those that were woken are polled.
//!
//! Each child has a waker of its own, which puts the child's index into a queue and wakes the task.
//! So one wake costs one poll, for any number of children. Wakers are used on any thread, so the
//! queue is behind a lock.
//!
//! ```text
//!            wake, 1st                 poll_woken                 ready
//!   idle ───────────────▶ in the queue ───────────▶ being polled ───────▶ ended, dropped
//!    ▲                                                │
//!    └───────────────────── pending ──────────────────┘
//! ```
//!
//! **Budget.** A poll takes the children that were in the queue when it began, and stops when the
//! budget is spent. The others keep their places in the queue for the next poll. So a child that
//! uses up the budget delays the others, and does not starve them.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::primitives::{Mutex, MutexGuard};
use crate::task::coop;

/// Futures whose outputs are taken in the order in which they are ready.
pub(super) struct Children<F> {
    /// By index, until they have ended.
    children: Vec<Option<Child<F>>>,
    running_count: usize,
    wakes: Arc<Wakes>,
}

struct Child<F> {
    future: Pin<Box<F>>,
    waker: Waker,
}

impl<F: Future> Children<F> {
    /// Children that are all polled in the first poll, in their order.
    pub(super) fn new(futures: impl IntoIterator<Item = F>) -> Children<F> {
        let wakes = Arc::new(Wakes::default());
        let child = |(index, future)| {
            let waker = Waker::from(Arc::new(ChildWaker { wakes: Arc::clone(&wakes), index }));
            Some(Child { future: Box::pin(future), waker })
        };
        let children: Vec<_> = futures.into_iter().enumerate().map(child).collect();
        let running_count = children.len();
        let mut queue = wakes.lock();
        queue.woken = (0..running_count).collect();
        queue.is_woken = vec![true; running_count];
        drop(queue);
        Children { children, running_count, wakes }
    }

    /// The number of children that have not ended.
    pub(super) fn running_count(&self) -> usize {
        self.running_count
    }

    /// Drops all children.
    pub(super) fn clear(&mut self) {
        self.running_count = 0;
        self.children.clear();
    }

    /// Polls the children that were woken, and passes each output to `take` with the index of its
    /// child, until that returns a result. Returns `None` when no child is left.
    pub(super) fn poll_woken<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(usize, F::Output) -> ControlFlow<T>,
    ) -> Poll<Option<T>> {
        self.wakes.wait(cx.waker()); // first: a later wake wakes the task
        let woken_count = self.wakes.lock().woken.len();
        for _ in 0..woken_count {
            if coop::left_for_combinators() == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(index) = self.wakes.take() else { break };
            // A waker may be used after its child has ended.
            let Some(Some(child)) = self.children.get_mut(index) else { continue };
            let mut child_cx = Context::from_waker(&child.waker);
            let Poll::Ready(output) = child.future.as_mut().poll(&mut child_cx) else { continue };
            self.children[index] = None;
            self.running_count -= 1;
            if let ControlFlow::Break(result) = take(index, output) {
                return Poll::Ready(Some(result));
            }
        }
        if self.running_count == 0 { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// Wakers of children may outlive them, and must not keep the task alive.
impl<F> Drop for Children<F> {
    fn drop(&mut self) {
        let parent = self.wakes.lock().parent.take();
        drop(parent); // user code: not under the lock
    }
}

/// What the wakers of all children share.
#[derive(Default)]
struct Wakes {
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
