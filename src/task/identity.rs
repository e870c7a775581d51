//! What identifies a task: its number, its name and the place where it was spawned.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a task, unique within the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TaskId(u64);

impl TaskId {
    pub(super) fn next() -> TaskId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        TaskId(NEXT.fetch_add(1, Ordering::Relaxed)) // unique, ordered with nothing
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number, the name and the place of a task. A task without a name costs no memory for it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id: TaskId,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Identity {
    /// The identity of a new task.
    pub(super) fn new(name: Option<Arc<str>>, spawned_at: &'static Location<'static>) -> Identity {
        Identity { id: TaskId::next(), name, spawned_at }
    }
}
