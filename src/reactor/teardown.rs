//! The end of a loop: linger, drain, close.
//!
//! Closing a ring cancels nothing before it returns, and task work may write into buffers while it
//! is being torn down (H15). So a runtime ends in this order, and each step has a deadline:
//!
//! 1. *linger*: streams that were dropped with bytes queued send them,
//! 2. *drain*: every operation is cancelled and its final completion awaited, the cancel repeated
//!    because some kernels lose one (H33),
//! 3. *close*: the driver takes back its own operations, unmaps and closes the ring, and only then
//!    is memory freed. What could not be drained is leaked and reported.
//!
//! The deadlines are times of the kernel's clock. A paused clock is resumed first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::Reactor;
use super::phase::ReactorPhase;
use super::slots::Recipient;
use super::timers::Expiry;
use super::watchdog::CANCEL_AGAIN_NS;
use crate::driver::request::Wait;
use crate::driver::{Drained, Driver};
use crate::error::Unhandled;
use crate::sys::errno;

const NS_PER_MS: u64 = 1_000_000;

/// How long the kernel may take to end what was cancelled.
const DRAIN_NS: u64 = 2_000 * NS_PER_MS;

impl Reactor {
    /// Lets dropped streams send what they had queued, for at most `limit_ns`.
    pub(crate) fn linger(&self, limit_ns: u64) {
        if self.phase.get() == ReactorPhase::Open {
            self.phase.set(ReactorPhase::Lingering);
        }
        self.ended_ns.set(Some(self.turn_ns.get()));
        self.home.end();
        let _ = self.resume_clock();
        self.wake_settlers();
        // Callbacks are dropped with the tasks: a stream that one owns may still have bytes to
        // send.
        self.end_timers(|expiry| match expiry {
            Expiry::Wake(_) => true,
            Expiry::Call(owner) => !owner.outlives_tasks(),
        });
        let deadline_ns = self.kernel_now_ns().saturating_add(limit_ns);
        while self.counters.closing_streams.get() > 0 && self.kernel_now_ns() < deadline_ns {
            if self.fill_submission_queue().is_err() {
                return; // a ring that cannot be entered delivers nothing more
            }
            let wait = match self.how_long(true) {
                Wait::Poll => Wait::Poll,
                Wait::Until(timer_ns) => Wait::Until(timer_ns.min(deadline_ns)),
                Wait::Forever => Wait::Until(deadline_ns),
            };
            if self.wait(wait).is_err() {
                return;
            }
            self.expire_timers();
            self.deferred.run_wakers();
        }
    }

    /// Ends every operation and closes the driver. Idempotent.
    pub(crate) fn shut_down(&self) {
        if self.phase.get() == ReactorPhase::Closed {
            return;
        }
        self.phase.set(ReactorPhase::Draining);
        self.end_timers(|_| true);
        self.complete_waiting();
        let deadline_ns = self.kernel_now_ns() + DRAIN_NS;
        self.drain(deadline_ns);
        // Submitting is refused, so what is left fails and is reported.
        self.submission.prepare_owners();
        self.close(deadline_ns + DRAIN_NS);
        self.deferred.run_wakers();
    }

    /// Expires timers early: lingering sockets reset and report what they could not send, and
    /// others find the loop closed. This may run user code (a callback's captures), which may
    /// panic.
    fn end_timers(&self, is_wanted: impl Fn(&Expiry) -> bool) {
        let pending = self.timers.borrow_mut().take(is_wanted);
        for expiry in pending {
            let end = || match expiry {
                // Its future may be on another loop. Its next poll there returns that this one
                // ended.
                Expiry::Wake(waker) => self.deferred.wake(waker),
                Expiry::Call(owner) => owner.expire(),
            };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(end)) {
                self.report(Unhandled::WakePanic { payload });
            }
        }
    }

    /// Ends the operations that never reached the driver.
    pub(super) fn complete_waiting(&self) {
        self.submission.withdraw_all(&self.slots.borrow());
        self.complete_withdrawn();
    }

    fn drain(&self, deadline_ns: u64) {
        let mut keys = self.slots.borrow_mut().cancel_all();
        while self.slots.borrow().len() > 0 && self.kernel_now_ns() < deadline_ns {
            for key in keys {
                self.driver.borrow_mut().as_mut().expect("open until closed").cancel(key);
            }
            let again_ns = (self.kernel_now_ns() + CANCEL_AGAIN_NS).min(deadline_ns);
            // A cancel that the kernel does not have yet is not repeated.
            while self.slots.borrow().len() > 0
                && (self.kernel_now_ns() < again_ns
                    || self.has_cancels() && self.kernel_now_ns() < deadline_ns)
            {
                if self.wait(Wait::Until(again_ns)).is_err() {
                    return;
                }
            }
            keys = self.slots.borrow().cancelling_keys();
        }
    }

    fn has_cancels(&self) -> bool {
        self.driver.borrow().as_ref().is_some_and(Driver::has_cancels)
    }

    fn close(&self, deadline_ns: u64) {
        let is_stuck = self.slots.borrow().len() > 0;
        if is_stuck {
            self.collect_last();
        }
        let mut driver = self.driver.borrow_mut().take().expect("open until closed");
        self.phase.set(ReactorPhase::Closed);
        let in_flight_count = self.slots.borrow().len();
        let drained = match in_flight_count {
            0 => driver.drain(deadline_ns, || self.kernel_now_ns()),
            _ => Drained::No,
        };
        driver.close(drained);
        self.submission.drop_unprepared();
        if drained == Drained::No {
            self.abandon_stuck();
            self.report(Unhandled::UndrainedShutdown { in_flight_count });
        }
    }

    /// Ends the operations that the kernel has not let go of, for futures that are polled
    /// elsewhere. The owners are never dropped, so the memory and the descriptors that it may use
    /// stay.
    fn abandon_stuck(&self) {
        let stuck = self.slots.borrow_mut().take_all();
        for Recipient { owner, tag, .. } in stuck {
            std::mem::forget(Rc::clone(&owner));
            owner.abandon(tag, errno::ECANCELED);
        }
    }
}
