//! The state machine of a listener.
//!
//! One multishot accept, armed by the first `accept()` and owned by the listener, and a queue of
//! connections. Dropping an `accept()` loses no connection: the next one finds it in the queue.
//!
//! - **Backpressure.** The kernel accepts as long as the accept is armed (H52). When the queue is
//!   full the accept is cancelled, and armed again when the queue is empty and an `accept()` waits,
//!   so further peers wait in the listen backlog.
//! - **Limit on open connections.** With `Overflow::LeaveInBacklog` the limit is exact: each
//!   accept takes one connection, and none is in flight while the limit is reached.
//! - **The first poll takes the connection.** A queued connection belongs to the `accept()` that is
//!   polled first, even if another one was woken for it: that one may be alive and never be polled
//!   again. For the same reason a connection that is still queued when the tasks have run wakes the
//!   next waiter, turn by turn.
//! - **Errors** are returned to the accepts that wait, or else to the next one, once. The next
//!   accept arms again.
//! - **Shortage** of descriptors or memory (H50). Each retry would fail at once, so accepting backs
//!   off with one timer, and reports the shortage once until it is over.
//!
//! **Invariant.** At most one accept is in flight, or one timer is set, never both. While a
//! connection is queued and a waiter has not been woken, `is_prepare_due` is set
//! (`tests::every_order_of_events_keeps_the_invariants`).
//!
//! **Absent on purpose.** The reactor, and user code. A transition changes this value only; what is
//! to be done is returned as [`AcceptEffects`], and the owner
//! ([`ListenerSocket`](super::listener::ListenerSocket)) performs it when its borrow has ended. No
//! connection is dropped here: closing one calls the listener back.

use std::collections::VecDeque;
use std::task::Waker;

use super::admission::Limit;
use crate::sync::wait_list::{WaitList, WaiterId, Woken};

/// The accepting side of a listening socket. `C` is a connection.
pub(super) struct AcceptSide<C> {
    state: AcceptState,
    queue: VecDeque<C>,
    /// The queue length at which the accept is cancelled.
    queue_max: usize,
    limit: Option<Limit>,
    failure: Failure,
    waiters: WaitList,
    is_closed: bool,
    /// The socket is being given away: nothing is armed again.
    is_released: bool,
    /// Waits until nothing is in flight, once `is_released`.
    releaser: Option<Waker>,
    /// A shortage has been reported and is not over.
    is_short: bool,
    /// `prepared` will be called before the loop sleeps.
    is_prepare_due: bool,
}

/// What is pending for the listener.
///
/// ```text
///          accept()                      final completion
///  Idle ─────────────▶ InFlight ───────────────────────────────────▶ Idle
///   ▲ │                  │ queue full, closed                           │ out of descriptors
///   │ │ limit reached    ▼                                              ▼ or memory
///   │ ▼              Cancelling ── final completion ──▶ Idle        BackingOff
///  Full                                                                 │
///   a connection was closed                     one timer, 100 ms ──────┴──▶ Idle
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum AcceptState {
    Idle,
    InFlight,
    /// In flight, and its cancel was requested.
    Cancelling,
    /// A timer will arm again.
    BackingOff,
    /// The limit is reached. A timer is set that never fires, but is ended with the loop.
    Full,
}

/// The last error.
#[derive(Clone, Copy, Default, Debug)]
struct Failure {
    /// Errors so far. An accept that waits returns the next one.
    count: u64,
    code: i32,
    /// No accept has returned it yet.
    is_pending: bool,
}

/// One `accept()`: its place among the others, and what it has to return.
#[derive(Default)]
pub(super) struct AcceptWaiter {
    pub(super) waiter_id: WaiterId,
    /// The number of errors when it began to wait.
    failures_before: Option<u64>,
}

/// The result of one completion.
pub(super) enum Arrival<C> {
    Connection(C),
    /// An attempt that failed and may be repeated at once.
    Nothing,
    /// Descriptors or memory have run out; an errno.
    Exhausted(i32),
    /// The socket cannot accept; an errno.
    Failed(i32),
}

/// The result of polling an `accept()`.
#[must_use]
pub(super) enum AcceptPoll<C> {
    Connection(C),
    /// An errno.
    Failed(i32),
    /// The owner performs the effect, if there is one, and then makes the waiter wait.
    Pending(Option<Start>),
}

/// What a transition leaves to the owner, in this order.
#[must_use = "the owner performs these once its borrow has ended"]
pub(super) struct AcceptEffects<C> {
    /// Report a shortage with this errno.
    pub(super) report: Option<i32>,
    pub(super) refused: Option<Refused<C>>,
    /// Wake these accepts, and who waits for the release.
    pub(super) woken: Woken,
    pub(super) releaser: Option<Waker>,
    pub(super) stop: Option<Stop>,
    pub(super) start: Option<Start>,
    /// Call `prepared` before the loop sleeps.
    pub(super) prepare: bool,
}

/// What ends without a completion of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    CancelAccept,
    RemoveTimer,
}

/// What begins. If it cannot, the owner calls [`AcceptSide::start_failed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// Accept until cancelled.
    Accept,
    /// Accept one connection.
    AcceptOne,
    /// Set a timer that never fires.
    WaitForRoom,
    /// Set a timer for the end of the pause.
    BackOff,
}

/// A connection that is not queued.
pub(super) enum Refused<C> {
    /// The listener is closed.
    Close(C),
    /// The limit is exceeded.
    Reset(C),
}

impl<C> Default for AcceptEffects<C> {
    fn default() -> AcceptEffects<C> {
        AcceptEffects {
            report: None,
            refused: None,
            woken: Woken::default(),
            releaser: None,
            stop: None,
            start: None,
            prepare: false,
        }
    }
}

impl<C> AcceptSide<C> {
    pub(super) fn new(queue_max: usize, limit: Option<Limit>) -> AcceptSide<C> {
        AcceptSide {
            state: AcceptState::Idle,
            queue: VecDeque::new(),
            queue_max,
            limit,
            failure: Failure::default(),
            waiters: WaitList::default(),
            is_closed: false,
            is_released: false,
            releaser: None,
            is_short: false,
            is_prepare_due: false,
        }
    }

    // ---- one accept() ----------------------------------------------------------------------

    pub(super) fn poll(&mut self, waiter: &mut AcceptWaiter) -> AcceptPoll<C> {
        if let Some(connection) = self.queue.pop_front() {
            return AcceptPoll::Connection(connection);
        }
        if let Some(code) = self.take_failure(waiter) {
            return AcceptPoll::Failed(code);
        }
        waiter.failures_before = Some(self.failure.count);
        AcceptPoll::Pending(self.arm())
    }

    /// The list on which an accept waits after [`AcceptPoll::Pending`].
    pub(super) fn waiters(&mut self) -> &mut WaitList {
        &mut self.waiters
    }

    /// An `accept()` has returned or was dropped. If it was woken in vain, `prepared` wakes
    /// another.
    #[must_use = "dropping it is user code"]
    pub(super) fn leave(&mut self, waiter: &mut AcceptWaiter) -> Option<Waker> {
        waiter.failures_before = None;
        self.waiters.leave(&mut waiter.waiter_id)
    }

    /// The error that an accept has to return, if there is one.
    fn take_failure(&mut self, waiter: &AcceptWaiter) -> Option<i32> {
        let failure = &mut self.failure;
        let has_failed = waiter.failures_before.is_some_and(|before| before != failure.count);
        if !failure.is_pending && !has_failed {
            return None;
        }
        failure.is_pending = false;
        Some(failure.code)
    }

    // ---- completions, timers, turns --------------------------------------------------------

    /// A completion of the accept. `more` is false if it was the last one.
    pub(super) fn completed(&mut self, arrival: Arrival<C>, more: bool) -> AcceptEffects<C> {
        if !more {
            self.state = AcceptState::Idle;
        }
        let mut effects = AcceptEffects::default();
        match arrival {
            Arrival::Connection(connection) => self.connection(connection, &mut effects),
            Arrival::Nothing => {}
            Arrival::Exhausted(code) => self.exhausted(code, &mut effects),
            Arrival::Failed(code) => {
                let count = self.failure.count + 1;
                self.failure = Failure { count, code, is_pending: true };
                effects.woken = self.waiters.wake_all();
            }
        }
        if effects.start.is_none() {
            effects.start = self.arm_if_wanted();
        }
        if self.is_released {
            effects.releaser = self.releaser.take();
        }
        effects
    }

    /// The timer has fired, or the loop has ended.
    pub(super) fn expired(&mut self) -> AcceptEffects<C> {
        self.state = AcceptState::Idle;
        AcceptEffects { start: self.arm_if_wanted(), ..AcceptEffects::default() }
    }

    /// The tasks of this turn have run.
    pub(super) fn prepared(&mut self) -> AcceptEffects<C> {
        self.is_prepare_due = false;
        let mut effects = AcceptEffects::default();
        if !self.queue.is_empty() {
            self.wake_next(&mut effects);
        }
        if self.state == AcceptState::Full {
            self.state = AcceptState::Idle;
            effects.stop = Some(Stop::RemoveTimer);
        }
        effects.start = self.arm_if_wanted();
        effects
    }

    /// A connection that counts for the limit has been closed.
    pub(super) fn connection_closed(&mut self) -> AcceptEffects<C> {
        let mut effects = AcceptEffects::default();
        self.limit.as_mut().expect("it was counted").remove();
        if self.state == AcceptState::Full {
            self.prepare_later(&mut effects);
        }
        effects
    }

    /// A [`Start`] has failed, because the loop is closing or broken.
    pub(super) fn start_failed(&mut self) {
        self.state = AcceptState::Idle;
    }

    /// Wakes every accept, to find an error by its next poll.
    pub(super) fn wake_all(&mut self) -> Woken {
        self.waiters.wake_all()
    }

    // ---- the end ---------------------------------------------------------------------------

    /// No `accept()` will follow. Returns the queue, for the owner to close.
    #[must_use = "the owner closes these once its borrow has ended"]
    pub(super) fn close(&mut self) -> VecDeque<C> {
        self.is_closed = true;
        std::mem::take(&mut self.queue)
    }

    /// From now on nothing is armed again, and what still arrives is queued.
    pub(super) fn release(&mut self) {
        self.is_released = true;
    }

    /// Replaces the waker that is woken by the next completion.
    #[must_use = "dropping it is user code"]
    pub(super) fn wait_for_release(&mut self, waker: Waker) -> Option<Waker> {
        self.releaser.replace(waker)
    }

    /// Takes the queue and the waker out of a side that was released.
    #[must_use = "dropping these is user code"]
    pub(super) fn take_rest(&mut self) -> (VecDeque<C>, Option<Waker>) {
        (std::mem::take(&mut self.queue), self.releaser.take())
    }

    /// Ends the accept or the timer.
    pub(super) fn disarm(&mut self) -> AcceptEffects<C> {
        let stop = match self.state {
            AcceptState::InFlight => {
                self.state = AcceptState::Cancelling;
                Some(Stop::CancelAccept)
            }
            AcceptState::BackingOff | AcceptState::Full => {
                self.state = AcceptState::Idle;
                Some(Stop::RemoveTimer)
            }
            AcceptState::Idle | AcceptState::Cancelling => None,
        };
        AcceptEffects { stop, ..AcceptEffects::default() }
    }

    /// Whether nothing is in flight and no timer is set.
    pub(super) fn is_idle(&self) -> bool {
        self.state == AcceptState::Idle
    }

    /// Whether a cancelled accept is still in flight.
    pub(super) fn is_cancelling(&self) -> bool {
        self.state == AcceptState::Cancelling
    }

    // ---- steps of the transitions ----------------------------------------------------------

    fn arm(&mut self) -> Option<Start> {
        match self.state {
            AcceptState::Idle => {}
            // Its final completion, its timer or a closed connection arms again.
            AcceptState::InFlight
            | AcceptState::Cancelling
            | AcceptState::BackingOff
            | AcceptState::Full => return None,
        }
        let (state, start) = match &self.limit {
            Some(limit) if limit.is_reached() => (AcceptState::Full, Start::WaitForRoom),
            Some(limit) if limit.is_exact() => (AcceptState::InFlight, Start::AcceptOne),
            _ => (AcceptState::InFlight, Start::Accept),
        };
        self.state = state;
        Some(start)
    }

    /// Arms again for the accepts that wait.
    fn arm_if_wanted(&mut self) -> Option<Start> {
        let is_over = self.is_closed || self.is_released;
        // With a full queue the waiters have enough to take, and the one that empties it arms.
        let is_full = self.queue.len() >= self.queue_max;
        let is_wanted = self.waiters.is_waiting() && !is_over && !is_full;
        if is_wanted { self.arm() } else { None }
    }

    fn connection(&mut self, connection: C, effects: &mut AcceptEffects<C>) {
        self.is_short = false;
        let is_within_limit = self.limit.as_mut().is_none_or(Limit::add);
        if self.is_closed {
            effects.refused = Some(Refused::Close(connection));
            return;
        }
        if !is_within_limit {
            effects.refused = Some(Refused::Reset(connection));
            return;
        }
        self.queue.push_back(connection);
        self.wake_next(effects);
        if self.state == AcceptState::InFlight && self.queue.len() >= self.queue_max {
            self.state = AcceptState::Cancelling;
            effects.stop = Some(Stop::CancelAccept);
        }
    }

    fn exhausted(&mut self, code: i32, effects: &mut AcceptEffects<C>) {
        if self.is_closed || self.is_released {
            return; // no retry
        }
        if !std::mem::replace(&mut self.is_short, true) {
            effects.report = Some(code);
        }
        // An error is always the last completion.
        if self.state == AcceptState::Idle {
            self.state = AcceptState::BackingOff;
            effects.start = Some(Start::BackOff);
        }
    }

    /// Wakes the first waiter for what is queued. If it is still queued when the tasks have run,
    /// `prepared` wakes the next one.
    fn wake_next(&mut self, effects: &mut AcceptEffects<C>) {
        effects.woken = self.waiters.wake_first();
        if self.waiters.is_waiting() {
            self.prepare_later(effects);
        }
    }

    fn prepare_later(&mut self, effects: &mut AcceptEffects<C>) {
        effects.prepare = !std::mem::replace(&mut self.is_prepare_due, true);
    }
}

#[cfg(test)]
mod tests;
