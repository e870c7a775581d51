//! The waker of the one task that may wait for something.
//!
//! **Invariant.** Clones and drops of wakers are user code, which runs while nothing is borrowed.

use std::cell::RefCell;
use std::task::Waker;

use crate::error::discard;

/// A place for one waker. The task that waited last has it.
#[derive(Default)]
pub(crate) struct WakerCell(RefCell<Option<Waker>>);

/// What [`WakerCell::wait`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a clone of a waker may have changed what the task waits for"]
pub(crate) enum Waited {
    /// The task was waiting already. No user code has run.
    Already,
    /// A clone of the waker is in the cell. The caller checks its condition once more: the clone is
    /// user code, and may have made the condition true when the cell was empty.
    Anew,
}

impl WakerCell {
    /// Keeps a clone of `waker`, unless the cell has one.
    pub(crate) fn wait(&self, waker: &Waker) -> Waited {
        if self.0.borrow().as_ref().is_some_and(|current| current.will_wake(waker)) {
            return Waited::Already;
        }
        let waker = waker.clone();
        let former = self.0.replace(Some(waker));
        drop(former);
        Waited::Anew
    }

    /// Takes the waker, to be woken or dropped.
    #[must_use = "dropping it is user code"]
    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.take()
    }
}

/// The waker of a future that was leaked while it waited. A panic of its destructor is caught, as
/// the cell may be dropped in the middle of a turn.
impl Drop for WakerCell {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            discard(waker);
        }
    }
}
