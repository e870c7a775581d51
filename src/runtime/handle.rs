//! A way to a running loop, and what the loop counts.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use super::context;
use super::core::Core;
use crate::driver::{DriverInfo, DriverStats};
use crate::reactor::{ReactorStats, WatchdogStats};
use crate::task::{JoinHandle, is_large};

/// A way to a loop from its own thread: spawn on it, ask it what it runs on and what it counts.
///
/// Cheap to clone. It may outlive the runtime; spawning then gives cancelled tasks.
#[derive(Clone)]
pub struct Handle {
    core: Rc<Core>,
}

impl Handle {
    pub(super) fn new(core: Rc<Core>) -> Handle {
        Handle { core }
    }

    /// The loop that runs on this thread.
    ///
    /// # Panics
    ///
    /// If none does.
    #[track_caller]
    pub fn current() -> Handle {
        Handle::new(context::current())
    }

    /// The loop that runs on this thread, if one does.
    pub fn try_current() -> Option<Handle> {
        context::try_current().map(Handle::new)
    }

    /// As [`spawn`](crate::spawn), on this loop.
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

    /// The driver of this loop.
    pub fn driver(&self) -> &DriverInfo {
        &self.core.info
    }

    /// What the loop has counted since it was built.
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
            tasks: core.executor.task_count() as u64,
            in_flight: in_flight as u64,
            timers: timers as u64,
            closing_streams: closing_streams as u64,
            buffers_held: u64::from(buffers_held),
            ready_peak: core.executor.ready_peak_count() as u64,
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("driver", self.driver()).finish_non_exhaustive()
    }
}

/// What a loop counts. The first group only grows; the second says how things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Passes of the loop.
    pub turns: u64,
    /// Polls of tasks and calls of callbacks.
    pub polls: u64,
    /// System calls of the driver: entries into the kernel.
    pub enter_calls: u64,
    /// Entries that were allowed to sleep.
    pub sleeps: u64,
    /// Entries that a signal or a shortage in the kernel ended early; the loop tried again.
    pub enter_retries: u64,
    /// Requests given to the kernel, the driver's own included.
    pub submissions: u64,
    /// Completions received.
    pub completions: u64,
    /// Flushes of an overflowed completion queue. Nothing is lost; each costs a system call.
    pub cq_overflows: u64,
    /// Operations that the driver was asked to cancel. Each still ends by itself.
    pub cancels: u64,
    /// Cancels that came too late or found an operation that cannot be cancelled.
    pub cancels_missed: u64,
    /// How often a timeout was set or moved in the kernel.
    pub timeout_arms: u64,
    /// Completions whose key named no operation. Should be 0.
    pub stale_completions: u64,
    /// Operations whose wake-up the kernel has lost, and that were asked for again. Should be 0;
    /// some kernels make it grow, slowly (6.1 does).
    pub lost_wakeups: u64,
    /// Cancels that were sent again because the operation had not ended after 100 ms. Should be 0.
    pub cancels_repeated: u64,
    /// Completions that the kernel has dropped because it was out of memory. Should be 0. The
    /// operations that they belong to end with an error; all others go on.
    pub dropped_completions: u64,
    /// Receives that found the buffer pool empty and went on with a buffer of their own.
    pub pool_exhausted: u64,
    /// Dropped streams whose peer reset or left the connection before it had taken the queued
    /// bytes. Peers do that at any time, so these are counted and not reported.
    pub peer_resets: u64,
    /// Connections beyond a listener's `max_connections` that were accepted and reset, with
    /// [`Overflow::Shed`](crate::net::Overflow::Shed).
    pub connections_shed: u64,
    /// Errors without a caller that were not printed, because many of their kind came at once or
    /// because standard error was not writable. With a hook for them this stays 0.
    pub reports_suppressed: u64,
    /// Breaks the loop took because it was turning without progress. Should be 0.
    pub spin_backoffs: u64,

    /// Tasks that have not ended.
    pub tasks: u64,
    /// Operations in flight.
    pub in_flight: u64,
    /// Timers pending.
    pub timers: u64,
    /// Dropped streams that are still sending queued bytes.
    pub closing_streams: u64,
    /// Receive buffers that the program holds.
    pub buffers_held: u64,
    /// The longest that the ready queue has been.
    pub ready_peak: u64,
}
