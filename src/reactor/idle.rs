//! Loops that have nothing to do: the wait of a paused clock, its moves, and `settle`.
//!
//! [`quiescence`](super::quiescence) decides, and this file performs.
//!
//! **Invariant.** The kernel is given no deadline of a paused clock.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Reactor;
use super::clock_holds::ClockHolds;
use super::loop_clock::{Changed, NEVER_NS};
use super::quiescence::{IdleLoop, IdleStep, Settler};
use crate::driver::Driver;
use crate::driver::request::Wait;

impl Reactor {
    /// Pauses the clock of the loop.
    pub(crate) fn pause_clock(&self) -> Changed {
        self.quiescence.holds.set_paused(true);
        self.clock.pause()
    }

    /// Resumes the clock of the loop, from the time at which it stands.
    pub(crate) fn resume_clock(&self) -> Changed {
        self.quiescence.holds.set_paused(false);
        self.clock.resume()
    }

    /// Whether the clock of the loop stands still.
    pub(crate) fn is_clock_paused(&self) -> bool {
        self.clock.paused_ns().is_some()
    }

    /// What holds the clock, if it is paused, for jobs of other threads.
    pub(crate) fn clock_holds(&self) -> &Arc<ClockHolds> {
        &self.quiescence.holds
    }

    /// Lets the paused clock move to `duration_ns` from now, whatever holds it, until
    /// [`end_advance`](Reactor::end_advance). Returns that time.
    pub(crate) fn begin_advance(&self, duration_ns: u64) -> u64 {
        let target_ns = self.now_ns().saturating_add(duration_ns).min(NEVER_NS - 1);
        self.quiescence.targets_ns.borrow_mut().push(target_ns);
        target_ns
    }

    pub(crate) fn end_advance(&self, target_ns: u64) {
        let mut targets_ns = self.quiescence.targets_ns.borrow_mut();
        let index = targets_ns.iter().position(|&other_ns| other_ns == target_ns);
        targets_ns.swap_remove(index.expect("an advance that has begun"));
    }

    /// Sets how long, in real time, a quiet loop waits before its paused clock moves by itself
    /// while accepts, receives or polls are in flight.
    pub(crate) fn set_cushion(&self, cushion_ns: u64) {
        self.quiescence.cushion_ns.set(cushion_ns);
        self.quiescence.cushion_until_ns.set(None);
    }

    /// Polls for the moment at which the loop is quiet.
    pub(crate) fn poll_settled(&self, settler: &Rc<Settler>, waker: &Waker) -> Poll<()> {
        if settler.has_settled.get() || self.ended_ns().is_some() {
            return Poll::Ready(());
        }
        let waker = waker.clone(); // user code, before anything is borrowed
        let former = settler.waker.borrow_mut().replace(waker);
        if former.is_none() {
            self.quiescence.settlers.borrow_mut().push(Rc::clone(settler));
        }
        drop(former);
        Poll::Pending
    }

    /// Forgets a task that does not wait any more.
    pub(crate) fn leave_settlers(&self, settler: &Rc<Settler>) {
        self.quiescence.settlers.borrow_mut().retain(|other| !Rc::ptr_eq(other, settler));
        let waker = settler.waker.take();
        drop(waker);
    }

    /// Wakes every task that waits until the loop is quiet.
    pub(super) fn wake_settlers(&self) {
        for settler in self.quiescence.settlers.take() {
            settler.has_settled.set(true);
            let waker = settler.waker.take();
            self.wake_deferred(waker);
        }
    }

    /// Notes that tasks have been polled, which may have caused completions.
    pub(crate) fn note_polls(&self) {
        self.quiescence.is_quiet.set(false);
    }

    /// What a loop does next that is idle, and whose clock is paused or for whose quiet a task
    /// waits. `None` if the timers of a running clock decide.
    pub(super) fn idle_step(&self) -> Option<IdleStep> {
        let paused_ns = self.clock.paused_ns();
        let has_settlers = self.has_settlers();
        if paused_ns.is_none() && !has_settlers {
            return None;
        }
        let held_count = self.slots.borrow().holding_clock_count();
        let idle = IdleLoop {
            is_quiet: self.quiescence.is_quiet.get(),
            has_settlers,
            paused_ns,
            timer_ns: self.next_timer_ns(),
            target_ns: self.quiescence.targets_ns.borrow().iter().max().copied(),
            is_held: held_count > 0 || self.quiescence.holds.is_any(),
            was_held: self.quiescence.was_held.get(),
        };
        Some(idle.next_step())
    }

    /// How long such a loop may wait, after this step.
    pub(super) fn how_long_idle(&self) -> Option<Wait> {
        let step = self.idle_step()?;
        if !matches!(step, IdleStep::Jump(_)) {
            self.quiescence.cushion_until_ns.set(None);
        }
        match step {
            IdleStep::Look => Some(Wait::Poll),
            IdleStep::Settle => {
                self.wake_settlers();
                Some(Wait::Poll)
            }
            IdleStep::Advance(at_ns) => {
                self.clock.move_to(at_ns);
                Some(Wait::Poll)
            }
            IdleStep::Jump(at_ns) => Some(self.jump(at_ns)),
            IdleStep::Sleep if !self.is_clock_paused() => None,
            IdleStep::Sleep => Some(self.sleep_until(None)),
        }
    }

    /// Moves the paused clock, once the cushion has passed.
    fn jump(&self, at_ns: u64) -> Wait {
        let has_passive = self.slots.borrow().len() > 0; // none that holds the clock
        let kernel_ns = self.kernel_now_ns();
        if has_passive && let Some(until_ns) = self.quiescence.cushion(kernel_ns) {
            return self.sleep_until(Some(until_ns));
        }
        self.quiescence.cushion_until_ns.set(None);
        self.clock.move_to(at_ns);
        Wait::Poll
    }

    /// Notes an enter of the kernel, before its completions are dispatched.
    pub(super) fn note_enter(&self, has_brought_nothing: bool) {
        let is_awaited = self.is_clock_paused() || self.has_settlers();
        let is_quiet = is_awaited && has_brought_nothing && self.has_kernel_nothing();
        self.quiescence.is_quiet.set(is_quiet);
        self.quiescence.was_held.set(is_awaited && self.quiescence.holds.is_any());
    }

    fn has_kernel_nothing(&self) -> bool {
        self.driver.borrow_mut().as_mut().is_none_or(Driver::has_caught_up)
    }

    /// Tasks that wait in `settle`.
    #[cfg(test)]
    pub(crate) fn settlers_count(&self) -> usize {
        self.quiescence.settlers.borrow().len()
    }

    fn has_settlers(&self) -> bool {
        !self.quiescence.settlers.borrow().is_empty()
    }
}
