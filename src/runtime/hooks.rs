//! The program's hooks at fixed points of a turn.
//!
//! **Invariant.** A hook is out of its cell while it runs, so it may do anything that a callback
//! may. A hook that panics is reported and never called again; the other hooks go on.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use crate::error::Unhandled;
use crate::task::Report;

/// One hook, or the place of one that the program has not set.
#[derive(Default)]
pub(super) struct Hook(Cell<Option<Function>>);

struct Function {
    function: Box<dyn FnMut()>,
    set_at: &'static Location<'static>,
}

/// The hooks of one loop.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) turn_start: Hook,
    pub(super) before_park: Hook,
    pub(super) after_unpark: Hook,
}

impl Hook {
    pub(super) fn new(function: Box<dyn FnMut()>, set_at: &'static Location<'static>) -> Hook {
        Hook(Cell::new(Some(Function { function, set_at })))
    }

    /// Runs the hook, if there is one. Returns whether it ran.
    pub(super) fn run(&self, reporter: &dyn Report) -> bool {
        let Some(mut hook) = self.0.take() else {
            return false;
        };
        match catch_unwind(AssertUnwindSafe(|| (hook.function)())) {
            Ok(()) => self.0.set(Some(hook)),
            Err(payload) => {
                let scheduled_at = hook.set_at;
                reporter.report_and_drop(Unhandled::CallPanic { scheduled_at, payload });
                reporter.drop_guarded(hook.function);
            }
        }
        true
    }
}
