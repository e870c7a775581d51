//! The runtime: the only module that uses both the executor and the reactor.
//!
//! What lives here: [`Runtime`] and its [`Builder`](builder::Builder), the ways to run it
//! ([`drive`]), the [`Handle`], the loop's [turn](turn) and its [`hooks`], and the thread-local
//! that holds the loop of this thread ([`context`]).

pub(crate) mod builder;
pub(crate) mod context;
mod core;
mod drive;
mod handle;
mod hooks;
mod limiter;
mod listening;
mod signals;
pub(crate) mod slow_poll;
#[cfg(test)]
mod tests;
mod turn;
mod unhandled;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use self::core::Core;
use self::core::Run;
pub(crate) use self::listening::Listening;
pub(crate) use self::signals::SignalListener;
pub use handle::{Handle, Metrics};
pub use turn::TurnStats;

use crate::driver::request::Wait;
use crate::reactor::Reactor;
use crate::task::{MainWaker, is_large};

/// Runs `future` to its end on a new loop, and closes the loop.
///
/// This is asyncio's `run`. When `future` ends, the remaining tasks are dropped, and dropped
/// streams may send their queued bytes for up to one second. Panics of those tasks are printed to
/// standard error. To choose a driver, to set limits, or to handle a failed set-up, use
/// [`Runtime::builder`].
///
/// ```
/// let answer = ringloop::run(async {
///     ringloop::time::sleep(std::time::Duration::from_millis(1)).await;
///     42
/// });
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
///
/// If a loop already runs on this thread, and if no driver works here. The message names the failed
/// step and what to do.
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    if const { is_large::<F>() } { run_small(Box::pin(future)) } else { run_small(future) }
}

#[track_caller]
fn run_small<F: Future>(future: F) -> F::Output {
    match Runtime::new() {
        Ok(runtime) => runtime.drive(future),
        Err(error) => panic!("{error}"),
    }
}

/// An event loop: one thread, one ring, its tasks and timers.
///
/// A `Runtime` belongs to the thread that built it. To use several cores, build one on each thread.
///
/// Dropping it drops all tasks, cancels blocking jobs that have not started, lets dropped streams
/// send their queued bytes (for at most the builder's
/// [`shutdown_linger`](crate::Builder::shutdown_linger)), waits for blocking jobs that run (for at
/// most five minutes: see [`shutdown_timeout`](Runtime::shutdown_timeout)), cancels all operations,
/// waits until the kernel no longer uses any memory, and closes the ring.
///
/// ```
/// let runtime = ringloop::Runtime::new()?;
/// let task = runtime.block_on(async { ringloop::spawn(async { 42 }) });
/// assert_eq!(runtime.block_on(task).unwrap(), 42);
/// # Ok::<(), ringloop::SetupError>(())
/// ```
///
/// # Forked processes
///
/// A loop belongs to the process that built it. In a child of `fork(2)`, which has a copy of it:
///
/// - Using the parent's loop panics with a message that names the fork. This holds for `block_on`,
///   `spawn`, timers, and futures of its streams and listeners. Wakers do nothing.
/// - Dropping resources of the parent's loop is safe at any time and has no effect on the parent.
///   Streams and listeners close the descriptors of the child. The tasks of a dropped runtime are
///   not dropped, because they belong to the parent: what they own stays open in the child until it
///   ends or executes another program.
/// - A runtime that the child builds works, also if the child was forked inside a task, where
///   [`Handle::try_current`] finds no loop. A [`RecvBuf`](crate::buf::RecvBuf) keeps its bytes.
///
/// So a server with several processes forks first and builds a runtime in each. A connection stays
/// open for its peer while a child has a copy of its descriptor: see
/// [`TcpStream::shutdown`](crate::net::TcpStream::shutdown).
pub struct Runtime {
    core: Rc<Core>,
}

impl Runtime {
    /// Runs `future` to its end, and with it the tasks of this runtime.
    ///
    /// Tasks that have not ended go on in the next `block_on`; between two calls they do not run.
    ///
    /// # Panics
    ///
    /// If a loop already runs on this thread, if the future panics, and in a forked child of the
    /// process that built the runtime.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if const { is_large::<F>() } { self.drive(Box::pin(future)) } else { self.drive(future) }
    }

    #[track_caller]
    fn drive<F: Future>(&self, future: F) -> F::Output {
        let core = &self.core;
        core.id().check_process();
        let _context = context::enter(core);
        let _run = Run(core);
        let mut future = pin!(future);
        let main = MainWaker::queued(core.executor.remote());
        let waker = Waker::from(std::sync::Arc::clone(&main));
        core.executor.push_main(Location::caller());

        let mut output = None;
        while output.is_none() {
            core.id().check_process(); // a poll may have forked, and this may be the child
            core.turn(Wait::Forever, || {
                main.polling();
                if output.is_none()
                    && let Poll::Ready(value) =
                        future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    output = Some(value);
                }
            });
        }
        if !core.id().is_of_parent() {
            core.submit_pending();
            core.park();
        }
        output.expect("the loop above ends with an output")
    }

    /// Drops the runtime, with another limit for streams that still send and for blocking jobs that
    /// run.
    ///
    /// Dropped streams with queued bytes may send for up to `limit`, instead of the builder's
    /// [`shutdown_linger`](crate::Builder::shutdown_linger). The shutdown does not wait longer than
    /// they need. Bytes that remain are lost: the connection is reset and the loss is reported. A
    /// server that must deliver its last replies awaits `close()` of its streams first.
    ///
    /// `limit` also replaces the five minutes for which dropping a runtime waits for jobs of
    /// [`spawn_blocking`](crate::spawn_blocking) that have started. Jobs that still run then are
    /// reported as [`Unhandled::BlockingJobsLeft`](crate::Unhandled::BlockingJobsLeft). They run
    /// on, and their results are dropped on their threads. This is tokio's `shutdown_timeout`, and
    /// asyncio's `shutdown_default_executor(timeout)`.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// runtime.block_on(async { /* serve until a signal arrives */ });
    /// runtime.shutdown_timeout(std::time::Duration::from_secs(30));
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn shutdown_timeout(self, limit: Duration) {
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.core.shutdown_linger_ns.set(limit_ns);
        self.core.shutdown_blocking_ns.set(Some(limit_ns));
    }

    /// Drops the runtime without waiting, neither for streams that still send nor for blocking jobs
    /// that run.
    ///
    /// The jobs run on, and their results are dropped on their threads. They are not reported. This
    /// is tokio's `shutdown_background`. The tasks are dropped, and operations end, before it
    /// returns.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// let (_open, gate) = std::sync::mpsc::channel::<()>();
    /// let (starts, started) = std::sync::mpsc::channel();
    /// let job = runtime.handle().spawn_blocking(move || {
    ///     starts.send(()).unwrap();
    ///     gate.recv().is_ok()
    /// });
    /// started.recv().unwrap(); // a job that has not started would be cancelled
    /// runtime.shutdown_background(); // the job still waits
    /// assert!(!job.is_finished());
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn shutdown_background(self) {
        self.core.shutdown_linger_ns.set(0);
        self.core.shutdown_blocking_ns.set(None);
    }

    /// A handle to this runtime.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// println!("{}", runtime.handle().driver().kind());
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn handle(&self) -> Handle {
        Handle::new(Rc::clone(&self.core))
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("driver", &self.core.info).finish_non_exhaustive()
    }
}

/// Drains the ring, also if user code panics: memory may be freed only after that.
struct Finish<'a>(&'a Reactor);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.core.reactor.disown() {
            std::mem::forget(Rc::clone(&self.core)); // the tasks belong to the parent
            return;
        }
        // Destructors of futures may use the loop of the thread. If another runtime runs on this
        // thread now, they find that one.
        let _context = context::try_enter(&self.core);
        let _queue = self.core.executor.enter_queue();
        let finish = Finish(&self.core.reactor);
        self.core.executor.shut_down();
        self.core.signals.close();
        let begun_ns = self.core.reactor.now_ns();
        self.core.reactor.linger(self.core.shutdown_linger_ns.get());
        self.core.wait_for_jobs(begun_ns);
        self.core.executor.close();
        drop(finish);
        self.core.report_unhandled();
        self.core.reports.print_omitted();
    }
}
