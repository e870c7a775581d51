//! [`JoinHandle`]: awaits the result of a task.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::abort::AbortHandle;
use super::cell::JoinCell;
use super::coop;
use super::ended::Entry;
use super::identity::TaskId;
use super::join_error::JoinError;
use crate::loop_id::LoopId;

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
}

impl<T> JoinHandle<T> {
    pub(super) fn new(cell: Rc<JoinCell<T>>) -> JoinHandle<T> {
        JoinHandle { cell }
    }

    /// Ends the task. Its future is dropped in the next turn of the loop.
    ///
    /// Awaiting the handle then returns [`JoinError::Cancelled`]. If the task finished before, it
    /// returns the result.
    pub fn abort(&self) {
        self.cell.header().abort();
    }

    /// A handle that can only abort the task, and that can be sent to another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.cell.header().abort_handle()
    }

    /// Whether the task has ended, so that awaiting the handle does not wait.
    pub fn is_finished(&self) -> bool {
        self.cell.is_finished()
    }

    /// The number of the task.
    pub fn id(&self) -> TaskId {
        self.cell.header().identity().id
    }

    /// The name that [`Builder::name`](super::Builder::name) gave to the task.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let task = ringloop::task::Builder::new().name("worker").spawn(async {});
    ///     assert_eq!(task.name(), Some("worker"));
    ///     assert_eq!(ringloop::spawn(async {}).name(), None);
    /// });
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.cell.header().identity().name.as_deref()
    }

    /// The place in the program where the task was spawned.
    ///
    /// ```
    /// ringloop::run(async {
    ///     let task = ringloop::spawn(async {});
    ///     assert_eq!(task.spawned_at().line(), line!() - 1);
    /// });
    /// ```
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.cell.header().identity().spawned_at
    }

    /// The loop of the task.
    pub(super) fn loop_id(&self) -> LoopId {
        *self.cell.reporter().loop_id()
    }

    /// Records the end of the task in a set, now if it has ended.
    pub(super) fn join_set(&self, entry: Entry) {
        self.cell.join_set(entry);
    }

    /// Whether the task has ended, with a result for which `condition` holds.
    pub(super) fn has_ended_with(&self, condition: fn(&Result<T, JoinError>) -> bool) -> bool {
        self.cell.has_ended_with(condition)
    }

    /// Takes the result of a task that has ended.
    pub(super) fn take_result(&self) -> Result<T, JoinError> {
        self.cell.take_result()
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
        self.cell.detach();
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
