//! [`Handle`] and [`Metrics`].

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use super::context;
use super::core::Core;
use crate::driver::{DriverInfo, DriverStats};
use crate::reactor::{ReactorStats, WatchdogStats};
use crate::task::{BlockingHandle, JoinHandle, PoolCounts, RemoteHandle, TaskInfo, is_large};

/// A reference to a loop, for its own thread: it spawns tasks and reads metrics.
///
/// It is cheap to clone. It may outlive the runtime; tasks that it spawns then are cancelled.
///
/// ```
/// let runtime = ringloop::Runtime::new()?;
/// let handle = runtime.handle();
/// let task = handle.spawn(async { 42 });
/// assert_eq!(runtime.block_on(task).unwrap(), 42);
/// assert!(handle.metrics().turns > 0);
/// # Ok::<(), ringloop::SetupError>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(super) core: Rc<Core>,
}

impl Handle {
    pub(super) fn new(core: Rc<Core>) -> Handle {
        Handle { core }
    }

    /// The loop that runs on this thread.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    #[track_caller]
    pub fn current() -> Handle {
        Handle::new(context::current())
    }

    /// The loop that runs on this thread, or `None`.
    pub fn try_current() -> Option<Handle> {
        context::try_current().map(Handle::new)
    }

    /// Spawns a task on this loop.
    ///
    /// Details: [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the loop.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        if const { is_large::<F>() } {
            self.spawn_small(Box::pin(future))
        } else {
            self.spawn_small(future)
        }
    }

    #[track_caller]
    fn spawn_small<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.core.id().check_process();
        self.core.executor.spawn(future, Location::caller())
    }

    /// The tasks of this loop that have not ended, in the order of their numbers.
    ///
    /// The future of [`block_on`](crate::Runtime::block_on) is not among them. Each call goes
    /// through all tasks. This is asyncio's `all_tasks`.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let idle = std::future::pending::<()>();
    ///     let task = ringloop::task::Builder::new().name("idle").spawn(idle);
    ///     let tasks = ringloop::Handle::current().tasks();
    ///     assert_eq!((tasks.len(), tasks[0].id(), tasks[0].name()), (1, task.id(), Some("idle")));
    /// });
    /// ```
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.core.executor.tasks()
    }

    /// Runs `function` on a thread of this loop's pool.
    ///
    /// Details: [`spawn_blocking`](crate::spawn_blocking).
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the loop.
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, function: F) -> BlockingHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.core.id().check_process();
        BlockingHandle::spawn(self.core.executor.blocking(), function, Location::caller())
    }

    /// A handle for other threads, which calls functions and spawns tasks on this loop.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let remote = ringloop::Handle::current().remote();
    ///     std::thread::spawn(move || remote.call(|| println!("on the loop's thread")).is_ok());
    /// });
    /// ```
    pub fn remote(&self) -> RemoteHandle {
        RemoteHandle::new(self.core.executor.remote())
    }

    /// The driver of this loop.
    pub fn driver(&self) -> &DriverInfo {
        &self.core.info
    }

    /// The counters of this loop.
    pub fn metrics(&self) -> Metrics {
        let core = &*self.core;
        let ReactorStats {
            driver,
            stale_completions,
            watchdog: WatchdogStats { lost_wakeups, cancels_repeated, dropped_completions },
            pool_exhausted,
            in_flight,
            timers,
            closing_streams,
            peer_resets,
            shed,
            buffers_held,
        } = core.reactor.stats();
        let DriverStats {
            enter_calls,
            sleeps,
            enter_retries,
            submissions,
            completions,
            cq_overflows,
            cancels,
            cancels_missed,
            timeout_arms,
            stale_completions: driver_stale_completions,
        } = driver;
        let PoolCounts { threads: blocking_threads, queued: blocking_queued, running } =
            core.executor.blocking().counts();
        Metrics {
            turns: core.turns.get(),
            polls: core.executor.polls(),
            enter_calls,
            sleeps,
            enter_retries,
            submissions,
            completions,
            cq_overflows,
            cancels,
            cancels_missed,
            timeout_arms,
            stale_completions: stale_completions + driver_stale_completions,
            lost_wakeups,
            cancels_repeated,
            dropped_completions,
            pool_exhausted,
            peer_resets,
            connections_shed: shed,
            reports_suppressed: core.reports.suppressed_count(),
            spin_backoffs: core.spin_backoffs.get(),
            idle_ns: core.reactor.idle_ns(),
            tasks: core.executor.task_count() as u64,
            in_flight: in_flight as u64,
            timers: timers as u64,
            closing_streams: closing_streams as u64,
            buffers_held: u64::from(buffers_held),
            ready_peak: core.executor.ready_peak_count() as u64,
            blocking_threads: blocking_threads as u64,
            blocking_running: running as u64,
            blocking_queued: blocking_queued as u64,
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("driver", self.driver()).finish_non_exhaustive()
    }
}

/// Counters of a loop. Those of the first group only grow; those of the second are current values.
///
/// ```
/// ringloop::run(async {
///     let metrics = ringloop::Handle::current().metrics();
///     assert_eq!((metrics.stale_completions, metrics.spin_backoffs), (0, 0));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Passes of the loop.
    pub turns: u64,
    /// Polls of tasks and calls of callbacks.
    pub polls: u64,
    /// System calls of the driver that enter the kernel (`io_uring_enter(2)`, `epoll_pwait2(2)`).
    pub enter_calls: u64,
    /// Enter calls that were allowed to sleep.
    pub sleeps: u64,
    /// Enter calls that were repeated because a signal or a shortage in the kernel ended them.
    pub enter_retries: u64,
    /// Requests submitted to the kernel, with those of the driver itself.
    pub submissions: u64,
    /// Completions received.
    pub completions: u64,
    /// Flushes of an overflowed completion queue. No completion is lost; each costs a system call.
    pub cq_overflows: u64,
    /// Cancel requests. The operation still ends with a completion of its own.
    pub cancels: u64,
    /// Cancel requests that were too late, or whose operation cannot be cancelled.
    pub cancels_missed: u64,
    /// Timeouts that were set or moved in the kernel.
    pub timeout_arms: u64,
    /// Completions whose key named no operation. Should be 0.
    pub stale_completions: u64,
    /// Operations whose wake-up the kernel has lost, and that were submitted again. Should be 0; on
    /// some kernels it grows slowly (6.1).
    pub lost_wakeups: u64,
    /// Cancel requests that were repeated because the operation had not ended after 100 ms. Should
    /// be 0.
    pub cancels_repeated: u64,
    /// Completions that the kernel has dropped because it was out of memory. Should be 0. Their
    /// operations end with an error; all others go on.
    pub dropped_completions: u64,
    /// Receives that found the buffer pool empty and used a buffer of their own.
    pub pool_exhausted: u64,
    /// Dropped streams whose peer reset or closed the connection before it had taken the queued
    /// bytes. They are counted and not reported, because any peer can cause them.
    pub peer_resets: u64,
    /// Connections beyond a listener's `max_connections` that were accepted and reset
    /// ([`Overflow::Shed`](crate::net::Overflow::Shed)).
    pub connections_shed: u64,
    /// Reports that were not printed, because of the rate limit or because standard error was not
    /// writable. Stays 0 with a hook ([`Builder::on_unhandled`](crate::Builder::on_unhandled)).
    pub reports_suppressed: u64,
    /// Pauses of the loop because it was turning without progress. Should be 0.
    pub spin_backoffs: u64,
    /// Nanoseconds that the loop has spent in waits that were allowed to sleep: what it has not
    /// computed. The rest of the time between two readings is the time of the program and of the
    /// loop, so `1 - idle / elapsed` is how busy the loop's thread is. This is libuv's
    /// `uv_metrics_idle_time`.
    pub idle_ns: u64,

    /// Tasks that have not ended.
    pub tasks: u64,
    /// Operations in flight.
    pub in_flight: u64,
    /// Pending timers.
    pub timers: u64,
    /// Dropped streams that are still sending queued bytes.
    pub closing_streams: u64,
    /// Receive buffers that the program holds.
    pub buffers_held: u64,
    /// The greatest length that the ready queue has had.
    pub ready_peak: u64,
    /// Threads of blocking jobs, idle ones too.
    pub blocking_threads: u64,
    /// Blocking jobs that run.
    pub blocking_running: u64,
    /// Blocking jobs that wait for a thread.
    pub blocking_queued: u64,
}
