//! The state machine of the connects that wait for room in the backlog of one listener.
//!
//! ```text
//!  absent ── EAGAIN ──▶ waiting ── its turn ──▶ connect(2) ── done ──▶ the next one's turn
//!                          ▲                      │ EAGAIN
//!                          └─────── a pause ──────┘
//! ```
//!
//! The pause doubles while no connect succeeds, from [`PAUSE_MIN_NS`] to [`PAUSE_MAX_NS`], and is
//! short again after a success. So a queue moves about as fast as the listener accepts, and costs
//! one system call per pause whatever its length. Its order is not strict: several of its connects
//! may be awake at once.
//!
//! **Invariant.** While a connect waits and has not been woken, the timer is set. So a connect that
//! was woken and is not polled, or was dropped, delays the others by one pause
//! (`tests::every_order_of_events_moves_the_queue`).
//!
//! **Absent on purpose.** The reactor, sockets, and user code. The owner performs the effects when
//! its borrow has ended.

use std::task::Waker;

use crate::sync::wait_list::{WaitList, WaiterId, Woken};

/// The pauses of a queue whose first connect meets a full backlog.
const PAUSE_MIN_NS: u64 = 50_000;
const PAUSE_MAX_NS: u64 = 16_000_000;

pub(super) struct ConnectQueue {
    waiters: WaitList,
    /// Connects that wait or were woken.
    members_count: usize,
    is_timer_set: bool,
    pause_ns: u64,
}

/// What a transition leaves to the owner.
#[derive(Default)]
#[must_use = "the owner performs these once its borrow has ended"]
pub(super) struct QueueEffects {
    pub(super) woken: Woken,
    /// Set the timer to this time from now.
    pub(super) set_timer_ns: Option<u64>,
}

/// What is left to the owner when a connect leaves.
#[must_use = "the owner performs these once its borrow has ended"]
pub(super) struct LeaveEffects {
    /// Dropping it is user code.
    pub(super) waker: Option<Waker>,
    /// The last connect has left: remove the queue.
    pub(super) is_empty: bool,
    pub(super) remove_timer: bool,
}

impl Default for ConnectQueue {
    fn default() -> ConnectQueue {
        ConnectQueue {
            waiters: WaitList::default(),
            members_count: 0,
            is_timer_set: false,
            pause_ns: PAUSE_MIN_NS,
        }
    }
}

impl ConnectQueue {
    /// A connect is about to wait for the first time.
    pub(super) fn join(&mut self) {
        self.members_count += 1;
    }

    /// Whether a member may call `connect(2)`: it was woken, and none before it is still to be.
    pub(super) fn is_turn(&self, waiter_id: &WaiterId) -> bool {
        self.waiters.is_first_awake(waiter_id)
    }

    /// The list on which a member waits. The owner calls `waits` after that.
    pub(super) fn waiters(&mut self) -> &mut WaitList {
        &mut self.waiters
    }

    /// A member has begun to wait.
    pub(super) fn waits(&mut self) -> QueueEffects {
        QueueEffects { woken: Woken::default(), set_timer_ns: self.set_timer() }
    }

    /// A member has connected, or has failed for good. The timer wakes the one after the next,
    /// should the next not be polled.
    pub(super) fn succeeded(&mut self) -> QueueEffects {
        self.pause_ns = PAUSE_MIN_NS;
        self.wake_next()
    }

    /// The timer has fired. If the loop has ended (`!is_accepting`), every connect finds that out.
    pub(super) fn expired(&mut self, is_accepting: bool) -> QueueEffects {
        self.is_timer_set = false;
        if is_accepting {
            return self.wake_next();
        }
        QueueEffects { woken: self.waiters.wake_all(), set_timer_ns: None }
    }

    /// A member has returned or was dropped.
    pub(super) fn leave(&mut self, waiter_id: &mut WaiterId) -> LeaveEffects {
        self.members_count -= 1;
        let is_empty = self.members_count == 0;
        let remove_timer = is_empty && std::mem::take(&mut self.is_timer_set);
        LeaveEffects { waker: self.waiters.leave(waiter_id), is_empty, remove_timer }
    }

    fn wake_next(&mut self) -> QueueEffects {
        let woken = self.waiters.wake_first();
        let set_timer_ns = if self.waiters.is_waiting() { self.set_timer() } else { None };
        QueueEffects { woken, set_timer_ns }
    }

    /// Returns the time to set the timer to, unless it is set.
    fn set_timer(&mut self) -> Option<u64> {
        if std::mem::replace(&mut self.is_timer_set, true) {
            return None;
        }
        let pause_ns = self.pause_ns;
        self.pause_ns = PAUSE_MAX_NS.min(2 * pause_ns);
        Some(pause_ns)
    }
}

#[cfg(test)]
mod tests;
