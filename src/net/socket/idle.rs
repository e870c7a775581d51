//! The idle timeout of a stream, which limits how long a read may wait without a byte.
//!
//! No timer is set or removed per message. A read that begins to wait notes the time, and sets the
//! stream's only timer if it is not pending. If the timer fires while a later read waits, it is set
//! again for the rest of that wait. If no read waits, the next one that does sets it.
//!
//! ```text
//!            began: set a timer            fired, the wait is too short: set it again
//!  no timer ────────────────────▶ pending ──────────────────────────────────────────▶ pending
//!     ▲                              │
//!     ├─── fired, no read waits ─────┤
//!     │                              │ fired, the wait is long enough: wake the reader
//!     │                              ▼
//!     └── poll: TimedOut, or bytes ─ expired
//! ```
//!
//! A read that is dropped and made anew, as in a loop over `select!`, continues the same wait,
//! which began when the first one found no bytes.
//!
//! **Absent on purpose.** The reactor. Timers are requested here and set by the owner
//! (`timers.rs`). This value is a part of [`RecvSide`](super::recv::RecvSide).

use std::time::Duration;

use crate::reactor::TimerKey;

pub(super) struct IdleTimeout {
    timeout_ns: u64,
    /// The time at which the current wait began. Bytes that arrive end a wait.
    since_ns: u64,
    timer: Option<TimerKey>,
    /// The next poll of the read fails.
    has_expired: bool,
}

/// The action that an expiry of the timer requires.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IdleFired {
    Nothing,
    /// Set the timer again, for this time.
    SetAgain(u64),
    /// Wake the reader, whose next poll fails.
    Expired,
}

impl IdleTimeout {
    pub(super) fn new(timeout: Duration) -> IdleTimeout {
        IdleTimeout {
            timeout_ns: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            since_ns: 0,
            timer: None,
            has_expired: false,
        }
    }

    /// Notes that a read begins to wait. Returns the deadline of the timer to set, unless one is
    /// pending.
    pub(super) fn began(&mut self, now_ns: u64) -> Option<u64> {
        self.since_ns = now_ns;
        self.timer.is_none().then(|| self.deadline_ns())
    }

    pub(super) fn timer_set(&mut self, timer: TimerKey) {
        assert!(self.timer.is_none(), "two idle timers");
        self.timer = Some(timer);
    }

    /// Handles the expiry of the timer, in a turn at `turn_ns`.
    pub(super) fn fired(&mut self, turn_ns: u64, is_waiting: bool) -> IdleFired {
        self.timer = None;
        if !is_waiting {
            return IdleFired::Nothing;
        }
        if self.deadline_ns() > turn_ns {
            return IdleFired::SetAgain(self.deadline_ns());
        }
        self.has_expired = true;
        IdleFired::Expired
    }

    /// Notes that bytes have arrived, perhaps between the expiry and the poll of the read.
    pub(super) fn bytes_came(&mut self) {
        self.has_expired = false;
    }

    pub(super) fn take_expiry(&mut self) -> bool {
        std::mem::take(&mut self.has_expired)
    }

    #[cfg(test)]
    pub(super) fn has_expired(&self) -> bool {
        self.has_expired
    }

    pub(super) fn into_timer(self) -> Option<TimerKey> {
        self.timer
    }

    fn deadline_ns(&self) -> u64 {
        self.since_ns.saturating_add(self.timeout_ns)
    }
}
