//! The timeout entry that carries the loop's deadline.
//!
//! It is armed when a deadline earlier than the armed one appears, and otherwise left alone: firing
//! too early costs one turn, removing one of ten thousand kernel timers costs up to 99 µs (H40).
//!
//! ```text
//!                          earlier deadline
//!                          ┌── update ──┐
//!          deadline        ▼            │
//!  Idle ─────────────▶ Armed(deadline, round) ──── its completion ───▶ Idle
//! ```
//!
//! The round is part of the entry's `user_data`. So the failed update of a timeout that had just
//! fired is not mistaken for one of the next timeout.

use super::entry::{Cqe, Entry, Ring};
use super::internal;
use super::queues::Queues;
use crate::sys::errno;

#[derive(Clone, Copy, Debug)]
pub(super) enum TimeoutEntry {
    Idle { next_round: u32 },
    Armed { round: u32, deadline_ns: u64 },
}

impl TimeoutEntry {
    pub(super) fn new() -> TimeoutEntry {
        TimeoutEntry::Idle { next_round: 0 }
    }

    pub(super) fn is_armed(&self) -> bool {
        matches!(self, TimeoutEntry::Armed { .. })
    }

    /// Returns whether the kernel will end a sleep by `deadline_ns`.
    pub(super) fn arm<R: Ring>(&mut self, queues: &mut Queues<R>, deadline_ns: u64) -> bool {
        let (round, user_data, entry) = match *self {
            TimeoutEntry::Armed { deadline_ns: armed_ns, .. } if armed_ns <= deadline_ns => {
                return true;
            }
            TimeoutEntry::Armed { round, .. } => {
                let target = internal::user_data(internal::TIMEOUT, round);
                let user_data = internal::user_data(internal::TIMEOUT_UPDATE, round);
                (round, user_data, Entry::TimeoutUpdate { target, deadline_ns })
            }
            TimeoutEntry::Idle { next_round: round } => {
                let user_data = internal::user_data(internal::TIMEOUT, round);
                (round, user_data, Entry::Timeout { deadline_ns })
            }
        };
        let is_pushed = queues.push_now(user_data, entry).is_ok();
        if is_pushed {
            *self = TimeoutEntry::Armed { round, deadline_ns };
            queues.stats.timeout_arms += 1;
        }
        is_pushed
    }

    /// Handles the completion of a timeout.
    pub(super) fn ended(&mut self, cqe: Cqe) {
        let round = internal::round(cqe.user_data);
        match *self {
            TimeoutEntry::Armed { round: armed, .. } if armed == round => {
                *self = TimeoutEntry::Idle { next_round: round.wrapping_add(1) };
            }
            _ => {} // one that was given up when its update was refused
        }
    }

    /// Handles the failure of an update. Either it came too late: the timeout has fired and has a
    /// completion of its own. Or the kernel has refused it: then the timeout still has its later
    /// deadline, so it is given up, the next wait arms another, and its completion is ignored.
    pub(super) fn update_failed(&mut self, cqe: Cqe) {
        let round = internal::round(cqe.user_data);
        match *self {
            TimeoutEntry::Armed { round: armed, .. } if armed == round => {}
            _ => return, // of a timeout that has already ended
        }
        match errno::from_result(cqe.result.min(-1)) {
            errno::ENOENT | errno::EALREADY => {}
            _ => *self = TimeoutEntry::Idle { next_round: round.wrapping_add(1) },
        }
    }
}
