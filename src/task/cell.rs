//! The cell of a task: what the task, its `JoinHandle` and the loop share.
//!
//! ```text
//!             poll_result: waker stored          finish                    poll_result
//!   Running ◀───────────────────────────┐   Running ────────▶ Done(result) ────────────▶ Taken
//!      └────────────────────────────────┘      │                  │
//!                                              │ detached         │ detach
//!                                              ▼                  ▼
//!                                    result discarded: a panic is reported, the rest is dropped
//! ```
//!
//! **Invariant.** Cells are used on the loop's thread only. Other threads have an [`AbortHandle`].

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::abort::AbortHandle;
use super::ended::Entry;
use super::identity::Identity;
use super::join_error::JoinError;
use super::report::Report;
use crate::error::Unhandled;

/// The part of a cell that does not depend on the type of the result.
pub(super) struct Header {
    identity: Identity,
    polls: Cell<u64>,
    is_aborted: Cell<bool>,
    /// Wakes the task. Set once, when the future has been given its cell of `async-task`. In the
    /// cell of a blocking job it removes the job from its queue.
    waker: OnceCell<Waker>,
    /// The handle that other threads have copies of. Made when the program asks for it.
    abort_handle: OnceCell<AbortHandle>,
}

impl Header {
    fn new(identity: Identity) -> Header {
        Header {
            identity,
            polls: Cell::new(0),
            is_aborted: Cell::new(false),
            waker: OnceCell::new(),
            abort_handle: OnceCell::new(),
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The number of times that the task has been polled.
    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }

    pub(super) fn count_poll(&self) {
        self.polls.set(self.polls.get() + 1);
    }

    pub(super) fn set_waker(&self, waker: Waker) {
        assert!(self.waker.set(waker).is_ok(), "a task has one waker");
    }

    /// Marks the task as aborted and wakes it.
    pub(super) fn abort(&self) {
        self.is_aborted.set(true);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn abort_handle(&self) -> AbortHandle {
        let new = || AbortHandle::new(self.identity.id, self.waker.get().cloned());
        self.abort_handle.get_or_init(new).clone()
    }

    /// Whether this thread or another one has aborted the task.
    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.get() || self.abort_handle.get().is_some_and(AbortHandle::is_aborted)
    }
}

/// The cell of a task with a result of type `T`.
pub(super) struct JoinCell<T> {
    header: Header,
    state: RefCell<JoinState<T>>,
    is_detached: Cell<bool>,
    reporter: Rc<dyn Report>,
}

enum JoinState<T> {
    Running { joiner: Option<Joiner> },
    Done(Result<T, JoinError>),
    Taken,
}

/// What is informed of the end of a task.
enum Joiner {
    /// The task that awaits the handle.
    Task(Waker),
    /// The set that has the handle.
    Set(Entry),
}

impl Joiner {
    fn inform(self) {
        match self {
            Joiner::Task(waker) => waker.wake(),
            Joiner::Set(entry) => entry.record(),
        }
    }
}

impl<T> JoinCell<T> {
    pub(super) fn new(reporter: &Rc<dyn Report>, identity: Identity) -> Rc<JoinCell<T>> {
        Rc::new(JoinCell {
            header: Header::new(identity),
            state: RefCell::new(JoinState::Running { joiner: None }),
            is_detached: Cell::new(false),
            reporter: Rc::clone(reporter),
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn reporter(&self) -> &dyn Report {
        &*self.reporter
    }

    pub(super) fn is_finished(&self) -> bool {
        !matches!(*self.state.borrow(), JoinState::Running { .. })
    }

    /// Takes the result, or stores a clone of `waker`, which is woken when there is one.
    ///
    /// # Panics
    ///
    /// If the result has been taken, and if the task has not ended and its loop does not run here.
    pub(super) fn poll_result(&self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        if self.is_finished() {
            return Poll::Ready(self.take_result());
        }
        let home = self.reporter.loop_id();
        if !home.is_running_here() {
            home.refuse_wait();
        }
        let waker = waker.clone(); // user code: not under the borrow
        let former = match &mut *self.state.borrow_mut() {
            JoinState::Running { joiner } => joiner.replace(Joiner::Task(waker)),
            JoinState::Done(_) | JoinState::Taken => unreachable!("no task runs in a clone"),
        };
        drop(former);
        Poll::Pending
    }

    /// Records the end of the task in a set, now if it has ended.
    pub(super) fn join_set(&self, entry: Entry) {
        if self.is_finished() {
            return entry.record();
        }
        let former = match &mut *self.state.borrow_mut() {
            JoinState::Running { joiner } => joiner.replace(Joiner::Set(entry)),
            JoinState::Done(_) | JoinState::Taken => unreachable!("checked above"),
        };
        drop(former);
    }

    /// Whether the task has ended, with a result for which `condition` holds.
    pub(super) fn has_ended_with(&self, condition: fn(&Result<T, JoinError>) -> bool) -> bool {
        matches!(&*self.state.borrow(), JoinState::Done(result) if condition(result))
    }

    /// Takes the result of a task that has ended.
    ///
    /// # Panics
    ///
    /// If it has been taken.
    pub(super) fn take_result(&self) -> Result<T, JoinError> {
        match self.state.replace(JoinState::Taken) {
            JoinState::Done(result) => result,
            JoinState::Taken => panic!("a JoinHandle was polled after it had returned its result"),
            JoinState::Running { .. } => unreachable!("the caller has seen the end of the task"),
        }
    }

    /// Stores the result and wakes the joiner. Call with no `RefCell` borrowed.
    pub(super) fn finish(&self, result: Result<T, JoinError>) {
        if self.is_detached.get() {
            return self.discard(result);
        }
        let former = self.state.replace(JoinState::Done(result));
        match former {
            JoinState::Running { joiner: Some(joiner) } => joiner.inform(),
            JoinState::Running { joiner: None } => {}
            JoinState::Done(_) | JoinState::Taken => panic!("a task ended twice"),
        }
    }

    /// Marks the result as one that no caller takes. Call with no `RefCell` borrowed.
    pub(super) fn detach(&self) {
        self.is_detached.set(true);
        let state = self.state.replace(JoinState::Taken);
        match state {
            JoinState::Done(result) => self.discard(result),
            JoinState::Running { joiner } => {
                *self.state.borrow_mut() = JoinState::Running { joiner: None };
                self.reporter.drop_guarded(joiner);
            }
            JoinState::Taken => {}
        }
    }

    /// Drops a result that no caller takes. A panic is reported.
    fn discard(&self, result: Result<T, JoinError>) {
        match result {
            Err(JoinError::Panic(payload)) => {
                let Identity { id: _, name, spawned_at } = self.header.identity.clone();
                let payload = payload.into_inner();
                let panic = Unhandled::TaskPanic { name, spawned_at, payload };
                self.reporter.report_and_drop(panic);
            }
            other => self.reporter.drop_guarded(other),
        }
    }
}

/// A cell whose result has any type, for the table of live tasks.
pub(super) trait AnyCell {
    fn header(&self) -> &Header;
}

impl<T> AnyCell for JoinCell<T> {
    fn header(&self) -> &Header {
        &self.header
    }
}
