//! The executor of the loop that runs on this thread, where `spawn` puts new tasks.
//!
//! `runtime::context` has the whole loop, for sockets and timers. The task layer has its own
//! reference, so that groups and sets of tasks can spawn without it.
//!
//! **Invariant.** The executor is the one of the loop in `runtime::context`. Both are entered and
//! left together.

use std::cell::RefCell;
use std::rc::Rc;

use super::executor::Executor;
use super::queue;

/// The message of a panic where a function needs a loop and none runs.
pub(crate) const NO_RUNTIME: &str = "no ringloop runtime is running on this thread: call this \
                                     function inside `ringloop::run` or `Runtime::block_on`";

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
}

impl Executor {
    /// Makes this the executor of this thread, until the guard is dropped: it receives new tasks,
    /// and the wakes of this thread without the inbox.
    pub(crate) fn enter(self: &Rc<Executor>) -> Entered {
        let entered = Some(Rc::clone(self));
        let former = CURRENT.try_with(|current| current.replace(entered)).ok().flatten();
        Entered { former, _queue: self.enter_queue() }
    }
}

/// The guard of [`Executor::enter`]. Dropping it restores the former executor.
#[must_use]
pub(crate) struct Entered {
    former: Option<Rc<Executor>>,
    _queue: queue::Entered,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let former = self.former.take();
        let current = CURRENT.try_with(|current| current.replace(former));
        drop(current); // after the borrow: this may be the last reference to the executor
    }
}

/// The executor of this thread.
///
/// # Panics
///
/// If no loop runs here, and in a forked child of the process that built the loop.
#[track_caller]
pub(super) fn current() -> Rc<Executor> {
    let executor = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
    let executor = executor.expect(NO_RUNTIME);
    executor.remote().id().check_process();
    executor
}
