//! [`race`]: the first of any number of futures.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::children::Children;
use crate::task::coop;

/// Waits for the first of any number of futures to end, and drops the others.
///
/// Within one poll, the futures are polled in the order of their wakes, at first in their own
/// order. A future is polled only when it was woken, and each is boxed. This is the `race` of
/// futures-concurrency and of JavaScript. Futures of different types are for
/// [`select!`](crate::select).
///
/// # Cancel safety
///
/// The futures that lose are dropped, so each should be cancel safe. Dropping the race drops all.
///
/// # Panics
///
/// If there are no futures: the race would not end.
///
/// ```
/// use ringloop::task::race;
/// use ringloop::time::sleep;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let winner = race([5, 1].map(|millis| async move {
///         sleep(Duration::from_millis(millis)).await;
///         millis
///     }));
///     assert_eq!(winner.await, 1);
/// });
/// ```
pub fn race<I>(futures: I) -> Race<I::Item>
where
    I: IntoIterator,
    I::Item: Future,
{
    let children = Children::new(futures);
    assert!(children.running_count() > 0, "race: without futures it would not end");
    Race { children }
}

/// The future of [`race`].
///
/// # Panics
///
/// If it is polled after it has returned.
#[must_use = "a race does nothing unless it is awaited"]
pub struct Race<F> {
    children: Children<F>,
}

impl<F: Future> Future for Race<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let children = &mut self.children;
        coop::combinator(cx, |cx| {
            let polled = children.poll_woken(cx, |_, output| ControlFlow::Break(output));
            polled.map(|output| {
                children.clear();
                output.expect("a Race was polled after it had returned")
            })
        })
    }
}

impl<F: Future> fmt::Debug for Race<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("running", &self.children.running_count()).finish()
    }
}
