//! When nothing else will happen: the moments at which a paused clock moves, and `settle` returns.
//!
//! A loop is *idle* when no task is ready, in the queue or in the inbox, and no request waits for
//! submission. It is *quiet* when, in addition, it has entered the kernel since its last submission
//! and its last poll, and that enter brought no completion.
//!
//! | The loop is quiet, and … | then |
//! |---|---|
//! | a task waits in `settle` | that task is woken |
//! | the clock is paused, and nothing holds it | it moves to the next timer |
//! | the clock is paused, and the next timer is due before the end of an `advance` | as above |
//! | otherwise | the loop sleeps until something completes |
//!
//! The clock is held by each operation in flight that will complete by itself
//! (`Request::holds_clock`) and by each job on another thread (`clock_holds.rs`). Accepts, receives
//! and polls may wait for another process or task without end, so they do not hold it. If their
//! bytes are on the way through the kernel at that moment, they come too late in virtual time; a
//! [cushion](Quiescence::cushion_ns) of real time bridges that.
//!
//! **Absent on purpose.** Anything that is performed: `idle.rs` does that.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::clock_holds::ClockHolds;
use crate::driver::Unparker;
use crate::loop_id::LoopId;

/// What the decisions depend on.
pub(super) struct Quiescence {
    /// The last enter brought no completion, and nothing was submitted or polled since.
    pub(super) is_quiet: Cell<bool>,
    /// Whether a job held the clock at the last enter.
    pub(super) was_held: Cell<bool>,
    pub(super) holds: Arc<ClockHolds>,
    pub(super) settlers: RefCell<Vec<Rc<Settler>>>,
    /// Ends of the calls of `advance` that run.
    pub(super) targets_ns: RefCell<Vec<u64>>,
    /// Real time that a quiet loop waits before the clock moves by itself.
    pub(super) cushion_ns: Cell<u64>,
    /// When the present cushion ends, by the kernel's clock.
    pub(super) cushion_until_ns: Cell<Option<u64>>,
}

/// A task that waits until the loop is quiet.
#[derive(Default)]
pub(crate) struct Settler {
    pub(super) waker: RefCell<Option<Waker>>,
    pub(super) has_settled: Cell<bool>,
}

/// An idle loop, as far as the decision depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IdleLoop {
    pub(super) is_quiet: bool,
    pub(super) has_settlers: bool,
    /// The time of the loop's clock, if it is paused.
    pub(super) paused_ns: Option<u64>,
    /// The earliest timer, unless it never expires.
    pub(super) timer_ns: Option<u64>,
    /// The latest target of `advance`.
    pub(super) target_ns: Option<u64>,
    /// An operation or a job holds the clock.
    pub(super) is_held: bool,
    /// A job held it at the last enter: its wake may be in the inbox.
    pub(super) was_held: bool,
}

/// What an idle loop does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum IdleStep {
    /// Enter the kernel without sleeping: a timer is due, or something may have completed.
    Look,
    /// Wake the tasks that wait in `settle`.
    Settle,
    /// Move the clock to the next timer, because `advance` asked for it.
    Advance(u64),
    /// Move the clock to the next timer.
    Jump(u64),
    /// Sleep until something completes. No timer of a paused clock ends the sleep.
    Sleep,
}

impl IdleLoop {
    pub(super) fn next_step(self) -> IdleStep {
        let IdleLoop { is_quiet, has_settlers, paused_ns, timer_ns, target_ns, .. } = self;
        if paused_ns.is_some_and(|now_ns| timer_ns.is_some_and(|at_ns| at_ns <= now_ns)) {
            return IdleStep::Look;
        }
        if has_settlers {
            return if is_quiet { IdleStep::Settle } else { IdleStep::Look };
        }
        let (Some(_), Some(timer_ns)) = (paused_ns, timer_ns) else {
            return IdleStep::Sleep;
        };
        if target_ns.is_some_and(|target_ns| timer_ns <= target_ns) {
            return if is_quiet { IdleStep::Advance(timer_ns) } else { IdleStep::Look };
        }
        match (self.is_held, is_quiet && !self.was_held) {
            (true, _) => IdleStep::Sleep,
            (false, false) => IdleStep::Look,
            (false, true) => IdleStep::Jump(timer_ns),
        }
    }
}

impl Quiescence {
    pub(super) fn new(id: LoopId, unparker: Unparker) -> Quiescence {
        Quiescence {
            is_quiet: Cell::new(false),
            was_held: Cell::new(false),
            holds: ClockHolds::new(id, unparker),
            settlers: RefCell::default(),
            targets_ns: RefCell::default(),
            cushion_ns: Cell::new(0),
            cushion_until_ns: Cell::new(None),
        }
    }

    /// Whether a cushion of real time has to pass before the clock moves. Returns its end.
    pub(super) fn cushion(&self, now_ns: u64) -> Option<u64> {
        let cushion_ns = self.cushion_ns.get();
        if cushion_ns == 0 {
            return None;
        }
        let until_ns = self.cushion_until_ns.get().unwrap_or(now_ns.saturating_add(cushion_ns));
        self.cushion_until_ns.set(Some(until_ns));
        Some(until_ns).filter(|&until_ns| now_ns < until_ns)
    }
}

#[cfg(test)]
mod tests;
