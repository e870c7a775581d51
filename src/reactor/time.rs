//! The clock and the timers of a reactor.

use std::rc::Rc;
use std::task::Waker;

use super::Reactor;
use super::loop_clock::NEVER_NS;
use super::owner::Expire;
use super::timers::{Expiry, Pending, TimerKey};

/// Timers that expire in one turn. The rest expire in the next.
const TIMERS_PER_TURN_MAX: usize = 4096;

impl Reactor {
    /// The time of the loop's clock, which a test may have paused.
    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// The loop's clock as the last wait left it.
    pub(crate) fn turn_ns(&self) -> u64 {
        self.turn_ns.get()
    }

    /// Nanoseconds spent in waits that were allowed to sleep.
    pub(crate) fn idle_ns(&self) -> u64 {
        self.idle_ns.get()
    }

    /// When the loop next has something to do without an event, as a time of its clock: the first
    /// timer, or the next look of the watchdog, which a paused clock never shows.
    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        let is_paused = self.is_clock_paused();
        let watchdog_ns = self.watchdog_due_ns().filter(|_| !is_paused);
        let watchdog_ns = watchdog_ns.map(|at_ns| self.clock.at(at_ns));
        self.next_timer_ns().into_iter().chain(watchdog_ns).min()
    }

    /// The time of the kernel's clock, which is never paused.
    pub(crate) fn kernel_now_ns(&self) -> u64 {
        self.clock.kernel().now_ns()
    }

    /// The kernel's clock as the last wait left it.
    pub(crate) fn kernel_turn_ns(&self) -> u64 {
        self.kernel_turn_ns.get()
    }

    /// When the earliest timer is due, unless it never expires.
    pub(super) fn next_timer_ns(&self) -> Option<u64> {
        self.timers.borrow().next_deadline_ns().filter(|&at_ns| at_ns < NEVER_NS)
    }

    /// The clock as the last turn had it, if the loop has ended, and with it the timers of tasks. A
    /// timer that is set from now on never fires.
    pub(crate) fn ended_ns(&self) -> Option<u64> {
        self.ended_ns.get()
    }

    pub(crate) fn wake_at(&self, deadline_ns: u64, waker: &Waker) -> TimerKey {
        let expiry = Expiry::Wake(waker.clone());
        self.timers.borrow_mut().insert(deadline_ns, expiry)
    }

    pub(crate) fn expire_at(&self, deadline_ns: u64, owner: Rc<dyn Expire>) -> TimerKey {
        self.timers.borrow_mut().insert(deadline_ns, Expiry::Call(owner))
    }

    /// Timers set so far.
    #[cfg(test)]
    pub(crate) fn timers_set(&self) -> u64 {
        self.timers.borrow().set_count()
    }

    /// Makes a pending timer wake `waker`. Returns whether it is still pending.
    pub(crate) fn set_timer_waker(&self, key: TimerKey, waker: &Waker) -> bool {
        let pending = self.timers.borrow().look(key, waker);
        match pending {
            Pending::No => false,
            Pending::Yes => true,
            Pending::ForAnother => {
                // Cloning and dropping are user code: not under the borrow.
                let waker = waker.clone();
                let former = self.timers.borrow_mut().replace_waker(key, waker);
                drop(former);
                true
            }
        }
    }

    pub(crate) fn remove_timer(&self, key: TimerKey) {
        let removed = self.timers.borrow_mut().remove(key);
        drop(removed); // as above
    }

    /// Expires the timers that are due, in order of deadline and of setting. Returns how many.
    pub(crate) fn expire_timers(&self) -> usize {
        let now_ns = self.turn_ns.get();
        self.run_watchdog(self.kernel_turn_ns.get());
        for count in 0..TIMERS_PER_TURN_MAX {
            let expiry = self.timers.borrow_mut().pop_due(now_ns);
            match expiry {
                Some(Expiry::Wake(waker)) => self.deferred.wake(waker),
                Some(Expiry::Call(owner)) => {
                    self.deferred.run_wakers(); // they were due before it
                    owner.expire();
                }
                None => return count,
            }
        }
        TIMERS_PER_TURN_MAX
    }
}
