//! [`RemoteHandle`]: a loop, as other threads use it.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, OnceLock};

use super::abort::AbortHandle;
use super::current;
use super::executor::is_large;
use super::identity::Identity;
use super::join_error::JoinError;
use super::remote::Remote;
use super::remote_join::{Promised, RemoteJoinHandle};
use super::result_cell::Promise;

/// A reference to a loop for other threads: it sends calls and futures there.
///
/// [`Handle::remote`](crate::Handle::remote) makes one. It is cheap to clone, and may outlive the
/// runtime: what it sends then is given back. Tasks and sockets stay on their loop; what crosses
/// threads is a `Send` closure, which makes a future there that need not be `Send`.
///
/// ```
/// let runtime = ringloop::Runtime::new()?;
/// let remote = runtime.handle().remote();
/// let thread = std::thread::spawn(move || {
///     remote.block_on(|| async {
///         ringloop::time::sleep(std::time::Duration::from_millis(1)).await; // on the loop
///         "slept"
///     })
/// });
/// runtime.block_on(async {
///     while !thread.is_finished() {
///         ringloop::task::yield_now().await;
///     }
/// });
/// assert_eq!(thread.join().unwrap().unwrap(), "slept");
/// # Ok::<(), ringloop::SetupError>(())
/// ```
///
/// # Forked children
///
/// In a child of `fork(2)` the loop of the parent is out of reach: every method panics.
#[derive(Clone)]
pub struct RemoteHandle {
    remote: Arc<Remote>,
}

impl RemoteHandle {
    pub(crate) fn new(remote: &Arc<Remote>) -> RemoteHandle {
        RemoteHandle { remote: Arc::clone(remote) }
    }

    /// Calls `function` once on the loop's thread, in its next turn.
    ///
    /// This is asyncio's `loop.call_soon_threadsafe`, and trio's `TrioToken.run_sync_soon`. Calls
    /// and wakes of one thread happen in their order. A sleeping loop is woken by one write,
    /// however many calls follow it. It never blocks, but it takes a lock and allocates, so it must
    /// not be called in a signal handler. A panic of the function is reported to
    /// [`on_unhandled`](crate::Builder::on_unhandled).
    ///
    /// # Errors
    ///
    /// [`RuntimeClosed`] with the function, if the runtime is being dropped or has been. The
    /// function of an accepted call is called, unless the runtime is dropped first. Then it is
    /// dropped, on the loop's thread.
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the runtime.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// let remote = runtime.handle().remote();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let thread = std::thread::spawn(move || {
    ///     remote.call(move || sender.send(std::thread::current().id()).unwrap()).unwrap();
    ///     remote
    /// });
    /// let remote = thread.join().unwrap();
    /// runtime.block_on(ringloop::task::yield_now());
    /// assert_eq!(receiver.recv(), Ok(std::thread::current().id()));
    ///
    /// drop(runtime);
    /// let error = remote.call(|| ()).unwrap_err();
    /// error.0(); // the function, given back
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    #[track_caller]
    pub fn call<F>(&self, function: F) -> Result<(), RuntimeClosed<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.remote.id().check_process();
        self.remote.call(function, Location::caller()).map_err(RuntimeClosed)
    }

    /// Spawns a task with the future that `make` returns. `make` is called on the loop's thread, in
    /// the order of [`call`](RemoteHandle::call).
    ///
    /// This is asyncio's `run_coroutine_threadsafe`. The future may use everything of the loop and
    /// need not be `Send`; its output must be. The handle may be awaited anywhere, or
    /// [joined](RemoteJoinHandle::join) by a thread without a loop.
    ///
    /// # Errors
    ///
    /// [`RuntimeClosed`] with `make`, if the runtime is being dropped or has been. If it is dropped
    /// later, and before the task has ended, the handle returns
    /// [`JoinError::Cancelled`].
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the runtime.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// ringloop::run(async {
    ///     let remote = ringloop::Handle::current().remote();
    ///     let thread = std::thread::spawn(move || {
    ///         remote.spawn(|| {
    ///             let local = Rc::new(6); // not `Send`
    ///             async move { *local * 7 }
    ///         })
    ///     });
    ///     let task = thread.join().unwrap().expect("the runtime is open");
    ///     assert_eq!(task.await.unwrap(), 42);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> Result<RemoteJoinHandle<F::Output>, RuntimeClosed<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.remote.id().check_process();
        let spawned_at = Location::caller();
        let identity = Identity::new(None, spawned_at);
        let (promise, cell) = Promise::new(&self.remote, identity.clone());
        let abort = Arc::new(OnceLock::new());
        let made = Making { make, promise, identity, abort: Arc::clone(&abort) };
        match self.remote.call_with(made, Making::run, spawned_at) {
            Ok(()) => Ok(RemoteJoinHandle::new(cell, abort)),
            Err(Making { make, .. }) => Err(RuntimeClosed(make)),
        }
    }

    /// Runs the future that `make` returns on the loop, blocks this thread until it has ended, and
    /// returns its output. For threads without a loop; the loop must run meanwhile.
    ///
    /// This is `asyncio.run_coroutine_threadsafe(..).result()`, and trio's `from_thread.run`. It is
    /// [`spawn`](RemoteHandle::spawn) and [`join`](RemoteJoinHandle::join). On the thread of
    /// another loop it blocks that loop, and two loops that do so to each other wait without end.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panic`] if `make` or its future panicked. [`JoinError::Cancelled`] if the
    /// runtime has been dropped, or is dropped before the future has ended.
    ///
    /// # Panics
    ///
    /// On the thread of the loop itself, where it would wait without end, and in a forked child of
    /// the process that built the runtime.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let remote = ringloop::Handle::current().remote();
    ///     let job = ringloop::spawn_blocking(move || remote.block_on(|| async { 42 }));
    ///     assert_eq!(job.await.unwrap().unwrap(), 42);
    /// });
    /// ```
    #[track_caller]
    pub fn block_on<M, F>(&self, make: M) -> Result<F::Output, JoinError>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.remote.id().check_process();
        assert!(
            !self.remote.is_owner_here(),
            "RemoteHandle::block_on: this thread runs {}, and would wait for itself without end: \
             await the future in a task instead",
            self.remote.id()
        );
        self.spawn(make).map_err(|_closed| JoinError::Cancelled)?.join()
    }

    /// Whether the runtime is being dropped or has been, so that calls are given back. A runtime
    /// that is open now may be closed when the next call comes.
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the runtime.
    pub fn is_closed(&self) -> bool {
        self.remote.id().check_process();
        self.remote.is_closed()
    }
}

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle").field("loop", self.remote.id()).finish_non_exhaustive()
    }
}

/// A task that is to be spawned on the loop's thread.
struct Making<M, T> {
    make: M,
    promise: Promise<T>,
    identity: Identity,
    abort: Arc<OnceLock<AbortHandle>>,
}

impl<M, F> Making<M, F::Output>
where
    M: FnOnce() -> F,
    F: Future + 'static,
{
    fn run(self) {
        let Making { make, promise, identity, abort } = self;
        let future = match catch_unwind(AssertUnwindSafe(make)) {
            Ok(future) => future,
            Err(payload) => return promise.finish(Err(JoinError::panicked(payload))),
        };
        let executor = current::executor();
        let task = if const { is_large::<F>() } {
            executor.spawn_as(Promised::new(Box::pin(future), promise), identity)
        } else {
            executor.spawn_as(Promised::new(future, promise), identity)
        };
        let is_first = abort.set(task.abort_handle()).is_ok();
        assert!(is_first, "a task is spawned once");
    }
}

/// The error of a call to a runtime that is being dropped or has been. It gives the value back that
/// was to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RuntimeClosed<T>(pub T);

impl<T> fmt::Debug for RuntimeClosed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeClosed").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for RuntimeClosed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime has been closed")
    }
}

impl<T> std::error::Error for RuntimeClosed<T> {}
