//! [`Barrier`].

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::wait_list::{WaitList, WaiterId, wait_in};
use super::waking::wake_each;
use crate::task::coop;

/// A meeting point of a number of tasks.
///
/// This is tokio's `Barrier`: each task waits until all have come, one of them is the leader, and
/// then the barrier can be used again. It differs in one point: a wait that is dropped leaves, so
/// the barrier needs another task in its place. In tokio it counts as one that has come.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Barrier;
///
/// ringloop::run(async {
///     let barrier = Rc::new(Barrier::new(2));
///     let other = Rc::clone(&barrier);
///     let task = ringloop::spawn(async move { other.wait().await.is_leader() });
///     let is_leader = barrier.wait().await.is_leader();
///     assert_ne!(is_leader, task.await.unwrap());
/// });
/// ```
pub struct Barrier {
    tasks_count: usize,
    /// Waiters of this round. Those of former rounds were woken by `wake_all`.
    waiters: RefCell<WaitList>,
}

/// The result of [`Barrier::wait`].
///
/// ```
/// use ringloop::sync::Barrier;
///
/// ringloop::run(async {
///     assert!(Barrier::new(1).wait().await.is_leader());
/// });
/// ```
#[derive(Clone, Debug)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

/// The future of [`Barrier::wait`].
struct Wait<'a> {
    barrier: &'a Barrier,
    waiter_id: WaiterId,
}

impl Barrier {
    /// A barrier for `count` tasks. Zero counts as one, as in tokio.
    ///
    /// ```
    /// let barrier = ringloop::sync::Barrier::new(2);
    /// ```
    pub fn new(count: usize) -> Barrier {
        Barrier { tasks_count: count.max(1), waiters: RefCell::default() }
    }

    /// Waits until as many tasks wait as the barrier is for. The last one is the leader.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the round. If the round was complete before, it has no effect.
    ///
    /// ```
    /// use ringloop::sync::Barrier;
    ///
    /// ringloop::run(async {
    ///     Barrier::new(1).wait().await;
    /// });
    /// ```
    pub async fn wait(&self) -> BarrierWaitResult {
        let is_leader = Wait { barrier: self, waiter_id: WaiterId::default() }.await;
        BarrierWaitResult { is_leader }
    }

    /// Polls a wait. Returns whether it is that of the leader.
    fn poll_wait(&self, waiter_id: &mut WaiterId, cx: &Context<'_>) -> Poll<bool> {
        if self.waiters.borrow().was_in_wake_all(waiter_id) {
            return Poll::Ready(false);
        }
        wait_in(&self.waiters, |waiters| waiters, waiter_id, cx.waker());
        let (own, woken) = {
            let mut waiters = self.waiters.borrow_mut();
            if waiters.was_in_wake_all(waiter_id) {
                // The clone of the waker is user code, which has completed the round.
                let own = waiters.leave(waiter_id);
                drop(waiters);
                drop(own);
                return Poll::Ready(false);
            }
            if waiters.len() < self.tasks_count {
                return Poll::Pending;
            }
            (waiters.leave(waiter_id), waiters.wake_all())
        };
        wake_each(woken);
        drop(own);
        Poll::Ready(true)
    }
}

impl BarrierWaitResult {
    /// Whether this is the one task of the round that leads.
    ///
    /// ```
    /// use ringloop::sync::Barrier;
    ///
    /// ringloop::run(async {
    ///     assert!(Barrier::new(1).wait().await.is_leader());
    /// });
    /// ```
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}

impl Future for Wait<'_> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let Wait { barrier, waiter_id } = self.get_mut();
        coop::leaf_anywhere(cx, |cx| barrier.poll_wait(waiter_id, cx))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waker = self.barrier.waiters.borrow_mut().leave(&mut self.waiter_id);
        drop(waker);
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("tasks_count", &self.tasks_count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
