//! [`BlockingHandle`]: the receiver of a job's result.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::super::abort::AbortHandle;
use super::super::coop;
use super::super::identity::{Identity, TaskId};
use super::super::join_error::JoinError;
use super::super::result_cell::{Promise, ResultCell};
use super::job::BlockingJob;
use super::pool::Pool;

/// A handle to a job of [`spawn_blocking`](crate::spawn_blocking). Awaiting it returns the result.
///
/// Dropping the handle *detaches* the job: it still runs, its result is dropped on its thread, and
/// a panic of it is reported to [`on_unhandled`](crate::Builder::on_unhandled). These are the
/// semantics of tokio's `JoinHandle`. The handle is `Send`, and may be awaited on any loop or on
/// another executor.
///
/// # Cancel safety
///
/// Cancel safe: dropping and recreating an await on `&mut handle` loses nothing.
///
/// # Errors
///
/// [`JoinError::Panic`] if the closure panicked, [`JoinError::Cancelled`] if the job was aborted or
/// its runtime ended before the job started, [`JoinError::Refused`] if the job could not be queued
/// or no thread could be made.
///
/// # Panics
///
/// In a forked child of the process that built the runtime, and if it is polled again after it has
/// returned the result.
///
/// ```
/// ringloop::run(async {
///     let job = ringloop::spawn_blocking(|| panic!("a bug"));
///     let error = job.await.unwrap_err();
///     assert_eq!(error.to_string(), "the task panicked: a bug");
/// });
/// ```
pub struct BlockingHandle<T> {
    cell: Arc<ResultCell<T>>,
    pool: Arc<Pool>,
    /// The number of the job in the queue of the pool, unless it was refused.
    number: Option<u64>,
}

impl<T> BlockingHandle<T> {
    /// Queues a job that calls `function`.
    pub(crate) fn spawn<F>(
        pool: &Arc<Pool>,
        function: F,
        spawned_at: &'static Location<'static>,
    ) -> BlockingHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (promise, cell) = Promise::new(pool.remote(), Identity::new(None, spawned_at));
        let job = BlockingJob::new(function, promise, pool.remote());
        let number = pool.submit(Box::new(job));
        BlockingHandle { cell, pool: Arc::clone(pool), number }
    }

    /// Cancels the job if it has not started: its closure is dropped here, and the handle returns
    /// [`JoinError::Cancelled`].
    ///
    /// A job that has started runs to its end, and the handle returns its result. No thread can be
    /// stopped from outside. This is libuv's `uv_cancel`, and tokio's `abort` for such tasks. It
    /// may be called on any thread. In a forked child it has no effect.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::builder()
    ///     .blocking_threads(1, std::time::Duration::from_secs(1))
    ///     .build()?;
    /// runtime.block_on(async {
    ///     let (open, gate) = std::sync::mpsc::channel::<()>();
    ///     let running = ringloop::spawn_blocking(move || gate.recv().is_ok());
    ///     let queued = ringloop::spawn_blocking(|| unreachable!("the only thread is in use"));
    ///     queued.abort();
    ///     assert!(queued.await.unwrap_err().is_cancelled());
    ///     open.send(()).unwrap();
    ///     assert!(running.await.unwrap());
    /// });
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn abort(&self) {
        if let Some(number) = self.number {
            self.pool.abort(number);
        }
    }

    /// A handle that can only abort the job, from any thread, like
    /// [`abort`](BlockingHandle::abort).
    ///
    /// This is tokio's `JoinHandle::abort_handle`.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::builder()
    ///     .blocking_threads(1, std::time::Duration::from_secs(1))
    ///     .build()?;
    /// runtime.block_on(async {
    ///     let (open, gate) = std::sync::mpsc::channel::<()>();
    ///     let running = ringloop::spawn_blocking(move || gate.recv().is_ok());
    ///     let queued = ringloop::spawn_blocking(|| unreachable!("the only thread is in use"));
    ///     let abort = queued.abort_handle();
    ///     std::thread::spawn(move || abort.abort()).join().unwrap();
    ///     assert!(queued.await.unwrap_err().is_cancelled());
    ///     open.send(()).unwrap();
    ///     assert!(running.await.unwrap());
    /// });
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle::new(self.id(), self.abort_waker())
    }

    /// The waker of abort handles. `None` for a job that was refused.
    pub(super) fn abort_waker(&self) -> Option<Waker> {
        let pool = || Arc::clone(&self.pool);
        self.number.map(|number| Waker::from(Arc::new(AbortJob { pool: pool(), number })))
    }

    pub(super) fn identity(&self) -> &Identity {
        self.cell.identity()
    }

    /// Whether the job has ended, so that awaiting the handle does not wait.
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the runtime.
    pub fn is_finished(&self) -> bool {
        self.cell.is_finished()
    }

    /// The number of the job. No other task or job of the process has the same.
    pub fn id(&self) -> TaskId {
        self.cell.id()
    }
}

impl<T> Future for BlockingHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        coop::leaf_anywhere(cx, |cx| self.cell.poll_result(cx.waker()))
    }
}

impl<T> Drop for BlockingHandle<T> {
    fn drop(&mut self) {
        self.cell.detach();
    }
}

/// Removes a job from its queue when it is woken. An [`AbortHandle`] wakes its waker.
pub(super) struct AbortJob {
    pool: Arc<Pool>,
    number: u64,
}

impl Wake for AbortJob {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.pool.abort(self.number);
    }
}

impl<T> fmt::Debug for BlockingHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}
