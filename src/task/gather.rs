//! [`gather`]: the results of several tasks, in the order of their handles.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::coop;
use super::handle_set::HandleSet;
use super::join::JoinHandle;
use super::join_error::JoinError;

/// Waits for several tasks, and returns their values in the order of the handles.
///
/// The first task that panicked or was aborted ends the gather at once, with its error. The other
/// tasks *run on*, detached: a later panic of one of them is reported to
/// [`on_unhandled`](crate::Builder::on_unhandled). Dropping a gather that has not ended aborts all
/// tasks. These are the semantics of asyncio's `gather`. Tasks that return a `Result` have
/// [`gather_results`].
///
/// # Which combinator
///
/// | | runs | at the first error | at its drop |
/// |---|---|---|---|
/// | [`gather`] | tasks | returns; the others run on | aborts all |
/// | [`try_join_all`], [`try_join!`] | futures | returns; drops the others | drops all |
/// | [`JoinSet`](crate::task::JoinSet) | tasks | returns it as one result of many | aborts all |
///
/// [`try_join_all`]: crate::task::try_join_all
/// [`try_join!`]: crate::try_join
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future aborts the tasks. To keep them, await `&mut gather`.
///
/// # Errors
///
/// The [`JoinError`] of the first task that has failed, in the order in which the tasks end.
///
/// # Panics
///
/// If it is awaited on another loop than that of the tasks, while they run. If it is polled after
/// it has returned.
///
/// ```
/// use ringloop::{gather, spawn};
/// use ringloop::task::yield_now;
///
/// ringloop::run(async {
///     let slow = spawn(async {
///         yield_now().await;
///         "slow"
///     });
///     let fast = spawn(async { "fast" });
///     assert_eq!(gather([slow, fast]).await.unwrap(), ["slow", "fast"]);
/// });
/// ```
pub fn gather<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Gather<T> {
    Gather { tasks: Gathered::new(handles) }
}

/// Waits for several tasks that return a `Result`, and returns their values in the order of the
/// handles.
///
/// An `Err` of a task ends the gather as a panic does. Otherwise like [`gather`].
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future aborts the tasks. To keep them, await `&mut gather`.
///
/// # Errors
///
/// [`GatherError`], for the first task that has failed, in the order in which the tasks end.
///
/// ```
/// use ringloop::spawn;
/// use ringloop::task::{GatherError, gather_results};
///
/// ringloop::run(async {
///     let numbers = ["6", "seven"].map(|text| spawn(async move { text.parse::<u32>() }));
///     let error = gather_results(numbers).await.unwrap_err();
///     assert!(matches!(error, GatherError::Failed(_)), "{error}");
/// });
/// ```
pub fn gather_results<T, E>(
    handles: impl IntoIterator<Item = JoinHandle<Result<T, E>>>,
) -> GatherResults<T, E> {
    GatherResults { tasks: Gathered::new(handles) }
}

/// The future of [`gather`].
#[must_use = "a gather that is dropped aborts its tasks"]
pub struct Gather<T> {
    tasks: Gathered<T, T>,
}

impl<T> Future for Gather<T> {
    type Output = Result<Vec<T>, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let tasks = &mut self.get_mut().tasks;
        coop::leaf_anywhere(cx, |cx| tasks.poll_values(cx, |result| result))
    }
}

/// The future of [`gather_results`].
#[must_use = "a gather that is dropped aborts its tasks"]
pub struct GatherResults<T, E> {
    tasks: Gathered<Result<T, E>, T>,
}

impl<T, E> Future for GatherResults<T, E> {
    type Output = Result<Vec<T>, GatherError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let tasks = &mut self.get_mut().tasks;
        let value = |result: Result<Result<T, E>, JoinError>| {
            result.map_err(GatherError::Join)?.map_err(GatherError::Failed)
        };
        coop::leaf_anywhere(cx, |cx| tasks.poll_values(cx, value))
    }
}

/// The error of [`gather_results`].
#[derive(Debug)]
pub enum GatherError<E> {
    /// A task has returned this error.
    Failed(E),
    /// A task panicked or was aborted.
    Join(JoinError),
}

impl<E: fmt::Display> fmt::Display for GatherError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatherError::Failed(error) => error.fmt(f),
            GatherError::Join(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for GatherError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            GatherError::Failed(error) => error.source(),
            GatherError::Join(_) => None,
        }
    }
}

impl From<GatherError<io::Error>> for io::Error {
    fn from(error: GatherError<io::Error>) -> io::Error {
        match error {
            GatherError::Failed(error) => error,
            GatherError::Join(error) => io::Error::other(error),
        }
    }
}

/// Tasks, and the values of those that have ended.
struct Gathered<T, V> {
    handles: HandleSet<T>,
    /// By index, until they are returned.
    values: Option<Vec<Option<V>>>,
}

// A gather is not pinned by its values: none of them is ever polled.
impl<T, V> Unpin for Gathered<T, V> {}

impl<T, V> Gathered<T, V> {
    fn new(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Gathered<T, V> {
        let mut handles = HandleSet::new();
        tasks.into_iter().for_each(|task| _ = handles.insert(task));
        let values = (0..handles.len()).map(|_| None).collect();
        Gathered { handles, values: Some(values) }
    }

    /// Waits for the values of all tasks, or for the first error.
    fn poll_values<E>(
        &mut self,
        cx: &mut Context<'_>,
        value: impl Fn(Result<T, JoinError>) -> Result<V, E>,
    ) -> Poll<Result<Vec<V>, E>> {
        let values =
            self.values.as_mut().expect("a gather was polled after it had returned its result");
        while let Some(taken) = ready!(self.handles.poll_ended(cx)) {
            match value(taken.result) {
                Ok(value) => values[taken.index] = Some(value),
                Err(error) => {
                    self.values = None;
                    self.handles.detach_all();
                    return Poll::Ready(Err(error));
                }
            }
        }
        let values = self.values.take().expect("checked above").into_iter();
        Poll::Ready(Ok(values.map(|value| value.expect("all tasks have ended")).collect()))
    }
}

impl<T, V> Drop for Gathered<T, V> {
    fn drop(&mut self) {
        self.handles.abort_all();
    }
}

impl<T> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("running", &self.tasks.handles.len()).finish()
    }
}

impl<T, E> fmt::Debug for GatherResults<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherResults").field("running", &self.tasks.handles.len()).finish()
    }
}
