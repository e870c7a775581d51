//! What threads meet through: atomics, locks, and a pause. They are those of the standard library.
//!
//! `tests/loom` compiles `task` as it is, with loom's types in place of this module, and runs it
//! through every interleaving within a bound. So `task` takes from here what synchronises threads.
//! An `Arc`, a counter of unique numbers and a `OnceLock` that is set before it is shared come from
//! the standard library directly.

use std::time::Duration;

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Lets other threads run.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
