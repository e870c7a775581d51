//! The poll for the peer's end: a state machine without a reactor.
//!
//! One poll for the end of the connection (`Interest::HangUp`) on the socket's own descriptor,
//! armed by the first `closed()` and owned by the socket. The kernel reports the end however much
//! is unread before it, so nothing is received for it, and a full queue hides nothing. The end is
//! final, so it is remembered. An error is returned to one waiter; the next one polls again.
//!
//! ```text
//!        poll                  armed                     end: cancel
//!  Idle ──────▶ (submitting) ────────▶ InFlight { key } ─────────────▶ InFlight { no key }
//!   ▲                 │
//!   └── not submitted ┘
//!
//!   completion while InFlight          next state                       waiters
//!   the end                            Happened, for good               are woken
//!   an error                           Failed; Idle when it is polled   are woken
//!   interrupted or cancelled:
//!     a waiter is left, and no `end`   (submitting)                     wait on
//!     otherwise                        Idle                             are woken
//! ```
//!
//! The transitions are the methods of [`HangUp`]. [`Socket`](super::stream::Socket) performs what
//! they return once its borrow of this value has ended (`peer_end.rs`). Dropping a `closed()`
//! leaves the poll to the next one.
//!
//! **Invariant.** At most one poll is in flight, and one is while a task waits. It is cancelled at
//! most once and never armed again by its completion after `end`
//! (`tests::every_order_of_events_reports_the_end_to_each_waiter`).
//!
//! **Absent on purpose.** The reactor, and user code: wakers are returned, never woken, cloned or
//! dropped here.

use std::task::Waker;

use crate::driver::request::Key;
use crate::op::poll::Polled;
use crate::sync::wait_list::{WaitList, WaiterId, Woken};

#[derive(Default)]
pub(super) struct HangUp {
    state: HangUpState,
    /// The socket is closed or handed over: the poll is not armed again.
    is_over: bool,
    waiters: WaitList,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum HangUpState {
    #[default]
    Idle,
    /// Without a key the poll is being submitted, or has been cancelled.
    InFlight {
        key: Option<Key>,
    },
    Happened,
    /// The errno of the poll, which no waiter has returned yet.
    Failed(i32),
}

/// The result of polling a wait for the end.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HangUpPoll {
    Happened,
    /// The errno of the poll.
    Failed(i32),
    Wait {
        /// No poll is in flight: submit one and call `armed`. Wait only if that succeeds.
        must_arm: bool,
    },
}

/// What a completion of the poll leaves to do.
#[must_use]
#[derive(Default)]
pub(super) struct HangUpEffects {
    pub(super) woken: Woken,
    /// Submit the poll again and call `armed`. If that fails, call `wake_all`.
    pub(super) must_arm: bool,
}

impl HangUp {
    // ---- waiters ---------------------------------------------------------------------------

    pub(super) fn poll(&mut self) -> HangUpPoll {
        match self.state {
            HangUpState::Happened => HangUpPoll::Happened,
            HangUpState::Failed(code) => {
                self.state = HangUpState::Idle;
                HangUpPoll::Failed(code)
            }
            HangUpState::Idle => {
                self.arm();
                HangUpPoll::Wait { must_arm: true }
            }
            // Shared, or its completion arms again.
            HangUpState::InFlight { .. } => HangUpPoll::Wait { must_arm: false },
        }
    }

    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.state, HangUpState::InFlight { .. })
    }

    /// The list on which a wait waits after [`HangUpPoll::Wait`], or while the poll is in flight.
    pub(super) fn waiters(&mut self) -> &mut WaitList {
        &mut self.waiters
    }

    /// A wait has returned or was dropped. A result is for all waiters, so none is passed on.
    #[must_use = "dropping it is user code"]
    pub(super) fn leave(&mut self, waiter_id: &mut WaiterId) -> Option<Waker> {
        self.waiters.leave(waiter_id)
    }

    // ---- the poll --------------------------------------------------------------------------

    /// The poll has been submitted, or could not be: the loop is closing or broken.
    pub(super) fn armed(&mut self, key: Option<Key>) {
        assert_eq!(self.state, HangUpState::InFlight { key: None }, "no poll was to be armed");
        self.state = match key {
            Some(_) => HangUpState::InFlight { key },
            None => HangUpState::Idle,
        };
    }

    /// The poll has completed.
    pub(super) fn completed(&mut self, polled: Polled) -> HangUpEffects {
        assert!(self.is_in_flight(), "a completion without a poll");
        self.state = match polled {
            Polled::Ready => HangUpState::Happened,
            Polled::Failed(code) => HangUpState::Failed(code),
            Polled::Nothing | Polled::SpuriousEvents => HangUpState::Idle,
        };
        if self.state == HangUpState::Idle && self.waiters.is_waiting() && !self.is_over {
            self.arm();
            return HangUpEffects { must_arm: true, ..HangUpEffects::default() };
        }
        HangUpEffects { woken: self.wake_all(), must_arm: false }
    }

    /// Ends the poll for good. Returns the poll to cancel. Idempotent.
    #[must_use]
    pub(super) fn end(&mut self) -> Option<Key> {
        self.is_over = true;
        match &mut self.state {
            HangUpState::InFlight { key } => key.take(),
            HangUpState::Idle | HangUpState::Happened | HangUpState::Failed(_) => None,
        }
    }

    /// Wakes every waiter, to find the end or an error by its next poll.
    pub(super) fn wake_all(&mut self) -> Woken {
        self.waiters.wake_all()
    }

    fn arm(&mut self) {
        self.state = HangUpState::InFlight { key: None };
    }
}

#[cfg(test)]
mod tests;
