//! One job: a closure, and the promise of its result.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::super::join_error::JoinError;
use super::super::remote::Remote;
use super::super::result_cell::Promise;

/// A job of a pool. Dropping it cancels it.
pub(super) trait Job: Send {
    /// Calls the closure and sends its result, or its panic.
    fn run(self: Box<Self>);

    /// Drops the closure and sends `error` in place of a result.
    fn refuse(self: Box<Self>, error: JoinError);
}

pub(super) struct BlockingJob<F, T> {
    /// Present until the job has run or was refused.
    parts: Option<(F, Promise<T>)>,
    remote: Arc<Remote>,
}

impl<F, T> BlockingJob<F, T> {
    pub(super) fn new(function: F, promise: Promise<T>, remote: &Arc<Remote>) -> Self {
        BlockingJob { parts: Some((function, promise)), remote: Arc::clone(remote) }
    }

    /// Ends a job whose closure was not called. The closure is dropped before the waiter is woken.
    fn end(&mut self, error: JoinError) {
        if let Some((function, promise)) = self.parts.take() {
            self.remote.drop_guarded(function);
            promise.finish(Err(error));
        }
    }
}

impl<F, T> Job for BlockingJob<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(mut self: Box<Self>) {
        let (function, promise) = self.parts.take().expect("a job runs once");
        let result = catch_unwind(AssertUnwindSafe(function));
        promise.finish(result.map_err(JoinError::panicked));
    }

    fn refuse(mut self: Box<Self>, error: JoinError) {
        self.end(error);
    }
}

impl<F, T> Drop for BlockingJob<F, T> {
    fn drop(&mut self) {
        self.end(JoinError::Cancelled);
    }
}
