//! What the handles, the children and the future of a group share.

use std::any::Any;
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::error::GroupFailure;
use super::state::{Closing, FailOutcome, LeaveOutcome, State};
use crate::error::Unhandled;
use crate::sync::wait_list::{WaiterId, wait_in};
use crate::sync::waker_cell::WakerCell;
use crate::sync::waking::wake_each;
use crate::task::abort::AbortHandle;
use crate::task::current;
use crate::task::executor::Executor;
use crate::task::join_error::PanicPayload;

/// The state of a group, and who performs its effects. Nothing is borrowed while wakers are woken
/// or values of the program are dropped.
pub(super) struct Shared<E> {
    state: RefCell<State<E>>,
    /// The task that awaits the group.
    group_waker: WakerCell,
    executor: Rc<Executor>,
}

impl<E> Shared<E> {
    #[track_caller]
    pub(super) fn new() -> Shared<E> {
        let executor = current::executor();
        Shared { state: RefCell::new(State::new()), group_waker: WakerCell::default(), executor }
    }

    pub(super) fn executor(&self) -> &Executor {
        &self.executor
    }

    pub(super) fn admit(&self) -> Option<usize> {
        self.state.borrow_mut().admit()
    }

    pub(super) fn set_task(&self, index: usize, task: AbortHandle) {
        self.state.borrow_mut().set_task(index, task);
    }

    pub(super) fn leave(&self, index: usize) {
        let outcome = self.state.borrow_mut().leave(index);
        match outcome {
            LeaveOutcome::WakesGroup => self.wake_group(),
            LeaveOutcome::Nothing => {}
        }
    }

    pub(super) fn leave_body(&self) {
        self.state.borrow_mut().leave_body();
    }

    pub(super) fn fail(&self, failure: GroupFailure<E>) {
        let outcome = self.state.borrow_mut().fail(failure);
        match outcome {
            FailOutcome::First { closing, wakes_group } => {
                if wakes_group {
                    self.wake_group();
                }
                perform(closing);
            }
            FailOutcome::Further => {}
            FailOutcome::TooLate(failure) => self.report(failure),
        }
    }

    pub(super) fn stop(&self) {
        let closing = self.state.borrow_mut().stop();
        perform(closing);
    }

    pub(super) fn cancel(&self) {
        let closing = self.state.borrow_mut().cancel();
        perform(closing);
    }

    pub(super) fn end(&self) -> Vec<GroupFailure<E>> {
        let (closing, failures) = self.state.borrow_mut().end();
        perform(closing);
        failures
    }

    pub(super) fn abandon(&self) {
        let (closing, failures) = self.state.borrow_mut().abandon();
        perform(closing);
        failures.into_iter().for_each(|failure| self.report(failure));
    }

    /// Reports a panic that the group does not return. An error is dropped.
    pub(super) fn report(&self, failure: GroupFailure<E>) {
        let reporter = self.executor.reporter();
        match failure {
            GroupFailure::Error(error) => reporter.drop_guarded(error),
            GroupFailure::Panic { payload, spawned_at } => {
                let (name, payload) = (None, payload.into_inner());
                reporter.report_and_drop(Unhandled::TaskPanic { name, spawned_at, payload });
            }
        }
    }

    /// Reports the panic of a destructor that follows another panic.
    pub(super) fn report_drop_panic(&self, payload: Box<dyn Any + Send>) {
        self.executor.reporter().report_and_drop(Unhandled::DropPanic { payload });
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.borrow().is_open()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state.borrow().has_failed()
    }

    pub(super) fn children_count(&self) -> usize {
        self.state.borrow().children_count()
    }

    /// Makes the task of `waker` the one that awaits the group. Cloning the waker is user code, so
    /// the caller looks at the state after this.
    pub(super) fn set_group_waker(&self, waker: &Waker) {
        let _ = self.group_waker.wait(waker);
    }

    fn wake_group(&self) {
        if let Some(waker) = self.group_waker.take() {
            waker.wake();
        }
    }

    pub(super) fn poll_closed(&self, waiter_id: &mut WaiterId, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_open() {
            wait_in(&self.state, State::closed_waiters, waiter_id, cx.waker());
        }
        // Again, because the clone of the waker is user code.
        if self.is_open() { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(super) fn leave_closed(&self, waiter_id: &mut WaiterId) {
        let waker = self.state.borrow_mut().closed_waiters().leave(waiter_id);
        drop(waker); // after the borrow
    }
}

fn perform(closing: Closing) {
    let Closing { children, waiters } = closing;
    children.iter().for_each(AbortHandle::abort);
    wake_each(waiters);
}

/// The place of a child in its group. Dropping it is the end of the child.
pub(super) struct Membership<E> {
    shared: Rc<Shared<E>>,
    index: usize,
    spawned_at: &'static Location<'static>,
}

impl<E> Membership<E> {
    pub(super) fn new(
        shared: Rc<Shared<E>>,
        index: usize,
        spawned_at: &'static Location<'static>,
    ) -> Membership<E> {
        Membership { shared, index, spawned_at }
    }

    pub(super) fn fail(&self, error: E) {
        self.shared.fail(GroupFailure::Error(error));
    }

    pub(super) fn panic(&self, payload: Box<dyn Any + Send>) {
        let (payload, spawned_at) = (PanicPayload::new(payload), self.spawned_at);
        self.shared.fail(GroupFailure::Panic { payload, spawned_at });
    }
}

impl<E> Drop for Membership<E> {
    fn drop(&mut self) {
        self.shared.leave(self.index);
    }
}
