//! Atomics, locks and a pause, from the standard library.
//!
//! `tests/loom` compiles `task` with loom's types in place of this module, and runs it through
//! every interleaving within a bound. So `task` imports from here what synchronises threads. `Arc`,
//! counters of unique numbers, and `OnceLock`s that are set before they are shared come from the
//! standard library directly.

use std::time::Duration;

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Sleeps, so that other threads can run.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
