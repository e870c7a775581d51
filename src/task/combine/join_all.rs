//! [`join_all`] and [`try_join_all`]: all of any number of futures.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::children::Children;
use crate::task::coop;

/// Waits for all of any number of futures, and returns their outputs in the order of the futures.
///
/// The futures run concurrently within the task of the caller. They need not be `'static` and may
/// borrow. A future is polled only when it was woken, so 10 000 of them cost no more for each wake
/// than one. Each is boxed. This is futures' `join_all`, and asyncio's
/// `gather(return_exceptions=True)` for futures that return a `Result`.
///
/// The futures are polled in the order of their wakes. When the budget of the task's poll is spent,
/// the rest is polled in the next turn.
///
/// # Cancel safety
///
/// Dropping the future drops all futures. Outputs of those that have ended are lost.
///
/// ```
/// use ringloop::task::{join_all, yield_now};
///
/// ringloop::run(async {
///     let squares = join_all((0..3).map(|number| async move {
///         yield_now().await;
///         number * number
///     }));
///     assert_eq!(squares.await, [0, 1, 4]);
/// });
/// ```
pub fn join_all<I>(futures: I) -> JoinAll<I::Item>
where
    I: IntoIterator,
    I::Item: Future,
{
    let children = Children::new(futures);
    let outputs = (0..children.running_count()).map(|_| None).collect();
    JoinAll { children, outputs: Some(outputs) }
}

/// The future of [`join_all`].
///
/// # Panics
///
/// If it is polled after it has returned.
#[must_use = "a join does nothing unless it is awaited"]
pub struct JoinAll<F: Future> {
    children: Children<F>,
    /// By index, until they are returned.
    outputs: Option<Vec<Option<F::Output>>>,
}

/// Futures are pinned by their boxes, and outputs are not pinned.
impl<F: Future> Unpin for JoinAll<F> {}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let JoinAll { children, outputs } = self.get_mut();
        coop::combinator(cx, |cx| {
            let slots = outputs.as_mut().expect("JoinAll was polled after it had returned");
            let polled = children.poll_woken(cx, |index, output| {
                slots[index] = Some(output);
                ControlFlow::<()>::Continue(())
            });
            polled.map(|_| in_order(outputs.take()))
        })
    }
}

/// Waits for all of any number of futures, or for the first error.
///
/// Returns the values in the order of the futures, or the first `Err` at once. The other futures
/// are dropped then, which cancels them; in [`gather`](crate::gather) they run on. This is futures'
/// `try_join_all`. Otherwise like [`join_all`].
///
/// # Cancel safety
///
/// Dropping the future, or an error, drops all futures. Outputs of those that have ended are lost.
///
/// # Errors
///
/// The error of the first future that has failed.
///
/// ```
/// use ringloop::task::try_join_all;
///
/// async fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
///     text.parse()
/// }
///
/// ringloop::run(async {
///     assert_eq!(try_join_all(["6", "7"].map(parse)).await, Ok(vec![6, 7]));
///     assert!(try_join_all(["6", "seven"].map(parse)).await.is_err());
/// });
/// ```
pub fn try_join_all<I, T, E>(futures: I) -> TryJoinAll<I::Item, T>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>>,
{
    let children = Children::new(futures);
    let values = (0..children.running_count()).map(|_| None).collect();
    TryJoinAll { children, values: Some(values) }
}

/// The future of [`try_join_all`].
///
/// # Panics
///
/// If it is polled after it has returned.
#[must_use = "a join does nothing unless it is awaited"]
pub struct TryJoinAll<F, T> {
    children: Children<F>,
    /// By index, until they are returned.
    values: Option<Vec<Option<T>>>,
}

/// Futures are pinned by their boxes, and values are not pinned.
impl<F, T> Unpin for TryJoinAll<F, T> {}

impl<F, T, E> Future for TryJoinAll<F, T>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let TryJoinAll { children, values } = self.get_mut();
        coop::combinator(cx, |cx| {
            let slots = values.as_mut().expect("TryJoinAll was polled after it had returned");
            let polled = children.poll_woken(cx, |index, output| match output {
                Ok(value) => {
                    slots[index] = Some(value);
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            });
            polled.map(|error| match error {
                None => Ok(in_order(values.take())),
                Some(error) => {
                    *values = None;
                    children.clear();
                    Err(error)
                }
            })
        })
    }
}

/// The outputs of futures that have all ended.
fn in_order<T>(outputs: Option<Vec<Option<T>>>) -> Vec<T> {
    let outputs = outputs.into_iter().flatten();
    outputs.map(|output| output.expect("all futures have ended")).collect()
}

impl<F: Future> fmt::Debug for JoinAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAll").field("running", &self.children.running_count()).finish()
    }
}

impl<F: Future, T> fmt::Debug for TryJoinAll<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryJoinAll").field("running", &self.children.running_count()).finish()
    }
}
