//! [`timeout`] and [`timeout_at`].

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::instant::Instant;
use super::sleep::{Sleep, sleep, sleep_until};
use crate::task::cancel::with_deadline;
use crate::task::coop;

/// Polls `future` for at most `duration`.
///
/// If both are ready in the same poll, the value wins. The future is polled at least once, also
/// with a duration of zero. This is tokio's `timeout`.
///
/// # Cancel safety
///
/// That of `future`, which is dropped with the [`Timeout`]. Reads and accepts of this crate lose
/// nothing.
///
/// # Errors
///
/// [`Elapsed`], which converts to an `io::Error` of kind `TimedOut`.
///
/// # Panics
///
/// If no loop runs on this thread. The [`Timeout`] panics if it is polled after its loop has ended
/// and its future is still pending.
///
/// ```
/// use ringloop::time::timeout;
/// use std::future::{pending, ready};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     assert_eq!(timeout(Duration::from_secs(1), ready(7)).await, Ok(7));
///     assert!(timeout(Duration::from_millis(1), pending::<()>()).await.is_err());
/// });
/// ```
#[track_caller]
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    let deadline = sleep(duration);
    Timeout { future, deadline }
}

/// Polls `future` until `deadline` at the latest.
///
/// Otherwise like [`timeout`].
///
/// # Errors
///
/// [`Elapsed`], which converts to an `io::Error` of kind `TimedOut`.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::time::{Instant, sleep, timeout_at};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let deadline = Instant::now() + Duration::from_millis(2);
///     // One deadline for several steps.
///     assert!(timeout_at(deadline, async { 1 }).await.is_ok());
///     assert!(timeout_at(deadline, sleep(Duration::from_secs(60))).await.is_err());
/// });
/// ```
#[track_caller]
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    let deadline = sleep_until(deadline);
    Timeout { future, deadline }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[derive(Debug)]
    #[must_use = "a timeout does nothing unless it is awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        #[pin]
        deadline: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future that is limited.
    ///
    /// ```
    /// use ringloop::time::{sleep, timeout};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let limited = timeout(Duration::from_secs(1), sleep(Duration::from_millis(1)));
    ///     assert!(!limited.get_ref().is_elapsed());
    /// });
    /// ```
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future that is limited.
    ///
    /// ```
    /// use ringloop::time::{Instant, sleep, timeout};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let mut limited = timeout(Duration::from_secs(1), sleep(Duration::from_secs(60)));
    ///     limited.get_mut().reset(Instant::now());
    ///     assert!(limited.await.is_ok());
    /// });
    /// ```
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Returns the future without its limit.
    ///
    /// ```
    /// use ringloop::time::timeout;
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let limited = timeout(Duration::from_secs(1), async { 7 });
    ///     assert_eq!(limited.into_inner().await, 7);
    /// });
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let deadline_ns = this.deadline.deadline().as_ns();
        if let Poll::Ready(output) = with_deadline(deadline_ns, || this.future.poll(cx)) {
            return Poll::Ready(Ok(output));
        }
        let deadline = this.deadline;
        let expired = if deadline.is_elapsed() {
            deadline.poll(cx) // polled again after its end
        } else {
            // A future that uses the whole budget in every poll must not outlive its deadline.
            coop::unbudgeted(|| deadline.poll(cx))
        };
        expired.map(|()| Err(Elapsed(())))
    }
}

/// The error of a [`timeout`] whose deadline has passed.
///
/// ```
/// use ringloop::time::timeout;
/// use std::future::pending;
/// use std::io;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let elapsed = timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
///     assert_eq!(io::Error::from(elapsed).kind(), io::ErrorKind::TimedOut);
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(pub(super) ());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
