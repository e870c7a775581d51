//! Reports of errors that no caller awaits.

use crate::error::{Unhandled, discard, try_drop};
use crate::loop_id::LoopId;

/// Receives errors that no caller awaits. May run user code.
pub(crate) trait Report {
    /// The loop that reports.
    fn loop_id(&self) -> &LoopId;

    /// Passes the error to the hook of the program, or prints it.
    fn report(&self, unhandled: &Unhandled);
}

impl dyn Report + '_ {
    /// Reports the error, then drops its payload, whose destructor may panic.
    pub(crate) fn report_and_drop(&self, unhandled: Unhandled) {
        self.report(&unhandled);
        self.drop_guarded(unhandled);
    }

    /// Drops a value of the program. A panic of its destructor is reported, and the payload of that
    /// panic is discarded.
    pub(crate) fn drop_guarded<T>(&self, value: T) {
        if let Err(payload) = try_drop(value) {
            let unhandled = Unhandled::DropPanic { payload };
            self.report(&unhandled);
            discard(unhandled);
        }
    }
}
