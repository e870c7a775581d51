//! [`TaskInfo`] and [`CurrentTask`]: what a program can learn about tasks.

use std::panic::Location;

use super::cell::Header;
use super::identity::{Identity, TaskId};
use super::registry::Running;

/// A task that has not ended: one row of [`Handle::tasks`](crate::Handle::tasks).
///
/// The values are those of the moment of the call. They may be sent to other threads.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    identity: Identity,
    polls: u64,
}

impl TaskInfo {
    pub(super) fn new(header: &Header) -> TaskInfo {
        TaskInfo { identity: header.identity().clone(), polls: header.polls() }
    }

    /// The number of the task.
    pub fn id(&self) -> TaskId {
        self.identity.id
    }

    /// The name of the task, if it has one ([`Builder::name`](super::Builder::name)).
    pub fn name(&self) -> Option<&str> {
        self.identity.name.as_deref()
    }

    /// The place in the program where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.identity.spawned_at
    }

    /// The number of times that the task has been polled. The poll that runs now counts too.
    pub fn polls(&self) -> u64 {
        self.polls
    }
}

/// The task that runs, returned by [`current`](super::current).
#[derive(Clone, Debug)]
pub struct CurrentTask {
    identity: Identity,
    is_main: bool,
}

impl CurrentTask {
    pub(super) fn new(Running { identity, is_main }: Running) -> CurrentTask {
        CurrentTask { identity, is_main }
    }

    /// The number of the task. Each `block_on` gives its future a number of its own.
    pub fn id(&self) -> TaskId {
        self.identity.id
    }

    /// The name of the task, if it has one ([`Builder::name`](super::Builder::name)).
    pub fn name(&self) -> Option<&str> {
        self.identity.name.as_deref()
    }

    /// The place in the program where the task was spawned, or the place of the `block_on`.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.identity.spawned_at
    }

    /// Whether this is the future of [`run`](crate::run) or
    /// [`block_on`](crate::Runtime::block_on), and not a spawned task.
    pub fn is_main(&self) -> bool {
        self.is_main
    }
}
