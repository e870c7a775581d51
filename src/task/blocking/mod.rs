//! Blocking jobs: closures that run on threads beside the loop.
//!
//! What lives here: the decisions of the pool (`schedule`), its threads (`pool`), a job (`job`),
//! and the [`BlockingHandle`] of its result. The result passes through `task::result_cell`, and
//! `relay` passes it on to a set of tasks.
//!
//! **Invariant.** A job is run once, or dropped unrun, and its handle gets a result either way.
//! A job leaves the queue once, under the lock: to a thread, which runs it, or to an abort, a
//! refusal or a shutdown, which drop it.
//!
//! **Absent on purpose.** A way to stop a job that runs: a thread cannot be stopped from outside.

mod handle;
mod job;
mod pool;
mod relay;
mod schedule;

use std::panic::Location;

pub use handle::BlockingHandle;
pub(crate) use pool::{Limits, OnBusy, Pool, PoolCounts};
pub(crate) use relay::spawn_joined;

use super::current;

/// Runs `function` on a thread beside the loop, for code that blocks or computes for long.
///
/// This is tokio's `spawn_blocking`, and what asyncio has as `loop.run_in_executor` and
/// `asyncio.to_thread`. Awaiting the handle returns the result; meanwhile the loop runs other
/// tasks. A panic is returned as [`JoinError::Panic`](crate::JoinError::Panic). Dropping the handle
/// detaches the job. [`abort`](BlockingHandle::abort) cancels it until it has started, and dropping
/// the handle does not.
///
/// Jobs start in the order of their calls. The threads belong to the runtime, and are made when
/// they are needed: up to 512, each of which ends after 10 idle seconds
/// ([`Builder::blocking_threads`](crate::Builder::blocking_threads)). Further jobs wait in a queue
/// of up to 65 536 jobs, and beyond that are refused with
/// [`JoinError::Refused`](crate::JoinError::Refused), as they are if the system refuses to make the
/// first thread ([`Builder::blocking_queue`](crate::Builder::blocking_queue)). Nothing blocks the
/// caller. For heavy computation set the number of threads to that of the processors.
///
/// The closure runs outside of any loop. It may use a
/// [`RemoteHandle`](crate::RemoteHandle) to return to this one, or run a loop of its own.
///
/// When the runtime ends, jobs that have not started are cancelled, and the runtime waits for those
/// that have, for at most five minutes: see
/// [`Runtime::shutdown_timeout`](crate::Runtime::shutdown_timeout). A panic of a job that outlives
/// its loop is printed by the panic hook of std only. On a loop that is shutting down the closure
/// is dropped, and the handle returns [`Cancelled`](crate::JoinError::Cancelled).
///
/// # Panics
///
/// If no loop runs on this thread, and in a forked child of the process that built it.
///
/// ```
/// ringloop::run(async {
///     let sum = ringloop::spawn_blocking(|| (1..=1_000_000_u64).sum::<u64>());
///     assert_eq!(sum.await.unwrap(), 500_000_500_000);
/// });
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(function: F) -> BlockingHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    BlockingHandle::spawn(current::executor().blocking(), function, Location::caller())
}
