//! The way of errors that no caller awaits, from tasks to the program.

use crate::error::{Unhandled, discard, try_drop};
use crate::loop_id::LoopId;

/// Receives errors that no caller awaits. May run user code.
pub(crate) trait Report {
    /// The loop that reports.
    fn loop_id(&self) -> &LoopId;

    fn report(&self, unhandled: &Unhandled);
}

impl dyn Report + '_ {
    /// Reports, then drops the payload: a value of the program, whose destructor may panic.
    pub(crate) fn report_and_drop(&self, unhandled: Unhandled) {
        self.report(&unhandled);
        self.drop_guarded(unhandled);
    }

    /// Drops a value of the program. A panic of its destructor is reported, and its payload
    /// discarded.
    pub(crate) fn drop_guarded<T>(&self, value: T) {
        if let Err(payload) = try_drop(value) {
            let unhandled = Unhandled::DropPanic { payload };
            self.report(&unhandled);
            discard(unhandled);
        }
    }
}
