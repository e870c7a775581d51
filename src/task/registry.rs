//! The tasks of a loop that have not ended, and the one that runs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use slab::Slab;

use super::call::Call;
use super::cell::{AnyCell, Header};
use super::identity::Identity;
use super::polled::{PollKind, Polled};

/// The live tasks of one loop.
#[derive(Default)]
pub(super) struct Registry {
    /// All tasks that have not ended. A shutdown aborts them.
    live: RefCell<Slab<Rc<dyn AnyCell>>>,
    /// The task or the main future that is polled now.
    running: RefCell<Option<Running>>,
    /// Whether `last` is recorded.
    is_watched: Cell<bool>,
    /// What has run last.
    last: RefCell<Option<Polled>>,
}

/// A future that is polled.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) identity: Identity,
    /// Whether it is the future that `block_on` runs.
    pub(super) is_main: bool,
}

impl From<Running> for Polled {
    fn from(Running { identity, is_main }: Running) -> Polled {
        let Identity { id, name, spawned_at: place } = identity;
        let kind = if is_main { PollKind::Main } else { PollKind::Task };
        Polled { kind, id: Some(id), name, place }
    }
}

impl Registry {
    /// Adds a task. It is live until the entry is left or dropped.
    pub(super) fn insert(self: &Rc<Registry>, cell: Rc<dyn AnyCell>) -> Entry {
        let index = self.live.borrow_mut().insert(cell);
        Entry { registry: Rc::clone(self), index: Cell::new(Some(index)) }
    }

    pub(super) fn count(&self) -> usize {
        self.live.borrow().len()
    }

    /// The live tasks, in no particular order.
    pub(super) fn cells(&self) -> Vec<Rc<dyn AnyCell>> {
        self.live.borrow().iter().map(|(_, cell)| Rc::clone(cell)).collect()
    }

    pub(super) fn running(&self) -> Option<Running> {
        self.running.borrow().clone()
    }

    /// Records what is polled, until the guard is dropped.
    pub(super) fn run(&self, running: Running) -> RunningGuard<'_> {
        self.running.replace(Some(running));
        RunningGuard { registry: self }
    }

    /// Sets whether what runs is recorded, for [`take_last`](Registry::take_last).
    pub(super) fn watch(&self, is_watched: bool) {
        self.is_watched.set(is_watched);
    }

    /// Records a callback that has run.
    pub(super) fn has_run(&self, call: &Call) {
        if self.is_watched.get() {
            self.last.replace(Some(call.polled()));
        }
    }

    pub(super) fn take_last(&self) -> Option<Polled> {
        self.last.take()
    }
}

/// The guard of [`Registry::run`].
#[must_use]
pub(super) struct RunningGuard<'a> {
    registry: &'a Registry,
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        let running = self.registry.running.take();
        if self.registry.is_watched.get() {
            self.registry.last.replace(running.map(Polled::from));
        }
    }
}

/// The entry of a task in the registry.
pub(super) struct Entry {
    registry: Rc<Registry>,
    index: Cell<Option<usize>>,
}

impl Entry {
    /// Records a poll of the task, until the guard is dropped.
    pub(super) fn run(&self, header: &Header) -> RunningGuard<'_> {
        header.count_poll();
        self.registry.run(Running { identity: header.identity().clone(), is_main: false })
    }

    /// Removes the task: it has ended.
    pub(super) fn leave(&self) {
        if let Some(index) = self.index.take() {
            let cell = self.registry.live.borrow_mut().remove(index);
            drop(cell); // after the borrow
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}
