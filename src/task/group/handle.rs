//! [`TaskGroup`]: the handle with which children are spawned.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::child::{Child, ChildHandle};
use super::error::GroupClosed;
use super::shared::{Membership, Shared};
use crate::sync::wait_list::WaiterId;
use crate::task::coop;
use crate::task::executor::is_large;

/// The group of a [`task_group`](crate::task_group). Clones are the same group.
///
/// A clone that outlives the group takes no children.
pub struct TaskGroup<E> {
    shared: Rc<Shared<E>>,
}

impl<E: 'static> TaskGroup<E> {
    pub(super) fn new(shared: Rc<Shared<E>>) -> TaskGroup<E> {
        TaskGroup { shared }
    }

    /// Spawns a child, which runs from the next turn on.
    ///
    /// An `Err` or a panic of the child ends the group. Its value goes to the handle, which may be
    /// dropped. If the group has failed, was cancelled or has ended, the future is dropped, and the
    /// handle returns [`Cancelled`](crate::JoinError::Cancelled);
    /// [`try_spawn`](TaskGroup::try_spawn) returns the future instead. This is asyncio's
    /// `TaskGroup.create_task`.
    ///
    /// ```
    /// use ringloop::task::GroupError;
    ///
    /// ringloop::run(async {
    ///     let result: Result<(), GroupError<()>> = ringloop::task_group(async |g| {
    ///         let parent = g.clone();
    ///         g.spawn(async move {
    ///             parent.spawn(async { Ok(()) }); // a child of the same group
    ///             Ok(())
    ///         });
    ///         Ok(())
    ///     })
    ///     .await;
    ///     assert!(result.is_ok());
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F, V>(&self, future: F) -> ChildHandle<V>
    where
        F: Future<Output = Result<V, E>> + 'static,
        V: 'static,
    {
        self.try_spawn(future).unwrap_or_else(|GroupClosed { .. }| {
            ChildHandle::new(self.shared.executor().spawn(async { None }, Location::caller()))
        })
    }

    /// Spawns a child, or returns its future if the group takes no children.
    ///
    /// Otherwise like [`spawn`](TaskGroup::spawn).
    ///
    /// # Errors
    ///
    /// [`GroupClosed`], with the future, if the group has failed, was cancelled or has ended.
    ///
    /// ```
    /// use ringloop::task::GroupError;
    ///
    /// ringloop::run(async {
    ///     let result: Result<(), GroupError<()>> = ringloop::task_group(async |g| {
    ///         g.cancel();
    ///         let refused = g.try_spawn(async { Ok(7) }).unwrap_err();
    ///         assert_eq!(refused.into_future().await, Ok(7));
    ///         Ok(())
    ///     })
    ///     .await;
    ///     assert!(result.is_ok());
    /// });
    /// ```
    #[track_caller]
    pub fn try_spawn<F, V>(&self, future: F) -> Result<ChildHandle<V>, GroupClosed<F>>
    where
        F: Future<Output = Result<V, E>> + 'static,
        V: 'static,
    {
        // In the table before it is a task, so that it cannot end before it is in it.
        match self.shared.admit() {
            None => Err(GroupClosed::new(future)),
            Some(index) if const { is_large::<F>() } => {
                Ok(self.spawn_small(Box::pin(future), index))
            }
            Some(index) => Ok(self.spawn_small(future, index)),
        }
    }

    #[track_caller]
    fn spawn_small<F, V>(&self, future: F, index: usize) -> ChildHandle<V>
    where
        F: Future<Output = Result<V, E>> + 'static,
        V: 'static,
    {
        let spawned_at = Location::caller();
        let membership = Membership::new(Rc::clone(&self.shared), index, spawned_at);
        let task = self.shared.executor().spawn(Child::new(future, membership), spawned_at);
        self.shared.set_task(index, task.abort_handle());
        ChildHandle::new(task)
    }

    /// Aborts all children, without a failure. The group takes no children after that.
    ///
    /// The body runs on, because the value of the group is its value: a body that waits for
    /// something else may wait for [`closed`](TaskGroup::closed) beside it. A child that returns an
    /// error in the same poll still fails the group. This is the `TaskGroup.cancel` of asyncio,
    /// except that the body is not cancelled.
    ///
    /// ```
    /// use ringloop::task::GroupError;
    ///
    /// ringloop::run(async {
    ///     let result: Result<&str, GroupError<()>> = ringloop::task_group(async |g| {
    ///         g.spawn(std::future::pending::<Result<(), ()>>());
    ///         let group = g.clone();
    ///         g.spawn(async move {
    ///             group.cancel();
    ///             Ok(())
    ///         });
    ///         g.closed().await;
    ///         Ok("cancelled")
    ///     })
    ///     .await;
    ///     assert_eq!(result.unwrap(), "cancelled");
    /// });
    /// ```
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Waits until the group takes no children any more: until it is cancelled, fails or ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    pub async fn closed(&self) {
        Closed { shared: &self.shared, waiter_id: WaiterId::default() }.await;
    }

    /// Whether the group takes no children any more, because it was cancelled, has failed or has
    /// ended.
    pub fn is_closed(&self) -> bool {
        !self.shared.is_open()
    }

    /// The number of children that have not ended.
    pub fn len(&self) -> usize {
        self.shared.children_count()
    }

    /// Whether all children have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> TaskGroup<E> {
        TaskGroup { shared: Rc::clone(&self.shared) }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("len", &self.shared.children_count())
            .field("is_closed", &!self.shared.is_open())
            .finish()
    }
}

/// The future of [`TaskGroup::closed`].
struct Closed<'a, E> {
    shared: &'a Shared<E>,
    waiter_id: WaiterId,
}

impl<E> Future for Closed<'_, E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Closed { shared, waiter_id } = &mut *self;
        coop::leaf_anywhere(cx, |cx| shared.poll_closed(waiter_id, cx))
    }
}

impl<E> Drop for Closed<'_, E> {
    fn drop(&mut self) {
        self.shared.leave_closed(&mut self.waiter_id);
    }
}
