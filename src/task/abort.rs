//! [`AbortHandle`]: the part of a task or of a blocking job that all threads may use.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use super::identity::TaskId;
use crate::primitives::{AtomicBool, Ordering};

/// A handle that aborts one task or blocking job, from any thread.
///
/// This is tokio's `AbortHandle`.
///
/// ```
/// ringloop::run(async {
///     let task = ringloop::spawn(std::future::pending::<()>());
///     let abort = task.abort_handle();
///     std::thread::spawn(move || abort.abort());
///     assert!(task.await.unwrap_err().is_cancelled());
/// });
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    flag: Arc<AbortFlag>,
}

struct AbortFlag {
    id: TaskId,
    is_aborted: AtomicBool,
    /// Wakes the task, or removes a blocking job from its queue. `None` for a task that was never
    /// spawned, because its loop was shutting down, and for a job that was refused.
    waker: Option<Waker>,
}

impl AbortHandle {
    pub(super) fn new(id: TaskId, waker: Option<Waker>) -> AbortHandle {
        let is_aborted = AtomicBool::new(false);
        AbortHandle { flag: Arc::new(AbortFlag { id, is_aborted, waker }) }
    }

    /// Ends the task, like [`JoinHandle::abort`](crate::JoinHandle::abort). The future is dropped
    /// on the loop's thread. A blocking job ends as by
    /// [`BlockingHandle::abort`](crate::BlockingHandle::abort).
    pub fn abort(&self) {
        // Release: pairs with the acquire in `is_aborted`.
        self.flag.is_aborted.store(true, Ordering::Release);
        if let Some(waker) = &self.flag.waker {
            waker.wake_by_ref();
        }
    }

    /// The number of the task.
    pub fn id(&self) -> TaskId {
        self.flag.id
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.flag.is_aborted.load(Ordering::Acquire)
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: any thread can abort a task.
    ///
    /// Method: the compiler.
    ///
    /// Kills: an `Rc` in `AbortHandle`.
    #[test]
    fn abort_handles_are_for_every_thread() {
        fn for_every_thread<T: Send + Sync>() {}
        for_every_thread::<AbortHandle>();
    }
}
