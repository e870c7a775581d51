//! A child of a group: its future and its handle.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::shared::Membership;
use crate::task::abort::AbortHandle;
use crate::task::identity::TaskId;
use crate::task::join::JoinHandle;
use crate::task::join_error::JoinError;

pin_project! {
    /// The future of a child. It passes errors and panics to the group, also those of destructors,
    /// and leaves the group when its locals have been dropped.
    pub(super) struct Child<F, E> {
        #[pin]
        future: Option<F>,
        membership: Membership<E>,
    }

    impl<F, E> PinnedDrop for Child<F, E> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| this.future.set(None))) {
                this.membership.panic(payload);
            }
        }
    }
}

impl<F, E> Child<F, E> {
    pub(super) fn new(future: F, membership: Membership<E>) -> Child<F, E> {
        Child { future: Some(future), membership }
    }
}

impl<F, V, E> Future for Child<F, E>
where
    F: Future<Output = Result<V, E>>,
{
    /// `None` if the child has failed.
    type Output = Option<V>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<V>> {
        let this = self.project();
        let future = this.future.as_pin_mut().expect("polled after it was dropped");
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(value))) => return Poll::Ready(Some(value)),
            Ok(Poll::Ready(Err(error))) => this.membership.fail(error),
            Err(payload) => this.membership.panic(payload),
        }
        Poll::Ready(None)
    }
}

/// A handle to a child of a [`task_group`](crate::task_group). Awaiting it returns the child's
/// value.
///
/// Dropping the handle changes nothing: the group owns the child. A child that is aborted through
/// it is not a failure of the group.
///
/// # Cancel safety
///
/// Cancel safe: dropping and recreating an await on `&mut handle` loses nothing.
///
/// # Errors
///
/// [`JoinError::Cancelled`] if the child has no value, because it was aborted or has failed. Its
/// error or panic is in the group's [`GroupError`](super::error::GroupError).
///
/// ```
/// use ringloop::task::GroupError;
///
/// ringloop::run(async {
///     let result: Result<u32, GroupError<()>> = ringloop::task_group(async |g| {
///         let child = g.spawn(async { Ok(20) });
///         let endless = g.spawn(std::future::pending::<Result<(), ()>>());
///         endless.abort();
///         assert!(endless.await.unwrap_err().is_cancelled());
///         Ok(child.await.unwrap() + 1)
///     })
///     .await;
///     assert_eq!(result.unwrap(), 21);
/// });
/// ```
pub struct ChildHandle<V> {
    /// The handle of the task, or none if the group was closed.
    task: JoinHandle<Option<V>>,
}

impl<V> ChildHandle<V> {
    pub(super) fn new(task: JoinHandle<Option<V>>) -> ChildHandle<V> {
        ChildHandle { task }
    }

    /// Ends the child. Its future is dropped in the next turn of the loop.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// A handle that can only abort the child, and that can be sent to another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.task.abort_handle()
    }

    /// Whether the child has ended, so that awaiting the handle does not wait.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The number of the child's task.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }
}

impl<V> Future for ChildHandle<V> {
    type Output = Result<V, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<V, JoinError>> {
        let ended = Pin::new(&mut self.task).poll(cx);
        ended.map(|result| result?.ok_or(JoinError::Cancelled))
    }
}

impl<V> fmt::Debug for ChildHandle<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildHandle")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
