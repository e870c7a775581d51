//! The cell that passes a task's result to its `JoinHandle`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::coop;
use super::report::Report;
use crate::error::{Unhandled, panic_text};
use crate::primitives::{AtomicBool, Ordering};

/// A task's number, unique within the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TaskId(pub(super) u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A spawned task. Await it for the result; drop it to let the task run on by itself.
///
/// Dropping the handle *detaches*: the loop keeps the task alive. To end a task, call
/// [`abort`](JoinHandle::abort). A panic of a detached task reaches
/// [`on_unhandled`](crate::Builder::on_unhandled).
///
/// Cancel safe: dropping and recreating an await on `&mut handle` loses nothing.
///
/// # Panics
///
/// If it is awaited on another runtime than the task's and the task has not ended: that runtime
/// does not run meanwhile. The result of a task that has ended can be taken anywhere.
pub struct JoinHandle<T> {
    cell: Rc<JoinCell<T>>,
    abort: AbortHandle,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(cell: Rc<JoinCell<T>>, abort: AbortHandle) -> JoinHandle<T> {
        JoinHandle { cell, abort }
    }

    /// Asks the task to end. Its future is dropped in the loop's next turn, and awaiting the handle
    /// then gives [`JoinError::Cancelled`], unless the task finished first: a result wins.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// A handle that can only abort, and that may be sent to another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// Whether the result is there: awaiting the handle would not wait.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.cell.state.borrow(), JoinState::Running { .. })
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.abort.id()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        coop::leaf_anywhere(cx, |cx| self.cell.poll_result(cx.waker()))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        self.cell.is_detached.set(true);
        let state = self.cell.state.replace(JoinState::Taken);
        match state {
            JoinState::Done(result) => self.cell.discard(result),
            JoinState::Running { joiner } => {
                *self.cell.state.borrow_mut() = JoinState::Running { joiner: None };
                self.cell.reporter.drop_guarded(joiner);
            }
            JoinState::Taken => {}
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Why a task has no result.
pub enum JoinError {
    /// The task was aborted, or its runtime ended first.
    Cancelled,
    /// The task panicked, with this payload.
    Panic(PanicPayload),
}

/// What a task panicked with. `Sync`, so that a [`JoinError`] fits wherever errors go.
pub struct PanicPayload(Mutex<Box<dyn Any + Send>>);

impl PanicPayload {
    fn new(payload: Box<dyn Any + Send>) -> PanicPayload {
        PanicPayload(Mutex::new(payload))
    }

    /// The payload itself, for `std::panic::resume_unwind` or a downcast.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(panic_text(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PanicPayload({self})")
    }
}

impl JoinError {
    /// Whether the task was aborted.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, JoinError::Cancelled)
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, JoinError::Panic(_))
    }

    /// What the task panicked with, for `std::panic::resume_unwind`.
    ///
    /// # Panics
    ///
    /// If the task was cancelled instead.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self {
            JoinError::Panic(payload) => payload.into_inner(),
            JoinError::Cancelled => panic!("into_panic on a task that was cancelled"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Cancelled => f.write_str("the task was cancelled"),
            JoinError::Panic(payload) => write!(f, "the task panicked: {payload}"),
        }
    }
}

impl std::error::Error for JoinError {}

/// Aborts one task, from any thread.
#[derive(Clone)]
pub struct AbortHandle {
    header: Arc<Header>,
}

/// What is known of a task everywhere.
pub(super) struct Header {
    id: TaskId,
    is_aborted: AtomicBool,
    /// Set once, right after the task's cell exists.
    waker: OnceLock<Waker>,
    spawned_at: &'static Location<'static>,
}

impl AbortHandle {
    pub(super) fn new(id: TaskId, spawned_at: &'static Location<'static>) -> AbortHandle {
        let is_aborted = AtomicBool::new(false);
        let header = Header { id, is_aborted, waker: OnceLock::new(), spawned_at };
        AbortHandle { header: Arc::new(header) }
    }

    /// As [`JoinHandle::abort`]. The future is dropped on the loop's thread.
    pub fn abort(&self) {
        // Release: pairs with the acquire in `is_aborted`.
        self.header.is_aborted.store(true, Ordering::Release);
        if let Some(waker) = self.header.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.header.id
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.header.is_aborted.load(Ordering::Acquire)
    }

    pub(super) fn set_waker(&self, waker: Waker) {
        assert!(self.header.waker.set(waker).is_ok(), "a task has one cell");
    }

    pub(super) fn spawned_at(&self) -> &'static Location<'static> {
        self.header.spawned_at
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Where the result waits. Used on the loop's thread only.
pub(super) struct JoinCell<T> {
    state: RefCell<JoinState<T>>,
    is_detached: Cell<bool>,
    reporter: Rc<dyn Report>,
    spawned_at: &'static Location<'static>,
}

enum JoinState<T> {
    Running { joiner: Option<Waker> },
    Done(Result<T, JoinError>),
    Taken,
}

impl JoinError {
    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> JoinError {
        JoinError::Panic(PanicPayload::new(payload))
    }
}

impl<T> JoinCell<T> {
    pub(super) fn new(
        reporter: &Rc<dyn Report>,
        spawned_at: &'static Location<'static>,
    ) -> Rc<Self> {
        Rc::new(JoinCell {
            state: RefCell::new(JoinState::Running { joiner: None }),
            is_detached: Cell::new(false),
            reporter: Rc::clone(reporter),
            spawned_at,
        })
    }

    fn poll_result(&self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        let is_running = matches!(*self.state.borrow(), JoinState::Running { .. });
        let home = self.reporter.loop_id();
        if is_running && !home.is_running_here() {
            home.refuse_wait();
        }
        let waker = waker.clone(); // user code: not under the borrow
        let former = {
            let mut state = self.state.borrow_mut();
            match &mut *state {
                JoinState::Running { joiner } => joiner.replace(waker),
                JoinState::Done(_) => {
                    let JoinState::Done(result) = std::mem::replace(&mut *state, JoinState::Taken)
                    else {
                        unreachable!("matched above")
                    };
                    return Poll::Ready(result);
                }
                JoinState::Taken => panic!("a JoinHandle was polled after it gave its result"),
            }
        };
        drop(former);
        Poll::Pending
    }

    /// The task has ended. Wakes the joiner; called with nothing borrowed.
    pub(super) fn finish(&self, result: Result<T, JoinError>) {
        if self.is_detached.get() {
            return self.discard(result);
        }
        let former = self.state.replace(JoinState::Done(result));
        match former {
            JoinState::Running { joiner: Some(joiner) } => joiner.wake(),
            JoinState::Running { joiner: None } => {}
            JoinState::Done(_) | JoinState::Taken => panic!("a task ended twice"),
        }
    }

    pub(super) fn reporter(&self) -> &dyn Report {
        &*self.reporter
    }

    /// Drops a result that no caller takes. A panic is reported.
    fn discard(&self, result: Result<T, JoinError>) {
        match result {
            Err(JoinError::Panic(payload)) => {
                let (spawned_at, payload) = (self.spawned_at, payload.into_inner());
                self.reporter.report_and_drop(Unhandled::TaskPanic { spawned_at, payload });
            }
            other => self.reporter.drop_guarded(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an error of a task goes wherever errors go, and an abort comes from any thread.
    /// Method: the compiler. Kills: a payload that is not `Sync`; an `Rc` in `AbortHandle`.
    #[test]
    fn errors_and_abort_handles_are_for_every_thread() {
        fn for_every_thread<T: Send + Sync>() {}
        for_every_thread::<JoinError>();
        for_every_thread::<AbortHandle>();
        let error = std::io::Error::other(JoinError::panicked(Box::new("why")));
        assert_eq!(error.to_string(), "the task panicked: why");
    }
}
