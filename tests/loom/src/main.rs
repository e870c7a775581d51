//! Models of the task layer: every interleaving of a few threads, within a bound.
//!
//! The modules `task`, `sync`, `error` and `errno` are the library's own files, compiled here a
//! second time. `crate::primitives` and the thread-local of `task::queue` have loom's types here.
//! The eventfd is a counter behind loom's lock (`rig`), because loom cannot see system calls.
//!
//! ```text
//! scripts/loom.sh             all models, then each planted mistake
//! scripts/loom.sh NAME...     some models
//! ```
//!
//! **Absent on purpose.** The state machine inside `async-task`: its atomics are the standard
//! library's, so each of its steps is atomic here, and loom does not see that they order memory.
//! Models therefore hand data to tasks under a lock, and abort a task that is not scheduled.
#![allow(dead_code, unused_imports)] // the models use a part of the task layer

/// The primitives of the library, exchanged for loom's.
mod primitives {
    use std::io;
    use std::time::Duration;

    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread::ThreadId;

    loom::lazy_static! {
        /// Set by a model when waits with a limit are over. Loom has no clock.
        pub(crate) static ref LIMITS_ARE_OVER: AtomicBool = AtomicBool::new(false);
    }

    /// A limit that is never over.
    pub(crate) const NO_LIMIT: Duration = Duration::MAX;

    pub(crate) fn pause(_duration: Duration) {
        loom::thread::yield_now();
    }

    /// A wait whose limit is over releases the lock and takes it again.
    pub(crate) fn wait<'a, T>(
        condvar: &Condvar,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        if limit != NO_LIMIT && LIMITS_ARE_OVER.load(Ordering::Relaxed) {
            drop(guard);
            return (mutex.lock().unwrap(), true);
        }
        (condvar.wait(guard).unwrap(), false)
    }

    pub(crate) fn start_thread(_name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        drop(loom::thread::spawn(run));
        Ok(())
    }

    pub(crate) fn thread_id() -> ThreadId {
        loom::thread::current().id()
    }
}

/// The loop of a thread is one of loom's thread-locals, because loom's threads share a real thread.
/// Others (the budget, which only the loop's thread uses) stay.
macro_rules! thread_local {
    ($(#[$doc:meta])* static CURRENT: $type:ty = const $init:block;) => {
        loom::thread_local! { $(#[$doc])* static CURRENT: $type = $init; }
    };
    ($(#[$doc:meta])* static RUNNING: $type:ty = const $init:block;) => {
        loom::thread_local! { $(#[$doc])* static RUNNING: $type = $init; }
    };
    ($($other:tt)*) => { std::thread_local! { $($other)* } };
}

#[path = "../../../src/sys/errno.rs"]
mod errno;
#[path = "../../../src/error.rs"]
mod error;
#[path = "../../../src/loop_id.rs"]
mod loop_id;
#[path = "../../../src/sync/mod.rs"]
mod sync;
#[path = "../../../src/task/mod.rs"]
mod task;

/// The types of other layers that `error` uses.
mod driver {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum DriverKind {
        Uring,
    }

    impl std::fmt::Display for DriverKind {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("io_uring")
        }
    }
}

mod sys {
    pub(crate) use crate::errno;

    /// Stands in for fork detection: no model forks.
    pub(crate) mod fork {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct Process;

        impl Process {
            pub(crate) fn current() -> Process {
                Process
            }

            pub(crate) fn is_current(self) -> bool {
                true
            }
        }
    }
}

mod channels;
mod models;
mod rig;
mod thread_models;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Involuntary thread switches in one execution. Most bugs need one or two.
const PREEMPTIONS_MAX: usize = 4;

/// Steps of one execution. An execution that needs more is a loop without an end.
const BRANCHES_MAX: usize = 10_000;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut passed_count = 0;
    for &(name, model) in models::ALL.iter().chain(thread_models::ALL) {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let begun = Instant::now();
        println!("model {name}");
        let executions_count = check(model);
        println!("  {executions_count} executions, {:.1} s", begun.elapsed().as_secs_f64());
        passed_count += 1;
    }
    if passed_count == 0 {
        // Not a panic: for `scripts/loom.sh`, a panic is a planted mistake that was found.
        println!("no model has such a name: {wanted:?}");
        return ExitCode::FAILURE;
    }
    println!("{passed_count} passed, 0 failed");
    ExitCode::SUCCESS
}

/// Runs `model` once per interleaving. Panics at the first that fails or deadlocks.
fn check(model: fn()) -> usize {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.max_branches = BRANCHES_MAX;
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&executions);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    executions.load(Ordering::Relaxed)
}
