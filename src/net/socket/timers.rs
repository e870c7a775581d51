//! The idle timer of a socket.
//!
//! [`IdleTimeout`] decides when a timer is due and what its expiry means. The reactor is called
//! here, once the borrow of the receiving side has ended.

use std::rc::Rc;
use std::time::Duration;

use super::idle::{IdleFired, IdleTimeout};
use super::stream::Socket;
use crate::reactor::Expire;

/// The timer. It holds the socket, so it is removed when reading ends.
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
    /// Sets the time that a read may wait. `None` removes the limit.
    pub(in crate::net) fn set_idle_timeout(self: &Rc<Self>, timeout: Option<Duration>) {
        self.remove_idle_timeout();
        let Some(timeout) = timeout else { return };
        let is_waiting = self.recv.borrow_mut().set_idle(IdleTimeout::new(timeout));
        if is_waiting {
            self.idle_began();
        }
    }

    /// Removes the timeout and its timer, which holds the socket.
    pub(super) fn remove_idle_timeout(&self) {
        let timer = self.recv.borrow_mut().remove_idle();
        if let Some(timer) = timer {
            self.reactor.remove_timer(timer);
        }
    }

    /// Notes that a read begins to wait, and sets the timer unless one is pending.
    pub(super) fn idle_began(self: &Rc<Self>) {
        // Not the time of the turn: after a long computation the timer would expire too early.
        let deadline_ns = self.recv.borrow_mut().idle_began(self.reactor.now_ns());
        if let Some(deadline_ns) = deadline_ns {
            self.set_idle_timer(deadline_ns);
        }
    }

    fn set_idle_timer(self: &Rc<Self>, deadline_ns: u64) {
        let timer = self.reactor.expire_at(deadline_ns, Rc::new(IdleTimer(Rc::clone(self))));
        self.recv.borrow_mut().idle_timer_set(timer);
    }

    fn idle_timer_fired(self: &Rc<Self>) {
        let has_loop_ended = self.reactor.ended_ns().is_some();
        let step = self.recv.borrow_mut().idle_fired(self.reactor.turn_ns(), has_loop_ended);
        match step {
            IdleFired::Nothing => {}
            IdleFired::SetAgain(deadline_ns) => self.set_idle_timer(deadline_ns),
            IdleFired::Expired => {
                let reader = self.recv.borrow_mut().take_reader();
                self.reactor.wake_deferred(reader);
            }
        }
    }
}
