//! Which loop runs on this thread.
//!
//! Looked at when something is constructed (a task, a timer, a socket) and at no other time:
//! whatever exists already holds its loop itself.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

use super::Core;
use crate::task::{coop, queue};

struct Current {
    core: Rc<Core>,
    entered_at: &'static Location<'static>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Undoes `enter`.
#[must_use]
pub(super) struct Entered {
    _queue: queue::Entered,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let former = CURRENT.try_with(|current| current.borrow_mut().take());
        drop(former); // after the borrow: this may be the last reference to the core
        coop::lift();
    }
}

/// Makes `core` the loop of this thread.
#[track_caller]
pub(super) fn enter(core: &Rc<Core>) -> Entered {
    if let Some(entered_at) = entered_at() {
        panic!(
            "a ringloop runtime is already running on this thread (block_on at {entered_at}); \
             await the future instead of blocking on it"
        );
    }
    try_enter(core).expect("no other loop runs here")
}

/// As `enter`, unless another loop runs here.
#[track_caller]
pub(super) fn try_enter(core: &Rc<Core>) -> Option<Entered> {
    let location = Location::caller();
    CURRENT
        .try_with(|current| {
            let mut current = current.borrow_mut();
            if current.is_some() {
                return None;
            }
            *current = Some(Current { core: Rc::clone(core), entered_at: location });
            Some(Entered { _queue: core.executor.enter() })
        })
        .ok() // a thread that ends: the runtime lay in a thread-local
        .flatten()
}

fn entered_at() -> Option<&'static Location<'static>> {
    CURRENT.with(|current| current.borrow().as_ref().map(|current| current.entered_at))
}

/// The loop of this thread, if one is running.
pub(crate) fn try_current() -> Option<Rc<Core>> {
    CURRENT
        .try_with(|current| current.borrow().as_ref().map(|current| Rc::clone(&current.core)))
        .ok()
        .flatten()
}

/// The loop of this thread.
#[track_caller]
pub(crate) fn current() -> Rc<Core> {
    try_current().expect(
        "no ringloop runtime is running on this thread: call this inside `ringloop::run` or \
         `Runtime::block_on`",
    )
}
