//! [`Polled`]: what the loop has run last, for reports about it.

use std::panic::Location;
use std::sync::Arc;

use super::identity::TaskId;

/// What a poll of the loop runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PollKind {
    /// A poll of a task.
    Task,
    /// A poll of the future of [`run`](crate::run) or [`block_on`](crate::Runtime::block_on).
    Main,
    /// A callback of [`call_soon`](crate::call_soon).
    Call,
    /// A callback of [`call_later`](crate::call_later) or [`call_at`](crate::call_at).
    Timer,
}

/// A poll or a callback that has run.
#[derive(Clone, Debug)]
pub(crate) struct Polled {
    pub(crate) kind: PollKind,
    /// `None` for a callback.
    pub(crate) id: Option<TaskId>,
    pub(crate) name: Option<Arc<str>>,
    /// Where the task was spawned, or the callback was scheduled.
    pub(crate) place: &'static Location<'static>,
}
