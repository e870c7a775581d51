//! [`Core`]: the state that a runtime and its handles share.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::hooks::Hooks;
use super::signals::LoopSignals;
use super::slow_poll::Stopwatch;
use super::unhandled::Reports;
use crate::driver::DriverInfo;
use crate::error::Unhandled;
use crate::loop_id::LoopId;
use crate::reactor::Reactor;
use crate::task::Executor;

/// The state that a runtime and its handles share.
pub(crate) struct Core {
    pub(crate) reactor: Rc<Reactor>,
    pub(crate) executor: Rc<Executor>,
    pub(super) reports: Rc<Reports>,
    pub(super) info: DriverInfo,
    pub(super) turns: Cell<u64>,
    /// Consecutive turns without progress.
    pub(super) idle_turns: Cell<u32>,
    /// The time at which the first of them ended.
    pub(super) idle_since_ns: Cell<u64>,
    pub(super) spin_backoffs: Cell<u64>,
    /// Whether `run_until_stopped` ends with the current turn.
    pub(super) is_stopping: Cell<bool>,
    pub(super) hooks: Hooks,
    /// Measures polls, unless that is turned off.
    pub(super) stopwatch: Option<Stopwatch>,
    pub(crate) signals: LoopSignals,
    /// The limit of how long a shutdown waits for streams that still send.
    pub(super) shutdown_linger_ns: Cell<u64>,
    /// The limit of how long a shutdown waits for blocking jobs that run. `None`: it does not wait,
    /// and does not report them either.
    pub(super) shutdown_blocking_ns: Cell<Option<u64>>,
}

impl Core {
    pub(crate) fn id(&self) -> &LoopId {
        self.reactor.home().id()
    }

    /// Waits for the blocking jobs that run, during a shutdown that began at `begun_ns`. Reports
    /// those that have not ended in time.
    pub(super) fn wait_for_jobs(&self, begun_ns: u64) {
        let Some(limit_ns) = self.shutdown_blocking_ns.get() else {
            return;
        };
        let passed_ns = self.reactor.now_ns().saturating_sub(begun_ns);
        let limit = Duration::from_nanos(limit_ns.saturating_sub(passed_ns));
        let running_count = self.executor.blocking().wait_ended(limit);
        if running_count > 0 {
            let unhandled = Unhandled::BlockingJobsLeft { running_count };
            self.executor.reporter().report_and_drop(unhandled);
        }
    }
}

/// A run of the loop. Its end, also by a panic, ends the request to stop.
pub(super) struct Run<'a>(pub(super) &'a Core);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.is_stopping.set(false);
    }
}
