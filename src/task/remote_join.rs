//! [`RemoteJoinHandle`]: the result of a task, on another thread.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::abort::AbortHandle;
use super::coop;
use super::identity::TaskId;
use super::join_error::JoinError;
use super::park;
use super::result_cell::{Promise, ResultCell};

/// A handle to a task that [`RemoteHandle::spawn`](super::RemoteHandle::spawn) has spawned.
/// Awaiting it returns the result of the task, on any thread and on any executor.
///
/// Dropping the handle *detaches* the task: it runs on, and a panic of it is reported to
/// [`on_unhandled`](crate::Builder::on_unhandled). These are the semantics of tokio's `JoinHandle`.
///
/// # Cancel safety
///
/// Cancel safe: dropping and recreating an await on `&mut handle` loses nothing.
///
/// # Errors
///
/// [`JoinError::Panic`] if the closure or its future panicked, [`JoinError::Cancelled`] if the task
/// was aborted or its runtime ended before it.
///
/// # Panics
///
/// In a forked child of the process that built the runtime, and if it is polled again after it has
/// returned the result.
///
/// ```
/// ringloop::run(async {
///     let remote = ringloop::Handle::current().remote();
///     let job = ringloop::spawn_blocking(move || remote.spawn(|| async { 42 }).unwrap());
///     let task = job.await.unwrap(); // a handle to a task of this loop
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
pub struct RemoteJoinHandle<T> {
    cell: Arc<ResultCell<T>>,
    abort: Arc<OnceLock<AbortHandle>>,
}

impl<T> RemoteJoinHandle<T> {
    /// A handle to a task whose `abort` will be set by the call that spawns it.
    pub(super) fn new(cell: Arc<ResultCell<T>>, abort: Arc<OnceLock<AbortHandle>>) -> Self {
        RemoteJoinHandle { cell, abort }
    }

    /// Ends the task. Its future is dropped on the loop's thread, in the next turn or the one that
    /// follows. The handle then returns [`JoinError::Cancelled`], or the result if the task has
    /// finished before.
    ///
    /// In a forked child, and after the end of the runtime, it has no effect.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let remote = ringloop::Handle::current().remote();
    ///     let task = remote.spawn(std::future::pending::<()>).unwrap();
    ///     task.abort();
    ///     assert!(task.await.unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn abort(&self) {
        let remote = self.cell.remote();
        if !remote.id().is_of_parent() {
            // This call follows the one that spawns the task. A loop that has ended has dropped the
            // task.
            let abort = Arc::clone(&self.abort);
            let abort = move || abort.get().into_iter().for_each(AbortHandle::abort);
            let _ = remote.call(abort, self.cell.spawned_at());
        }
    }

    /// Whether the task has ended, so that awaiting the handle does not wait.
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the runtime.
    pub fn is_finished(&self) -> bool {
        self.cell.is_finished()
    }

    /// The number of the task.
    pub fn id(&self) -> TaskId {
        self.cell.id()
    }

    /// Blocks this thread until the task has ended, and returns its result. For threads without a
    /// loop.
    ///
    /// # Errors
    ///
    /// As of the await: see [`RemoteJoinHandle`].
    ///
    /// # Panics
    ///
    /// On the thread of the loop, which runs the task; in a forked child; and if the handle was
    /// awaited and has returned the result.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// let remote = runtime.handle().remote();
    /// let thread = std::thread::spawn(move || remote.spawn(|| async { 42 }).unwrap().join());
    /// runtime.block_on(async {
    ///     while !thread.is_finished() {
    ///         ringloop::task::yield_now().await; // the loop must run meanwhile
    ///     }
    /// });
    /// assert_eq!(thread.join().unwrap().unwrap(), 42);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        let remote = self.cell.remote();
        remote.id().check_process();
        assert!(
            !remote.is_owner_here(),
            "this thread runs {}, and would wait for itself without end: await the handle in a \
             task instead",
            remote.id()
        );
        park::block_until(|waker| self.cell.poll_result(waker))
    }
}

impl<T> Future for RemoteJoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        coop::leaf_anywhere(cx, |cx| self.cell.poll_result(cx.waker()))
    }
}

impl<T> Drop for RemoteJoinHandle<T> {
    fn drop(&mut self) {
        self.cell.detach();
    }
}

impl<T> fmt::Debug for RemoteJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteJoinHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

pin_project! {
    /// A future whose output, or panic, is sent through a promise. If it is dropped unfinished, the
    /// promise sends `Cancelled`, after the future was dropped.
    pub(super) struct Promised<F: Future> {
        #[pin]
        future: Option<F>,
        promise: Option<Promise<F::Output>>,
    }
}

impl<F: Future> Promised<F> {
    pub(super) fn new(future: F, promise: Promise<F::Output>) -> Promised<F> {
        Promised { future: Some(future), promise: Some(promise) }
    }
}

impl<F: Future> Future for Promised<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let future = this.future.as_mut().as_pin_mut().expect("polled after its end");
        let result = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(JoinError::panicked(payload)),
        };
        let promise = this.promise.take().expect("kept until the end");
        // The locals are dropped before the receiver is woken.
        match catch_unwind(AssertUnwindSafe(|| this.future.set(None))) {
            Ok(()) => promise.finish(result),
            Err(payload) => promise.finish_with_drop_panic(result, payload),
        }
        Poll::Ready(())
    }
}
