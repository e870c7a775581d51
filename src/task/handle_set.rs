//! Handles of tasks whose results are taken when the tasks end.
//!
//! **Invariant.** The end of each task is [recorded](super::ended) once, and its handle is in the
//! set until it is taken. The drop of a handle drops the entry of a task that runs on, so that
//! nothing is recorded for it.

use std::rc::Rc;
use std::task::{Context, Poll};

use slab::Slab;

use super::abort::AbortHandle;
use super::ended::{Ended, Entry};
use super::identity::TaskId;
use super::join::JoinHandle;
use super::join_error::JoinError;
use crate::loop_id::LoopId;

/// Handles of tasks whose ends are recorded.
pub(super) struct HandleSet<T> {
    handles: Slab<JoinHandle<T>>,
    ended: Rc<Ended>,
    /// The loop of the last task. A task of an earlier loop has ended with it.
    home: Option<LoopId>,
}

/// A task that has ended, and was taken from its set.
pub(super) struct Taken<T> {
    /// The index that `insert` has returned.
    pub(super) index: usize,
    pub(super) id: TaskId,
    pub(super) result: Result<T, JoinError>,
}

impl<T> HandleSet<T> {
    pub(super) fn new() -> HandleSet<T> {
        HandleSet { handles: Slab::new(), ended: Rc::default(), home: None }
    }

    /// Adds the handle. Indices are dense: the first handles of a set have 0, 1, 2 and so on.
    pub(super) fn insert(&mut self, handle: JoinHandle<T>) -> usize {
        self.home = Some(handle.loop_id());
        let vacant = self.handles.vacant_entry();
        let index = vacant.key();
        let handle = vacant.insert(handle);
        handle.join_set(Entry::new(&self.ended, index));
        index
    }

    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn ended_count(&self) -> usize {
        self.ended.count()
    }

    /// Whether one of the tasks that have ended, from the `start`th on, has such a result.
    pub(super) fn any_ended_with(
        &self,
        start: usize,
        condition: fn(&Result<T, JoinError>) -> bool,
    ) -> bool {
        let indices = self.ended.indices_from(start);
        indices.into_iter().any(|index| self.handles[index].has_ended_with(condition))
    }

    /// Takes the first task that has ended.
    pub(super) fn take_ended(&mut self) -> Option<Taken<T>> {
        let index = self.ended.take_first()?;
        let handle = self.handles.remove(index);
        Some(Taken { index, id: handle.id(), result: handle.take_result() })
    }

    /// Takes the first task that has ended, or waits for one. `None` if the set is empty.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Taken<T>>> {
        if let Some(taken) = self.take_ended() {
            return Poll::Ready(Some(taken));
        }
        self.wait_unless(self.handles.is_empty(), cx).map(|()| None)
    }

    /// Waits until all tasks have ended.
    pub(super) fn poll_all_ended(&self, cx: &Context<'_>) -> Poll<()> {
        self.wait_unless(self.ended_count() == self.len(), cx)
    }

    /// Ready if `is_done`. Otherwise wakes the caller's task at the next end of a task.
    ///
    /// # Panics
    ///
    /// If the loop of the tasks does not run here: none of them would end.
    pub(super) fn wait_unless(&self, is_done: bool, cx: &Context<'_>) -> Poll<()> {
        if is_done {
            return Poll::Ready(());
        }
        let home = self.home.expect("a set that has tasks");
        if !home.is_running_here() {
            home.refuse_wait();
        }
        self.ended.wait(cx.waker());
        Poll::Pending
    }

    pub(super) fn abort_handle(&self, index: usize) -> AbortHandle {
        self.handles[index].abort_handle()
    }

    pub(super) fn abort_all(&self) {
        self.handles.iter().for_each(|(_, handle)| handle.abort());
    }

    /// Drops the handles: the tasks run on, and panics of those that have ended are reported.
    pub(super) fn detach_all(&mut self) {
        let handles = std::mem::take(&mut self.handles);
        self.ended.clear();
        drop(handles);
    }
}
