//! [`task_group`] and its future.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::error::{GroupError, GroupFailure};
use super::handle::TaskGroup;
use super::shared::Shared;
use crate::task::coop;

/// Runs `body` with a group of tasks, and waits until the body and all tasks of the group have
/// ended.
///
/// The body gets a [`TaskGroup`], and spawns children with it. So do children, which may have
/// clones of it, also when the body has ended. The value is that of the body.
///
/// - **First failure.** When a child or the body returns an `Err`, or a child panics, the group
///   takes no further children, and all others are aborted, the body too. When all of them have
///   ended and their locals are dropped, the group returns a [`GroupError`] with every failure.
/// - **A child that is aborted** through its handle is no failure.
/// - **[`TaskGroup::cancel`]** ends all children without a failure.
/// - **A panic of the body** aborts the children too. When they have ended, the panic goes on.
///   Panics of children are then reported to [`on_unhandled`](crate::Builder::on_unhandled).
///
/// This is asyncio's `TaskGroup` and trio's nursery, with a closure in place of the block.
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future drops the body and aborts all children, but cannot wait for
/// them. They are dropped in the next turn of the loop. A panic of one of them is then reported to
/// [`on_unhandled`](crate::Builder::on_unhandled).
///
/// # Errors
///
/// [`GroupError`] if a child or the body has failed.
///
/// # Panics
///
/// If no loop runs on this thread, and if the body panics.
///
/// ```
/// use ringloop::task::GroupError;
/// use ringloop::time::sleep;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let sum: Result<u32, GroupError<&str>> = ringloop::task_group(async |g| {
///         let one = g.spawn(async { Ok(1) });
///         let two = g.spawn(async { Ok(2) });
///         Ok(one.await.unwrap() + two.await.unwrap())
///     })
///     .await;
///     assert_eq!(sum.unwrap(), 3);
///
///     let failed: Result<(), GroupError<&str>> = ringloop::task_group(async |g| {
///         g.spawn(async { Err::<(), _>("no route") });
///         sleep(Duration::from_secs(3600)).await; // dropped when the child fails
///         Ok(())
///     })
///     .await;
///     assert_eq!(failed.unwrap_err().into_error(), "no route");
/// });
/// ```
pub async fn task_group<T, E, Body>(body: Body) -> Result<T, GroupError<E>>
where
    Body: AsyncFnOnce(TaskGroup<E>) -> Result<T, E>,
    E: 'static,
{
    let shared = Rc::new(Shared::new());
    let group = TaskGroup::new(Rc::clone(&shared));
    RunGroup { body: Some(body(group)), value: None, panic: None, shared, is_done: false }.await
}

pin_project! {
    /// Polls the body, then waits for the children.
    struct RunGroup<Body, T, E> {
        #[pin]
        body: Option<Body>,
        value: Option<T>,
        // The payload of a panic of the body.
        panic: Option<Box<dyn Any + Send>>,
        shared: Rc<Shared<E>>,
        is_done: bool,
    }

    impl<Body, T, E> PinnedDrop for RunGroup<Body, T, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !*this.is_done {
                this.shared.abandon();
            }
        }
    }
}

impl<Body, T, E> RunGroup<Body, T, E>
where
    Body: Future<Output = Result<T, E>>,
{
    /// Polls the body, unless the group has failed, and drops it when it has ended.
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return };
        if !this.shared.has_failed() {
            match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
                // A failure may have come from within the poll.
                Ok(Poll::Pending) if !this.shared.has_failed() => return,
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(Ok(value))) => *this.value = Some(value),
                Ok(Poll::Ready(Err(error))) => {
                    this.shared.leave_body(); // it need not be dropped by a further poll
                    this.shared.fail(GroupFailure::Error(error));
                }
                Err(payload) => *this.panic = Some(payload),
            }
        }
        this.shared.leave_body();
        let dropped = catch_unwind(AssertUnwindSafe(|| this.body.set(None)));
        if let Err(payload) = dropped {
            match this.panic {
                None => *this.panic = Some(payload),
                Some(_) => this.shared.report_drop_panic(payload),
            }
        }
        if this.panic.is_some() {
            this.shared.stop();
        }
    }
}

impl<Body, T, E> Future for RunGroup<Body, T, E>
where
    Body: Future<Output = Result<T, E>>,
{
    type Output = Result<T, GroupError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.shared.set_group_waker(cx.waker());
        self.as_mut().poll_body(cx);
        let this = self.project();
        if this.body.is_some() {
            return Poll::Pending;
        }
        let ended = coop::leaf_anywhere(cx, |_| match this.shared.children_count() {
            0 => Poll::Ready(this.shared.end()),
            _ => Poll::Pending,
        });
        ended.map(|failures| {
            *this.is_done = true;
            if let Some(payload) = this.panic.take() {
                failures.into_iter().for_each(|failure| this.shared.report(failure));
                resume_unwind(payload);
            }
            if failures.is_empty() {
                Ok(this.value.take().expect("a body that has ended without a failure has a value"))
            } else {
                Err(GroupError::new(failures))
            }
        })
    }
}
