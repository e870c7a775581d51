//! The idle timeout of a stream: how long a read may wait without a byte.
//!
//! No timer is set or removed per message. A read that begins to wait only notes the time. There is
//! one timer per stream, set by such a read if none is pending. If a later read waits when it fires,
//! it is set again for the rest; if none waits, the next one that does sets it.
//!
//! A read that is dropped and made anew, as in a loop over `select!`, is the same wait: it began
//! when the first one found nothing to take.

use std::rc::Rc;
use std::time::Duration;

use super::stream::Socket;
use crate::reactor::{Expire, TimerKey};

/// Boxed, as most streams have none.
pub(super) struct Idle {
    timeout_ns: u64,
    /// When the read that waits began to, which is after the last bytes that came: they end a wait.
    since_ns: u64,
    timer: Option<TimerKey>,
    /// The read that waits has to fail.
    has_expired: bool,
}

impl Idle {
    /// Bytes have come between the expiry and the poll of the read.
    pub(super) fn forget_expiry(&mut self) {
        self.has_expired = false;
    }

    pub(super) fn take_expiry(&mut self) -> bool {
        std::mem::take(&mut self.has_expired)
    }

    fn deadline_ns(&self) -> u64 {
        self.since_ns.saturating_add(self.timeout_ns)
    }
}

/// Holds the socket, so it is removed when reading ends.
struct IdleTimer(Rc<Socket>);

impl Expire for IdleTimer {
    fn expire(self: Rc<Self>) {
        self.0.idle_timer_fired();
    }

    fn outlives_tasks(&self) -> bool {
        false
    }
}

impl Socket {
    pub(in crate::net) fn set_idle_timeout(self: &Rc<Self>, timeout: Option<Duration>) {
        self.remove_idle_timeout();
        let Some(timeout) = timeout else { return };
        let idle = Idle {
            timeout_ns: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            since_ns: 0,
            timer: None,
            has_expired: false,
        };
        let mut reading = self.reading.borrow_mut();
        reading.idle = Some(Box::new(idle));
        let is_waiting = reading.has_reader();
        drop(reading);
        if is_waiting {
            self.idle_begins();
        }
    }

    /// The timer holds the socket, so this is also what the end of reading calls.
    pub(super) fn remove_idle_timeout(&self) {
        let idle = self.reading.borrow_mut().idle.take();
        if let Some(timer) = idle.and_then(|idle| idle.timer) {
            self.reactor.remove_timer(timer);
        }
    }

    /// A read begins to wait.
    pub(super) fn idle_begins(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        let Some(idle) = &mut reading.idle else { return };
        // Not the time of the turn: that would be early after a long computation.
        idle.since_ns = self.reactor.now_ns();
        if idle.timer.is_none() {
            idle.timer = Some(self.set_idle_timer(idle.deadline_ns()));
        }
    }

    fn idle_timer_fired(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        let is_waiting = reading.has_reader();
        let Some(idle) = &mut reading.idle else { return };
        idle.timer = None;
        // At the end of the loop the receive fails, and with it the read.
        if !is_waiting || self.reactor.ended_ns().is_some() {
            return;
        }
        if idle.deadline_ns() > self.reactor.turn_ns() {
            idle.timer = Some(self.set_idle_timer(idle.deadline_ns()));
            return;
        }
        idle.has_expired = true;
        let reader = reading.take_reader();
        drop(reading);
        self.reactor.wake_deferred(reader);
    }

    fn set_idle_timer(self: &Rc<Self>, deadline_ns: u64) -> TimerKey {
        self.reactor.expire_at(deadline_ns, Rc::new(IdleTimer(Rc::clone(self))))
    }
}
