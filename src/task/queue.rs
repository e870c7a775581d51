//! The ready queue: tasks and callbacks to run, in the order in which they became ready.
//!
//! It also has the [`Recheck`]s of primitives whose woken waiters may never be polled.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::call::Call;
use super::scheduled::Scheduled;
use super::shuffle::Shuffle;
use crate::loop_id::{self, LoopId, Running};

/// One entry of the ready queue.
pub(crate) enum Ready {
    Task(Scheduled),
    /// The future that `block_on` runs.
    Main,
    Call(Rc<Call>),
    Recheck(Rc<dyn Recheck>),
}

/// A primitive that has woken a waiter, and looks later whether the waiter was polled.
pub(crate) trait Recheck {
    /// Runs when all entries that were ready before have run. `loop_number` is that of the loop.
    fn recheck(self: Rc<Self>, loop_number: u64);
}

/// The ready queue of one loop. First in, first out; a task is in it once.
#[derive(Default)]
pub(crate) struct Queue {
    entries: RefCell<VecDeque<Ready>>,
    peak_count: Cell<usize>,
    pub(super) shuffle: Shuffle,
}

impl Queue {
    pub(crate) fn push(&self, ready: Ready) {
        let mut entries = self.entries.borrow_mut();
        entries.push_back(ready);
        self.peak_count.set(self.peak_count.get().max(entries.len()));
    }

    pub(crate) fn pop(&self) -> Option<Ready> {
        self.entries.borrow_mut().pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Permutes the first `count` entries, if a test has asked for it.
    pub(crate) fn shuffle_batch(&self, count: usize) {
        if self.shuffle.permutes_batches() {
            let mut entries = self.entries.borrow_mut();
            self.shuffle.permute(count, |a, b| entries.swap(a, b));
        }
    }

    /// The greatest length that the queue has had.
    pub(crate) fn peak_count(&self) -> usize {
        self.peak_count.get()
    }
}

thread_local! {
    /// The queue of the loop that runs on this thread, and the id of that loop.
    static CURRENT: RefCell<Option<(LoopId, Rc<Queue>)>> = const { RefCell::new(None) };
}

/// Makes loop `id` the one that runs on this thread, until the guard is dropped. Wakes of this
/// thread then go to `queue` without the inbox.
pub(crate) fn enter(id: &LoopId, queue: &Rc<Queue>) -> Entered {
    let entered = Some((*id, Rc::clone(queue)));
    let former = CURRENT.try_with(|current| current.replace(entered)).ok().flatten();
    Entered { former, former_running: loop_id::enter(id) }
}

/// The guard of [`enter`].
#[must_use]
pub(crate) struct Entered {
    former: Option<(LoopId, Rc<Queue>)>,
    former_running: Running,
}

impl Drop for Entered {
    fn drop(&mut self) {
        loop_id::leave(self.former_running);
        let _ = CURRENT.try_with(|current| current.replace(self.former.take()));
    }
}

/// Whether loop `loop_number` runs on this thread.
pub(super) fn is_current(loop_number: u64) -> bool {
    let is_it = |current: &RefCell<Option<(LoopId, Rc<Queue>)>>| {
        current.borrow().as_ref().is_some_and(|(id, _)| id.number() == loop_number)
    };
    CURRENT.try_with(is_it).unwrap_or(false)
}

/// Pushes `ready` on the queue of loop `loop_number` if that loop runs on this thread. Returns it
/// otherwise, also while the thread-locals of the thread are destroyed.
pub(crate) fn push_if_current(loop_number: u64, ready: Ready) -> Result<(), Ready> {
    let mut ready = Some(ready);
    let _ = CURRENT.try_with(|current| {
        if let Some((id, queue)) = &*current.borrow()
            && id.number() == loop_number
        {
            queue.push(ready.take().expect("pushed once"));
        }
    });
    ready.map_or(Ok(()), Err)
}

/// A number below `count` from the sequence of the loop that runs on this thread, or 0 without one.
pub(super) fn random_below(count: usize) -> usize {
    let random = |current: &RefCell<Option<(LoopId, Rc<Queue>)>>| {
        current.borrow().as_ref().map_or(0, |(_, queue)| queue.shuffle.below(count))
    };
    CURRENT.try_with(random).unwrap_or(0)
}

/// Pushes `recheck` on the queue of the loop that runs on this thread, unless it was pushed there
/// before: on the loop with the number `pushed_to`. Returns the number of the loop, or `None` if no
/// loop runs here, so that the recheck would never run.
pub(crate) fn push_recheck(recheck: &Rc<impl Recheck + 'static>, pushed_to: u64) -> Option<u64> {
    let push = |current: &RefCell<Option<(LoopId, Rc<Queue>)>>| {
        let current = current.borrow();
        let (id, queue) = current.as_ref().filter(|(id, _)| !id.is_of_parent())?;
        if id.number() != pushed_to {
            queue.push(Ready::Recheck(Rc::clone(recheck) as Rc<dyn Recheck>));
        }
        Some(id.number())
    };
    CURRENT.try_with(push).ok().flatten()
}
