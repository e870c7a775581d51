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

/// The number of a task, unique within the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TaskId(pub(super) u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A handle to a spawned task. Awaiting it returns the result of the task.
///
/// Dropping the handle *detaches* the task: it runs on, and a panic of it is reported to
/// [`on_unhandled`](crate::Builder::on_unhandled). [`abort`](JoinHandle::abort) ends a task. These
/// are the semantics of tokio's `JoinHandle`.
///
/// # Cancel safety
///
/// Cancel safe: dropping and recreating an await on `&mut handle` loses nothing.
///
/// # Errors
///
/// [`JoinError`] if the task panicked or was aborted.
///
/// # Panics
///
/// If it is awaited on another runtime while the task has not ended: the runtime of the task does
/// not run meanwhile. The result of a task that has ended can be taken anywhere.
///
/// ```
/// ringloop::run(async {
///     let task = ringloop::spawn(async { 6 * 7 });
///     assert_eq!(task.await.unwrap(), 42);
///
///     let task = ringloop::spawn(std::future::pending::<()>());
///     task.abort();
///     assert!(task.await.unwrap_err().is_cancelled());
/// });
/// ```
pub struct JoinHandle<T> {
    cell: Rc<JoinCell<T>>,
    abort: AbortHandle,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(cell: Rc<JoinCell<T>>, abort: AbortHandle) -> JoinHandle<T> {
        JoinHandle { cell, abort }
    }

    /// Ends the task. Its future is dropped in the next turn of the loop.
    ///
    /// Awaiting the handle then returns [`JoinError::Cancelled`]. If the task finished before, it
    /// returns the result.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// A handle that can only abort the task, and that can be sent to another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// Whether the task has ended, so that awaiting the handle does not wait.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.cell.state.borrow(), JoinState::Running { .. })
    }

    /// The number of the task.
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

/// The error of a task that has no result.
pub enum JoinError {
    /// The task was aborted, or its runtime ended before it.
    Cancelled,
    /// The task panicked, with this payload.
    Panic(PanicPayload),
}

/// The payload of a panic. It is `Sync`, so that a [`JoinError`] converts to boxed errors of all
/// kinds.
pub struct PanicPayload(Mutex<Box<dyn Any + Send>>);

impl PanicPayload {
    fn new(payload: Box<dyn Any + Send>) -> PanicPayload {
        PanicPayload(Mutex::new(payload))
    }

    /// The payload, for `std::panic::resume_unwind` or a downcast.
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

    /// The payload of the panic, for `std::panic::resume_unwind`.
    ///
    /// # Panics
    ///
    /// If the task was cancelled and did not panic.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self {
            JoinError::Panic(payload) => payload.into_inner(),
            JoinError::Cancelled => {
                panic!("JoinError::into_panic: the task was cancelled and did not panic")
            }
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

/// A handle that aborts one task, from any thread.
#[derive(Clone)]
pub struct AbortHandle {
    header: Arc<Header>,
}

/// The part of a task that all threads may use.
pub(super) struct Header {
    id: TaskId,
    is_aborted: AtomicBool,
    /// Set once, right after the cell of the task was made.
    waker: OnceLock<Waker>,
    spawned_at: &'static Location<'static>,
}

impl AbortHandle {
    pub(super) fn new(id: TaskId, spawned_at: &'static Location<'static>) -> AbortHandle {
        let is_aborted = AtomicBool::new(false);
        let header = Header { id, is_aborted, waker: OnceLock::new(), spawned_at };
        AbortHandle { header: Arc::new(header) }
    }

    /// Ends the task, like [`JoinHandle::abort`]. The future is dropped on the loop's thread.
    pub fn abort(&self) {
        // Release: pairs with the acquire in `is_aborted`.
        self.header.is_aborted.store(true, Ordering::Release);
        if let Some(waker) = self.header.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The number of the task.
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

/// The cell for the result of a task. Used on the loop's thread only.
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
                JoinState::Taken => {
                    panic!("a JoinHandle was polled after it had returned its result")
                }
            }
        };
        drop(former);
        Poll::Pending
    }

    /// Stores the result and wakes the joiner. Call with no `RefCell` borrowed.
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

    /// Goal: the error of a task converts to boxed errors of all kinds, and any thread can abort.
    ///
    /// Method: the compiler.
    ///
    /// Kills: a payload that is not `Sync`; an `Rc` in `AbortHandle`.
    #[test]
    fn errors_and_abort_handles_are_for_every_thread() {
        fn for_every_thread<T: Send + Sync>() {}
        for_every_thread::<JoinError>();
        for_every_thread::<AbortHandle>();
        let error = std::io::Error::other(JoinError::panicked(Box::new("why")));
        assert_eq!(error.to_string(), "the task panicked: why");
    }
}
