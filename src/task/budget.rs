//! The budget of a poll, for programs: [`unconstrained`], [`consume_budget`],
//! [`has_budget_remaining`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::coop;

/// Makes a future whose operations are not limited by the budget of a poll.
///
/// Each poll of a task may complete 128 operations; then its operations are pending until the next
/// turn. Inside of `unconstrained` there is no limit: a loop over operations that are always ready
/// stops the other tasks, I/O and timers of the loop until it ends. The budget of the code around
/// it is not spent. This is tokio's `task::unconstrained`.
///
/// # Cancel safety
///
/// As cancel safe as `future`.
///
/// ```
/// ringloop::run(async {
///     let other = ringloop::spawn(async {});
///     ringloop::task::unconstrained(async {
///         for _ in 0..1000 {
///             ringloop::task::consume_budget().await;
///         }
///     })
///     .await;
///     assert!(!other.is_finished());
/// });
/// ```
pub fn unconstrained<F: Future>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

pin_project! {
    /// A future without a budget, made by [`unconstrained`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Unconstrained<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.project().future;
        coop::unlimited(|| future.poll(cx))
    }
}

impl<F> fmt::Debug for Unconstrained<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unconstrained").finish_non_exhaustive()
    }
}

/// Spends one unit of the budget of this poll. When the budget is spent, it yields to the loop.
///
/// Use it in long computations that await nothing else, where a [`yield_now`](super::yield_now) for
/// each step would be too expensive: it yields once in 128 calls. This is tokio's
/// `task::consume_budget`.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future has no effect.
///
/// ```
/// ringloop::run(async {
///     let other = ringloop::spawn(async {});
///     for _ in 0..1000 {
///         ringloop::task::consume_budget().await;
///     }
///     assert!(other.is_finished());
/// });
/// ```
pub async fn consume_budget() {
    coop::ready(()).await;
}

/// Whether the next operation of this poll may complete. Always true outside of a loop and inside
/// of [`unconstrained`].
///
/// This is tokio's `task::coop::has_budget_remaining`.
///
/// ```
/// ringloop::run(async {
///     ringloop::task::yield_now().await; // a new poll
///     let mut count = 0;
///     while ringloop::task::has_budget_remaining() {
///         ringloop::task::consume_budget().await;
///         count += 1;
///     }
///     assert_eq!(count, 128);
/// });
/// ```
pub fn has_budget_remaining() -> bool {
    coop::has_remaining()
}
