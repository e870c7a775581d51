//! The owner of a [`Permits`]: it clones, wakes and drops wakers, and queues the recheck.
//!
//! **Invariant.** No code of the program runs while the permits are borrowed. A waker may call back
//! into the primitive that wakes, clones or drops it; so each step reads the state anew.
//!
//! **Without a loop.** A thread that runs no ringloop runtime has no ready queue for the recheck.
//! There, waiters are passed over as soon as they were woken, so a release wakes all waiters while
//! a permit is free. That is correct, and slower.

use std::cell::{Cell, RefCell};
use std::iter;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::permits::{Permits, Polled, Refusal};
use super::wait_list::{WaiterId, Woken};
use super::waking::wake_each;
use crate::task::coop;
use crate::task::queue::{Recheck, push_recheck};

/// Permits that tasks of one loop wait for.
pub(super) struct Gate {
    permits: RefCell<Permits>,
    /// The number of the loop on whose ready queue the recheck is, or 0. An entry on the queue of
    /// another loop, which does not run now, does not count.
    recheck_on: Cell<u64>,
}

/// Permits that were taken. Dropping them releases them.
#[must_use = "dropping the permits releases them"]
pub(super) struct Held {
    gate: Rc<Gate>,
    count: usize,
}

/// The permits were closed.
#[derive(Debug)]
pub(super) struct Closed;

/// The future of [`Gate::acquire`].
#[must_use = "futures do nothing unless they are awaited"]
pub(super) struct Acquire {
    gate: Rc<Gate>,
    need: usize,
    waiter_id: WaiterId,
}

impl Gate {
    pub(super) fn new(count: usize) -> Rc<Gate> {
        Gate::with(Permits::new(count))
    }

    /// A gate for notifications, of which at most `spare` are stored without a waiter.
    pub(super) fn of_notifications(spare: usize) -> Rc<Gate> {
        Gate::with(Permits::of_notifications(spare))
    }

    fn with(permits: Permits) -> Rc<Gate> {
        Rc::new(Gate { permits: RefCell::new(permits), recheck_on: Cell::new(0) })
    }

    /// Waits for `need` permits and takes them.
    pub(super) fn acquire(self: &Rc<Self>, need: usize) -> Acquire {
        Acquire { gate: Rc::clone(self), need, waiter_id: WaiterId::default() }
    }

    /// Takes `need` permits, unless that would overtake a waiter.
    pub(super) fn attempt(self: &Rc<Self>, need: usize) -> Result<Held, Refusal> {
        let outcome = self.permits.borrow_mut().attempt(need);
        match outcome {
            Ok(()) => Ok(Held { gate: Rc::clone(self), count: need }),
            Err(refusal) => {
                self.settle();
                Err(refusal)
            }
        }
    }

    /// Adds permits, and wakes the waiters that they are for.
    #[track_caller]
    pub(super) fn release(self: &Rc<Self>, count: usize) {
        self.permits.borrow_mut().release(count);
        self.settle();
    }

    /// Removes up to `count` of the available permits. Returns how many were removed.
    pub(super) fn remove_available(&self, count: usize) -> usize {
        self.permits.borrow_mut().remove_available(count)
    }

    pub(super) fn available(&self) -> usize {
        self.permits.borrow().available()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.permits.borrow().is_closed()
    }

    /// Ends all waits, and refuses new ones.
    pub(super) fn close(&self) {
        wake_each(self.end_waits());
    }

    /// Like [`close`](Gate::close). The caller wakes the waiters, with others.
    pub(super) fn end_waits(&self) -> Woken<usize> {
        self.permits.borrow_mut().close()
    }

    /// Polls for `need` permits, or waits with a clone of `waker`.
    pub(super) fn poll_acquire(
        self: &Rc<Self>,
        need: usize,
        waiter_id: &mut WaiterId,
        waker: &Waker,
    ) -> Poll<Result<Held, Closed>> {
        let poll = |permits: &mut Permits, waiter_id: &mut WaiterId| permits.poll(waiter_id, need);
        match self.poll_or_wait(need, waiter_id, waker, poll) {
            Polled::Taken(former) => {
                let held = Held { gate: Rc::clone(self), count: need };
                drop(former); // if this panics, the permits are released
                Poll::Ready(Ok(held))
            }
            Polled::Closed(former) => {
                drop(former);
                Poll::Ready(Err(Closed))
            }
            Polled::Unavailable => Poll::Pending,
        }
    }

    /// Polls for a notification, or waits with a clone of `waker`. If `is_dismissed` returns true,
    /// the wait ends, also without one. It is asked again after the clone, which is user code.
    pub(super) fn poll_notified(
        self: &Rc<Self>,
        is_dismissed: impl Fn() -> bool,
        waiter_id: &mut WaiterId,
        waker: &Waker,
    ) -> Poll<()> {
        let poll = |permits: &mut Permits, waiter_id: &mut WaiterId| {
            permits.poll_notified(waiter_id, is_dismissed())
        };
        match self.poll_or_wait(1, waiter_id, waker, poll) {
            Polled::Taken(former) | Polled::Closed(former) => {
                self.settle(); // a waiter that took nothing is no longer before others
                drop(former);
                Poll::Ready(())
            }
            Polled::Unavailable => Poll::Pending,
        }
    }

    /// Adds a notification, and wakes the waiter that it is for.
    pub(super) fn notify(self: &Rc<Self>) {
        self.permits.borrow_mut().notify();
        self.settle();
    }

    /// Ends all waits without a notification.
    pub(super) fn dismiss_all(&self) {
        let woken = self.permits.borrow_mut().dismiss_all();
        wake_each(woken);
    }

    /// Whether a waiter is on the list, whatever its waker.
    pub(super) fn is_waiting(&self, waiter_id: &WaiterId) -> bool {
        self.permits.borrow().is_waiting(waiter_id)
    }

    /// Polls by `poll`, and waits with a clone of `waker` if nothing is available.
    fn poll_or_wait(
        self: &Rc<Self>,
        need: usize,
        waiter_id: &mut WaiterId,
        waker: &Waker,
        poll: impl Fn(&mut Permits, &mut WaiterId) -> Polled,
    ) -> Polled {
        let mut clone = None;
        loop {
            let mut permits = self.permits.borrow_mut();
            match poll(&mut permits, waiter_id) {
                Polled::Unavailable if permits.is_waiting_with(waiter_id, waker) => {
                    return Polled::Unavailable;
                }
                Polled::Unavailable => {}
                polled => return polled,
            }
            // Cloning may call back, so after it the state is read anew.
            let Some(clone) = clone.take() else {
                drop(permits);
                clone = Some(waker.clone());
                continue;
            };
            let former = permits.wait(waiter_id, need, clone);
            drop(permits);
            self.settle();
            drop(former);
            return Polled::Unavailable;
        }
    }

    /// Removes a waiter whose future is dropped. If it was woken, the next one is.
    pub(super) fn leave(self: &Rc<Self>, waiter_id: &mut WaiterId) {
        if waiter_id.number().is_some() {
            let waker = self.permits.borrow_mut().leave(waiter_id);
            self.settle();
            drop(waker);
        }
    }

    /// Wakes the waiters that permits are free for, and queues a recheck behind them.
    fn settle(self: &Rc<Self>) {
        wake_each(iter::from_fn(|| {
            loop {
                let next = self.permits.borrow_mut().next_to_wake();
                if next.is_some() || !self.queue_recheck() {
                    return next;
                }
            }
        }));
    }

    /// Queues a recheck if one is needed. Returns true if there is no queue, and the waiters that
    /// are awake were passed over instead.
    fn queue_recheck(self: &Rc<Self>) -> bool {
        if !self.permits.borrow().needs_recheck() {
            return false;
        }
        match push_recheck(self, self.recheck_on.get()) {
            Some(loop_number) => {
                self.recheck_on.set(loop_number);
                false
            }
            None => {
                self.permits.borrow_mut().pass_over_all();
                true
            }
        }
    }
}

#[cfg(test)]
impl Gate {
    pub(super) fn snapshot(&self, label: impl Fn(u64) -> u64) -> super::permits::Snapshot {
        self.permits.borrow().snapshot(label)
    }

    pub(super) fn newest_number(&self) -> Option<u64> {
        self.permits.borrow().newest_number()
    }

    pub(super) fn numbers(&self) -> super::tests::waits::Numbers {
        self.permits.borrow().numbers()
    }

    /// Whether the waiter was woken, and has neither been polled nor passed over since.
    pub(super) fn is_awake(&self, number: u64) -> bool {
        self.permits.borrow().is_awake(number)
    }
}

impl Recheck for Gate {
    fn recheck(self: Rc<Self>, loop_number: u64) {
        if self.recheck_on.get() == loop_number {
            self.recheck_on.set(0);
        }
        self.permits.borrow_mut().recheck();
        self.settle();
    }
}

impl Held {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Drops the permits without releasing them.
    pub(super) fn keep(mut self) {
        self.count = 0;
    }

    /// Splits off `count` permits, if there are as many.
    pub(super) fn split(&mut self, count: usize) -> Option<Held> {
        self.count = self.count.checked_sub(count)?;
        Some(Held { gate: Rc::clone(&self.gate), count })
    }

    /// Adds the permits of `other`, which are of the same gate.
    #[track_caller]
    pub(super) fn merge(&mut self, mut other: Held) {
        assert!(Rc::ptr_eq(&self.gate, &other.gate), "the permits are of two semaphores");
        self.count += std::mem::take(&mut other.count);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.count > 0 {
            self.gate.release(self.count);
        }
    }
}

impl Future for Acquire {
    type Output = Result<Held, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Acquire { gate, need, waiter_id } = self.get_mut();
        coop::leaf_anywhere(cx, |cx| gate.poll_acquire(*need, waiter_id, cx.waker()))
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        self.gate.leave(&mut self.waiter_id);
    }
}
