//! A task that is ready to run, and where its wakes go.
//!
//! The cell of a task has a [`Destination`] as its metadata, so the function that schedules the
//! task needs no state. For a closure with state, `async-task` would count a reference to the cell
//! around each call, which made a poll of a task that yields a fifth slower.

use std::sync::Arc;

use async_task::Runnable;

use crate::loop_id::LoopId;

/// A task that is ready to run.
pub(crate) type Scheduled = Runnable<Destination>;

/// The loop of a task.
pub(crate) struct Destination {
    id: LoopId,
    inbox: Arc<dyn TaskInbox>,
}

/// Receives tasks that other threads have woken.
pub(crate) trait TaskInbox: Send + Sync {
    fn send_task(&self, task: Scheduled);
}

impl Destination {
    pub(super) fn new(id: LoopId, inbox: Arc<dyn TaskInbox>) -> Destination {
        Destination { id, inbox }
    }

    pub(super) fn id(&self) -> &LoopId {
        &self.id
    }

    pub(super) fn inbox(&self) -> &Arc<dyn TaskInbox> {
        &self.inbox
    }
}
