//! Atomics, locks, threads and a pause, from the standard library.
//!
//! `tests/loom` compiles `task` and `sync` with loom's types in place of this module, and runs them
//! through every interleaving within a bound. So they import from here what synchronises threads.
//! `Arc`, counters of unique numbers, and `OnceLock`s that are set before they are shared come from
//! the standard library directly.

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::ThreadId;

/// Sleeps, so that other threads can run.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Waits on `condvar`, for `limit` at most. Returns the lock, and whether the limit has passed. The
/// wait may end for no reason. `_mutex` is the lock of `guard`, which other implementations need.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    limit: Duration,
) -> (MutexGuard<'a, T>, bool) {
    let waited = condvar.wait_timeout(guard, limit);
    let (guard, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
    (guard, outcome.timed_out())
}

/// Starts a thread that no caller joins.
pub(crate) fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

pub(crate) fn thread_id() -> ThreadId {
    std::thread::current().id()
}
