//! The idle timeout of a stream: how long a read may wait without a byte.
//!
//! No timer is set or removed per message. A read that begins to wait only notes the time. There is
//! one timer per stream, set by such a read if none is pending. If a later read waits when it fires,
//! it is set again for the rest; if none waits, the next one that does sets it.
//!
//! ```text
//!              began: set a timer            fired, a read waits that began too late: set it again
//!  no timer ──────────────────────▶ pending ──────────────────────────────────────────▶ pending
//!     ▲                                │ fired, no read waits
//!     ├────────────────────────────────┤
//!     │                                │ fired, the read that waits is due: wake it
//!     └── poll: TimedOut, or bytes ── expired
//! ```
//!
//! A read that is dropped and made anew, as in a loop over `select!`, is the same wait: it began
//! when the first one found nothing to take.
//!
//! **Absent on purpose.** The reactor: timers are asked for, never set here. This value is a part of
//! [`RecvSide`](super::recv::RecvSide).

use std::time::Duration;

use crate::reactor::TimerKey;

pub(super) struct IdleTimeout {
    timeout_ns: u64,
    /// When the read that waits began to, which is after the last bytes that came: they end a wait.
    since_ns: u64,
    timer: Option<TimerKey>,
    /// The read that waits has to fail.
    has_expired: bool,
}

/// What the timer leaves to do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IdleFired {
    Nothing,
    /// Set it again, for this moment.
    SetAgain(u64),
    /// Wake the reader: its next poll fails.
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

    /// A read begins to wait. Returns when a timer is to fire, unless one is pending.
    pub(super) fn began(&mut self, now_ns: u64) -> Option<u64> {
        self.since_ns = now_ns;
        self.timer.is_none().then(|| self.deadline_ns())
    }

    pub(super) fn timer_set(&mut self, timer: TimerKey) {
        assert!(self.timer.is_none(), "two idle timers");
        self.timer = Some(timer);
    }

    /// The timer has fired, in a turn at `turn_ns`.
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

    /// Bytes have come, perhaps between the expiry and the poll of the read.
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
