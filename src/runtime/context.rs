//! The loop that runs on this thread.
//!
//! It is used when a task, a timer or a socket is made, and at no other time: existing ones hold
//! their loop themselves.
//!
//! In a child that was forked inside a task, the thread-local holds the loop of the parent. That
//! loop does not run in the child, so the child finds none, and may run one of its own.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

use super::core::Core;
use crate::task::coop;
use crate::task::current::{self as executor, NO_RUNTIME};

struct Current {
    core: Rc<Core>,
    entered_at: &'static Location<'static>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The guard of [`enter`]. Dropping it makes the former loop the one of this thread.
#[must_use]
pub(super) struct Entered {
    /// The loop of the parent process, in a child that was forked inside a task.
    former: Option<Current>,
    _executor: executor::Entered,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let former = self.former.take();
        let current = CURRENT.try_with(|current| current.replace(former));
        drop(current); // after the borrow: this may be the last reference to the core
        coop::lift();
    }
}

/// Makes `core` the loop of this thread.
#[track_caller]
pub(super) fn enter(core: &Rc<Core>) -> Entered {
    if let Some(entered_at) = entered_at() {
        panic!(
            "a ringloop runtime is already running on this thread (since {entered_at}); \
             await the future instead of blocking on it"
        );
    }
    try_enter(core).expect("no other loop runs here")
}

/// Makes `core` the loop of this thread, unless another loop runs here.
#[track_caller]
pub(super) fn try_enter(core: &Rc<Core>) -> Option<Entered> {
    let location = Location::caller();
    CURRENT
        .try_with(|current| {
            if current.borrow().as_ref().is_some_and(Current::is_running) {
                return None;
            }
            let entered = Current { core: Rc::clone(core), entered_at: location };
            let former = current.replace(Some(entered));
            Some(Entered { former, _executor: core.executor.enter() })
        })
        .ok() // the thread ends, and the runtime was in a thread-local
        .flatten()
}

impl Current {
    /// Whether the loop runs in this process: not in a forked child.
    fn is_running(&self) -> bool {
        !self.core.id().is_of_parent()
    }
}

fn entered_at() -> Option<&'static Location<'static>> {
    CURRENT.with(|current| {
        let current = current.borrow();
        current.as_ref().filter(|current| current.is_running()).map(|current| current.entered_at)
    })
}

/// The loop of this thread, if one is running.
pub(crate) fn try_current() -> Option<Rc<Core>> {
    entered().filter(|core| !core.id().is_of_parent())
}

/// The loop of this thread, also if it belongs to the parent process.
fn entered() -> Option<Rc<Core>> {
    CURRENT
        .try_with(|current| current.borrow().as_ref().map(|current| Rc::clone(&current.core)))
        .ok()
        .flatten()
}

/// The loop of this thread.
///
/// # Panics
///
/// If none runs here, and in a forked child of the process that built it.
#[track_caller]
pub(crate) fn current() -> Rc<Core> {
    let core = entered().expect(NO_RUNTIME);
    core.id().check_process();
    core
}
