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
use super::info::CurrentTask;
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
pub(super) fn executor() -> Rc<Executor> {
    let executor = entered().expect(NO_RUNTIME);
    executor.remote().id().check_process();
    executor
}

/// The executor of this thread, also if it belongs to the parent process.
fn entered() -> Option<Rc<Executor>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// The task that runs, or `None` outside of a task.
///
/// Inside of [`run`](crate::run) and [`block_on`](crate::Runtime::block_on) this is their future,
/// which is a task as well ([`CurrentTask::is_main`]). Destructors of a task's future find their
/// task. In a callback (`call_soon`, `call_later`, `call_at`) and outside of a loop there is no
/// task. This is asyncio's `current_task`; tokio has only the number.
///
/// ```
/// use ringloop::task;
///
/// assert!(task::current().is_none());
/// ringloop::run(async {
///     assert!(task::current().unwrap().is_main());
///     let child = ringloop::spawn(async { task::current().unwrap().id() });
///     let id = child.id();
///     assert_eq!(child.await.unwrap(), id);
/// });
/// ```
pub fn current() -> Option<CurrentTask> {
    let executor = entered().filter(|executor| !executor.remote().id().is_of_parent())?;
    executor.running()
}
