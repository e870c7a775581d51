//! The state machine of one direction of a watched descriptor.
//!
//! One poll in the kernel, armed when a task waits, and the waiters. A result is for all of them
//! and is not kept: the next wait polls again. So dropping a wait loses nothing. The poll that it
//! has armed stays, and the next waiter shares it.
//!
//! **Invariant.** At most one poll is in flight, and one is while a task waits
//! (`tests::every_order_of_events_answers_each_waiter`).
//!
//! **Absent on purpose.** The reactor, and user code. A transition changes this value only; what is
//! to be done is returned as [`PollEffects`], and the owner ([`Watch`](super::watch::Watch))
//! performs it when its borrow has ended.

use std::task::Waker;

use crate::op::poll::Polled;
use crate::sync::wait_list::{WaitList, WaiterId, Woken};

#[derive(Default)]
pub(super) struct PollSide {
    state: PollState,
    waiters: WaitList,
    /// Results so far. A waiter waits for the next one.
    results_count: u64,
    /// The errno of the last result, if it was an error.
    failure: Option<i32>,
    is_closed: bool,
}

/// The poll in the kernel.
///
/// ```text
///          a task waits                       ready, failed
///  Idle ─────────────────▶ InFlight, once ──────────────────────▶ Idle, all waiters are woken
///                              │ spurious events
///                              ▼                       ready               ended
///                          InFlight, for changes ──────────▶ Cancelling ──────────▶ Idle
///                              │    ▲
///                              └────┘ spurious events
/// ```
///
/// For spurious events, and the poll for changes that follows them, see `op::poll`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum PollState {
    #[default]
    Idle,
    InFlight,
    /// In flight, and its cancel was requested.
    Cancelling,
}

/// One wait.
#[derive(Default)]
pub(super) struct PollWaiter {
    pub(super) waiter_id: WaiterId,
    /// The number of results when it began to wait.
    results_before: Option<u64>,
}

/// The result of polling a wait.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum WaitPoll {
    Ready,
    /// An errno.
    Failed(i32),
    /// The owner performs the effect, if there is one, and then makes the waiter wait.
    Pending(Option<Start>),
}

/// What a transition leaves to the owner, in this order.
#[derive(Default)]
#[must_use = "the owner performs these once its borrow has ended"]
pub(super) struct PollEffects {
    pub(super) woken: Woken,
    pub(super) cancel: bool,
    pub(super) start: Option<Start>,
}

/// A poll to submit. If it cannot be, the owner calls [`PollSide::start_failed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    Once,
    Changes,
}

impl PollSide {
    pub(super) fn poll(&mut self, waiter: &mut PollWaiter) -> WaitPoll {
        if waiter.results_before.is_some_and(|before| before != self.results_count) {
            return self.failure.map_or(WaitPoll::Ready, WaitPoll::Failed);
        }
        waiter.results_before = Some(self.results_count);
        WaitPoll::Pending(self.arm(Start::Once))
    }

    /// The list on which a wait waits after [`WaitPoll::Pending`].
    pub(super) fn waiters(&mut self) -> &mut WaitList {
        &mut self.waiters
    }

    /// A wait has returned or was dropped. A result is for all waiters, so none is passed on.
    #[must_use = "dropping it is user code"]
    pub(super) fn leave(&mut self, waiter: &mut PollWaiter) -> Option<Waker> {
        self.waiters.leave(&mut waiter.waiter_id)
    }

    /// A completion of the poll. `more` is false if it was the last one.
    pub(super) fn completed(&mut self, polled: Polled, more: bool) -> PollEffects {
        if !more {
            self.state = PollState::Idle;
        }
        let mut effects = PollEffects::default();
        let mut next = Start::Once;
        match polled {
            Polled::Ready => self.result(None, &mut effects),
            Polled::Failed(code) => self.result(Some(code), &mut effects),
            Polled::SpuriousEvents => next = Start::Changes,
            Polled::Nothing => {}
        }
        if self.waiters.is_waiting() && !self.is_closed {
            effects.start = self.arm(next);
        }
        effects
    }

    /// No task will wait again. The waiter of a leaked future may still be on the list.
    pub(super) fn close(&mut self) -> PollEffects {
        self.is_closed = true;
        let mut effects = PollEffects::default();
        self.cancel(&mut effects);
        effects
    }

    /// A [`Start`] has failed, because the loop is closing or broken.
    pub(super) fn start_failed(&mut self) {
        self.state = PollState::Idle;
    }

    /// Wakes every waiter, to find an error by its next poll.
    pub(super) fn wake_all(&mut self) -> Woken {
        self.waiters.wake_all()
    }

    fn arm(&mut self, start: Start) -> Option<Start> {
        match self.state {
            PollState::Idle => {
                self.state = PollState::InFlight;
                Some(start)
            }
            // Shared, or its final completion arms again.
            PollState::InFlight | PollState::Cancelling => None,
        }
    }

    /// Gives a result to all waiters, and ends a poll that would go on.
    fn result(&mut self, failure: Option<i32>, effects: &mut PollEffects) {
        self.results_count += 1;
        self.failure = failure;
        self.cancel(effects);
        effects.woken = self.waiters.wake_all();
    }

    fn cancel(&mut self, effects: &mut PollEffects) {
        if self.state == PollState::InFlight {
            self.state = PollState::Cancelling;
            effects.cancel = true;
        }
    }
}

#[cfg(test)]
mod tests;
