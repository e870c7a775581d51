//! [`wait`]: several tasks of a set at once.

use super::coop;
use super::identity::TaskId;
use super::join_error::JoinError;
use super::join_set::{JoinSet, with_id};

/// The condition that ends a [`wait`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// A task has ended (asyncio's `FIRST_COMPLETED`).
    First,
    /// A task has failed, or all have ended (asyncio's `FIRST_EXCEPTION`).
    FirstError,
    /// All tasks have ended (asyncio's `ALL_COMPLETED`).
    All,
}

/// Numbers and results of tasks that have ended, in the order in which they ended.
pub type Done<T> = Vec<(TaskId, Result<T, JoinError>)>;

/// Waits for tasks of `set`, and takes the results of all tasks that have ended then.
///
/// Several tasks may have ended at once. The others stay in the set and run on: this function never
/// cancels a task. A task that panicked or was aborted counts as failed. This is asyncio's `wait`;
/// an empty set gives an empty result. For a deadline see [`timeout`](crate::time::timeout).
///
/// # Cancel safety
///
/// Cancel safe: results that have not been returned stay in the set.
///
/// # Panics
///
/// If it is awaited on another loop than that of the tasks, while the condition does not hold.
///
/// ```
/// use ringloop::task::{JoinSet, When, wait};
///
/// ringloop::run(async {
///     let mut set: JoinSet<u32> = (0..2).map(|number| async move { number }).collect();
///     set.spawn(std::future::pending());
///     let done = wait(&mut set, When::First).await;
///     let numbers: Vec<u32> = done.into_iter().map(|(_id, result)| result.unwrap()).collect();
///     assert_eq!(numbers, [0, 1]); // both ended in one turn
///     assert_eq!(set.len(), 1);
/// });
/// ```
pub async fn wait<T>(set: &mut JoinSet<T>, when: When) -> Done<T> {
    wait_for(set, when, Result::is_err).await
}

/// Waits for tasks of `set` that return a `Result`, whose `Err` counts as a failure too.
///
/// Otherwise like [`wait`].
///
/// # Cancel safety
///
/// Cancel safe: results that have not been returned stay in the set.
///
/// ```
/// use ringloop::task::{JoinSet, When, wait_results};
///
/// ringloop::run(async {
///     let mut set = JoinSet::new();
///     set.spawn(async { "7".parse::<u32>() });
///     set.spawn(async { "x".parse() });
///     set.spawn(std::future::pending());
///     let done = wait_results(&mut set, When::FirstError).await;
///     assert!(matches!(&done[..], [(_, Ok(Ok(7))), (_, Ok(Err(_)))]));
///     assert_eq!(set.len(), 1);
/// });
/// ```
pub async fn wait_results<T, E>(set: &mut JoinSet<Result<T, E>>, when: When) -> Done<Result<T, E>> {
    wait_for(set, when, |result| !matches!(result, Ok(Ok(_)))).await
}

async fn wait_for<T>(
    set: &mut JoinSet<T>,
    when: When,
    is_error: fn(&Result<T, JoinError>) -> bool,
) -> Done<T> {
    let handles = set.handles();
    let mut checked_count = 0;
    coop::leaf_fn_anywhere(|cx| {
        let ended_count = handles.ended_count();
        let is_done = ended_count == handles.len()
            || match when {
                When::First => ended_count > 0,
                When::FirstError => handles.any_ended_with(checked_count, is_error),
                When::All => false,
            };
        checked_count = ended_count;
        handles.wait_unless(is_done, cx)
    })
    .await;
    std::iter::from_fn(|| handles.take_ended()).map(with_id).collect()
}
