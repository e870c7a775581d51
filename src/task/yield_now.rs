//! [`yield_now`].

use std::future::poll_fn;
use std::task::Poll;

use super::coop;

/// Yields to the loop, until its next turn.
///
/// All other ready tasks run, and the loop completes I/O and expires timers, before this task goes
/// on. Use it in long computations. This is tokio's `yield_now` and asyncio's `sleep(0)`.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future has no effect.
///
/// ```
/// ringloop::run(async {
///     let task = ringloop::spawn(async { 7 });
///     ringloop::task::yield_now().await;
///     assert!(task.is_finished());
/// });
/// ```
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded && coop::is_cancelled() {
            return Poll::Pending; // for good, like a leaf
        }
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        // Runs in the next turn: a turn runs the entries that were ready when it began.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
