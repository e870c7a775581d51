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
    /// The future that `block_on` runs, or ran last.
    main: RefCell<Option<Identity>>,
    current: Cell<Current>,
    /// Whether `last` is recorded.
    is_watched: Cell<bool>,
    /// What has run last.
    last: RefCell<Option<Polled>>,
}

/// What is polled now. A number, because it changes with every poll.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Current {
    #[default]
    Nothing,
    Main,
    /// The task with this index in `live`.
    Task(usize),
}

/// A future that is polled.
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
        match self.current.get() {
            Current::Nothing => None,
            Current::Main => {
                self.main.borrow().clone().map(|identity| Running { identity, is_main: true })
            }
            Current::Task(index) => {
                let identity = self.live.borrow()[index].header().identity().clone();
                Some(Running { identity, is_main: false })
            }
        }
    }

    /// Sets the identity of the main future.
    pub(super) fn set_main(&self, identity: Identity) {
        self.main.replace(Some(identity));
    }

    /// Records a poll of the main future, until the guard is dropped.
    pub(super) fn run_main(&self) -> RunningGuard<'_> {
        self.run(Current::Main)
    }

    fn run(&self, current: Current) -> RunningGuard<'_> {
        self.current.set(current);
        if self.is_watched.get() {
            let running = self.running();
            self.last.replace(running.map(Polled::from));
        }
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

/// The guard of [`Registry::run_main`] and [`Entry::run`].
#[must_use]
pub(super) struct RunningGuard<'a> {
    registry: &'a Registry,
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.registry.current.set(Current::Nothing);
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
        self.registry.run(self.index.get().map_or(Current::Nothing, Current::Task))
    }

    /// Removes the task: it has ended.
    pub(super) fn leave(&self) {
        if let Some(index) = self.index.take() {
            let cell = self.registry.live.borrow_mut().remove(index);
            drop(cell); // after the borrow
            if self.registry.current.get() == Current::Task(index) {
                self.registry.current.set(Current::Nothing);
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}
