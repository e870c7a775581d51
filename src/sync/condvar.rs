//! [`Condvar`].

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::gate::Gate;
use super::mutex::MutexGuard;
use super::wait_list::WaiterId;
use crate::task::coop;

/// Notifications are for tasks that wait. None is stored for later.
const SPARE: usize = 0;

/// Waits for a change of the value behind a [`Mutex`](super::Mutex).
///
/// This is asyncio's `Condition` with the names of the standard library's `Condvar`. A wait unlocks
/// the mutex and locks it again before it returns. Waiters are notified in their order. A
/// notification whose waiter is dropped, or is alive and not polled, reaches the next waiter.
///
/// A wait may return without a notification, so a task checks its condition again, or uses
/// [`wait_while`](Condvar::wait_while).
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::{Condvar, Mutex};
///
/// ringloop::run(async {
///     let shared = Rc::new((Mutex::new(0), Condvar::new()));
///     let other = Rc::clone(&shared);
///     let task = ringloop::spawn(async move {
///         let (mutex, changed) = &*other;
///         let count = changed.wait_while(mutex.lock().await, |count| *count < 2).await;
///         *count
///     });
///     for _ in 0..2 {
///         *shared.0.lock().await += 1;
///         shared.1.notify_one();
///     }
///     assert_eq!(task.await.unwrap(), 2);
/// });
/// ```
pub struct Condvar {
    gate: Rc<Gate>,
}

/// A wait for a notification, until the mutex is locked again.
struct Notification<'a> {
    condvar: &'a Condvar,
    waiter_id: WaiterId,
    phase: Phase,
}

/// What a wait is waiting for:
///
/// ```text
///  Waiting ── a notification ──▶ Locking ── the mutex is locked ──▶ Done
///     │                             │
///     └── dropped ──▶ leaves        └── dropped ──▶ the notification is passed on
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Locking,
    Done,
}

impl Condvar {
    /// A condition variable without waiters.
    ///
    /// ```
    /// ringloop::sync::Condvar::new().notify_all();
    /// ```
    pub fn new() -> Condvar {
        Condvar { gate: Gate::of_notifications(SPARE) }
    }

    /// Unlocks the mutex, waits for a notification, and locks the mutex again.
    ///
    /// The task is a waiter before the mutex is unlocked, so a notification by the next task that
    /// locks it is not lost.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses its place in the queue, and the guard: the mutex is not locked again.
    /// If it was notified, the next waiter is.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::{Condvar, Mutex};
    ///
    /// ringloop::run(async {
    ///     let shared = Rc::new((Mutex::new(false), Condvar::new()));
    ///     let other = Rc::clone(&shared);
    ///     let task = ringloop::spawn(async move {
    ///         let (mutex, changed) = &*other;
    ///         let mut is_done = mutex.lock().await;
    ///         while !*is_done {
    ///             is_done = changed.wait(is_done).await;
    ///         }
    ///     });
    ///     *shared.0.lock().await = true;
    ///     shared.1.notify_one();
    ///     task.await.unwrap();
    /// });
    /// ```
    pub async fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex = MutexGuard::mutex(&guard);
        let mut notification = Notification::new(self);
        drop(guard);
        (&mut notification).await;
        let guard = mutex.lock().await;
        notification.phase = Phase::Done;
        guard
    }

    /// Waits while `condition` is true. It is checked first, and after each notification. This is
    /// asyncio's `wait_for`, whose predicate is the opposite.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// use ringloop::sync::{Condvar, Mutex};
    ///
    /// ringloop::run(async {
    ///     let (mutex, changed) = (Mutex::new(1), Condvar::new());
    ///     let guard = changed.wait_while(mutex.lock().await, |value| *value == 0).await;
    ///     assert_eq!(*guard, 1);
    /// });
    /// ```
    pub async fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let mut guard = coop::ready(guard).await;
        while condition(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Notifies the first waiter. Without one, it has no effect.
    ///
    /// ```
    /// ringloop::sync::Condvar::new().notify_one();
    /// ```
    pub fn notify_one(&self) {
        self.gate.notify();
    }

    /// Notifies all waiters.
    ///
    /// ```
    /// ringloop::sync::Condvar::new().notify_all();
    /// ```
    pub fn notify_all(&self) {
        self.gate.dismiss_all();
    }
}

impl<'a> Notification<'a> {
    /// A waiter, without a waker until its first poll.
    fn new(condvar: &'a Condvar) -> Notification<'a> {
        let mut waiter_id = WaiterId::default();
        let outcome = condvar.gate.poll_notified(|| false, &mut waiter_id, Waker::noop());
        let phase = if outcome.is_ready() { Phase::Locking } else { Phase::Waiting };
        Notification { condvar, waiter_id, phase }
    }

    fn poll_phase(&mut self, waker: &Waker) -> Poll<()> {
        let gate = &self.condvar.gate;
        if self.phase == Phase::Waiting
            && gate.poll_notified(|| false, &mut self.waiter_id, waker).is_ready()
        {
            self.phase = Phase::Locking;
        }
        if self.phase == Phase::Waiting { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Future for &mut Notification<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notification = self.get_mut();
        coop::leaf_anywhere(cx, |cx| notification.poll_phase(cx.waker()))
    }
}

impl Drop for Notification<'_> {
    fn drop(&mut self) {
        match self.phase {
            Phase::Waiting => self.condvar.gate.leave(&mut self.waiter_id),
            Phase::Locking => self.condvar.notify_one(),
            Phase::Done => {}
        }
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
