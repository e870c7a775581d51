//! Callbacks on the ready queue.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;

use super::polled::{PollKind, Polled};
use crate::error::Unhandled;

/// A callback that runs once, unless it is cancelled first.
pub(crate) struct Call {
    function: RefCell<Option<Box<dyn FnOnce()>>>,
    kind: PollKind,
    scheduled_at: &'static Location<'static>,
}

impl Call {
    /// A callback that is ready at once.
    pub(crate) fn new(
        function: Box<dyn FnOnce()>,
        scheduled_at: &'static Location<'static>,
    ) -> Rc<Call> {
        let function = RefCell::new(Some(function));
        Rc::new(Call { function, kind: PollKind::Call, scheduled_at })
    }

    /// A callback of a timer.
    pub(crate) fn timed(
        function: Box<dyn FnOnce()>,
        scheduled_at: &'static Location<'static>,
    ) -> Rc<Call> {
        let function = RefCell::new(Some(function));
        Rc::new(Call { function, kind: PollKind::Timer, scheduled_at })
    }

    /// What this callback is, for reports.
    pub(super) fn polled(&self) -> Polled {
        Polled { kind: self.kind, id: None, name: None, place: self.scheduled_at }
    }

    /// Runs the callback. A panic is caught and returned: the loop goes on.
    pub(crate) fn run(&self) -> Result<(), Unhandled> {
        let Some(function) = self.function.take() else {
            return Ok(());
        };
        catch_unwind(AssertUnwindSafe(function))
            .map_err(|payload| Unhandled::CallPanic { scheduled_at: self.scheduled_at, payload })
    }

    pub(crate) fn cancel(&self) {
        drop(self.take());
    }

    /// Takes the callback, for the caller to drop.
    pub(crate) fn take(&self) -> Option<Box<dyn FnOnce()>> {
        self.function.take()
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.function.borrow().is_some()
    }
}

/// A callback scheduled with [`call_soon`](crate::call_soon). Dropping the handle does not cancel
/// it.
pub struct CallHandle {
    call: Rc<Call>,
}

impl CallHandle {
    pub(crate) fn new(call: Rc<Call>) -> CallHandle {
        CallHandle { call }
    }

    /// Cancels the call: drops the callback at once, unless it has run.
    pub fn cancel(&self) {
        self.call.cancel();
    }

    /// Whether the callback will still run.
    pub fn is_pending(&self) -> bool {
        self.call.is_pending()
    }
}

impl fmt::Debug for CallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHandle").field("is_pending", &self.is_pending()).finish()
    }
}
