//! [`Core`]: the state that a runtime and its handles share.

use std::cell::Cell;
use std::rc::Rc;

use super::hooks::Hooks;
use super::signals::LoopSignals;
use super::slow_poll::Stopwatch;
use super::unhandled::Reports;
use crate::driver::DriverInfo;
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
}

impl Core {
    pub(crate) fn id(&self) -> &LoopId {
        self.reactor.home().id()
    }
}

/// A run of the loop. Its end, also by a panic, ends the request to stop.
pub(super) struct Run<'a>(pub(super) &'a Core);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.is_stopping.set(false);
    }
}
