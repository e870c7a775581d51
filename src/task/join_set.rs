//! [`JoinSet`]: tasks whose results are taken in the order in which they end.

use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::task::{Context, Poll};

use super::abort::AbortHandle;
use super::blocking::spawn_joined;
use super::coop;
use super::handle_set::{HandleSet, Taken};
use super::identity::TaskId;
use super::join::JoinHandle;
use super::join_error::JoinError;
use super::spawn::spawn;

/// A set of tasks. Their results are taken in the order in which the tasks end.
///
/// This is tokio's `JoinSet`, for tasks of one loop. Dropping the set aborts its tasks; the loop
/// drops their futures in its next turn. The cost of each result is the same for any number of
/// tasks. [`wait`](crate::task::wait) waits for several at once.
///
/// ```
/// use ringloop::task::JoinSet;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let mut set = JoinSet::new();
///     for millis in [5, 1] {
///         set.spawn(async move {
///             ringloop::time::sleep(Duration::from_millis(millis)).await;
///             millis
///         });
///     }
///     let mut ended = Vec::new();
///     while let Some(result) = set.join_next().await {
///         ended.push(result.expect("a task that does not panic"));
///     }
///     assert_eq!(ended, [1, 5]);
/// });
/// ```
pub struct JoinSet<T> {
    set: HandleSet<T>,
}

impl<T> JoinSet<T> {
    /// An empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet { set: HandleSet::new() }
    }

    /// The number of tasks whose result has not been taken.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether all results have been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spawns a task into the set. Details: [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// use ringloop::task::JoinSet;
    ///
    /// ringloop::run(async {
    ///     let mut set = JoinSet::new();
    ///     let task = set.spawn(std::future::pending::<()>());
    ///     task.abort();
    ///     assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.insert(spawn(future))
    }

    /// Runs `function` on a thread beside the loop, and adds the job to the set. Details:
    /// [`spawn_blocking`](crate::spawn_blocking).
    ///
    /// This is tokio's `JoinSet::spawn_blocking`. An abort, also that of
    /// [`abort_all`](JoinSet::abort_all) and of a dropped set, cancels a job that has not started.
    /// A job that has started runs to its end, and stays in the set until then. Its panic is that
    /// of a task. A task of the loop passes the result to the set.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread, and in a forked child of the process that built it.
    ///
    /// ```
    /// use ringloop::task::JoinSet;
    ///
    /// ringloop::run(async {
    ///     let mut set = JoinSet::new();
    ///     for last in [10, 100_u64] {
    ///         set.spawn_blocking(move || (1..=last).sum::<u64>());
    ///     }
    ///     let mut sums = set.join_all().await;
    ///     sums.sort_unstable();
    ///     assert_eq!(sums, [55, 5050]);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, function: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.insert(spawn_joined(function, Location::caller()))
    }

    /// Adds a task that has been spawned.
    pub(super) fn insert(&mut self, handle: JoinHandle<T>) -> AbortHandle {
        let index = self.set.insert(handle);
        self.set.abort_handle(index)
    }

    /// Waits until a task ends, and takes its result. Returns `None` if the set is empty.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a result that has not been returned stays in the set.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if the task panicked or was aborted.
    ///
    /// # Panics
    ///
    /// If it is awaited on another loop than that of the tasks, while none has ended.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        coop::leaf_fn_anywhere(|cx| self.set.poll_ended(cx)).await.map(|taken| taken.result)
    }

    /// Waits until a task ends, and takes its number and its result.
    ///
    /// Otherwise like [`join_next`](JoinSet::join_next). In tokio the error has the number of the
    /// task; here the number is always beside the result.
    pub async fn join_next_with_id(&mut self) -> Option<(TaskId, Result<T, JoinError>)> {
        coop::leaf_fn_anywhere(|cx| self.set.poll_ended(cx)).await.map(with_id)
    }

    /// Takes the result of a task that has ended, without waiting.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if the task panicked or was aborted.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.set.take_ended().map(|taken| taken.result)
    }

    /// Takes the number and the result of a task that has ended, without waiting.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if the task panicked or was aborted.
    pub fn try_join_next_with_id(&mut self) -> Option<(TaskId, Result<T, JoinError>)> {
        self.set.take_ended().map(with_id)
    }

    /// The poll function of [`join_next`](JoinSet::join_next).
    ///
    /// The task of the last poll is woken when a task of the set ends.
    ///
    /// # Panics
    ///
    /// Those of [`join_next`](JoinSet::join_next).
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        let polled = coop::leaf_anywhere(cx, |cx| self.set.poll_ended(cx));
        polled.map(|taken| taken.map(|taken| taken.result))
    }

    /// Aborts all tasks. They stay in the set until their results are taken.
    pub fn abort_all(&mut self) {
        self.set.abort_all();
    }

    /// Aborts all tasks, and waits until they have ended. The set is then empty.
    ///
    /// Panics of the tasks are reported to [`on_unhandled`](crate::Builder::on_unhandled), and
    /// other results are dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the tasks stay aborted, and their results stay in the set.
    pub async fn shutdown(&mut self) {
        self.set.abort_all();
        coop::leaf_fn_anywhere(|cx| self.set.poll_all_ended(cx)).await;
        self.set.detach_all();
    }

    /// Waits for all tasks, and returns their values in the order in which the tasks ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the set, which aborts the tasks.
    ///
    /// # Panics
    ///
    /// With the panic of the first task that has panicked, or if a task was aborted. The other
    /// tasks are then aborted.
    ///
    /// ```
    /// use ringloop::task::JoinSet;
    ///
    /// ringloop::run(async {
    ///     let set: JoinSet<u32> = (0..3).map(|number| async move { number * 2 }).collect();
    ///     assert_eq!(set.join_all().await, [0, 2, 4]);
    /// });
    /// ```
    pub async fn join_all(mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result {
                Ok(value) => values.push(value),
                Err(JoinError::Panic(payload)) => resume_unwind(payload.into_inner()),
                Err(error) => panic!("JoinSet::join_all: {error}"),
            }
        }
        values
    }

    /// Removes all tasks from the set. They run on, detached, as if their handles were dropped.
    ///
    /// ```
    /// use ringloop::task::JoinSet;
    ///
    /// ringloop::run(async {
    ///     let mut set = JoinSet::new();
    ///     set.spawn(async { println!("done, although the set is gone") });
    ///     set.detach_all();
    ///     assert!(set.is_empty());
    /// });
    /// ```
    pub fn detach_all(&mut self) {
        self.set.detach_all();
    }

    pub(super) fn handles(&mut self) -> &mut HandleSet<T> {
        &mut self.set
    }
}

pub(super) fn with_id<T>(taken: Taken<T>) -> (TaskId, Result<T, JoinError>) {
    (taken.id, taken.result)
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.set.abort_all();
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

/// Spawns each future as a task.
impl<T: 'static, F> FromIterator<F> for JoinSet<T>
where
    F: Future<Output = T> + 'static,
{
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> JoinSet<T> {
        let mut set = JoinSet::new();
        futures.into_iter().for_each(|future| drop(set.spawn(future)));
        set
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("len", &self.len())
            .field("ended", &self.set.ended_count())
            .finish()
    }
}
