//! Futures that wait for a cancel.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::token::CancellationToken;
use crate::sync::wait_list::WaiterId;
use crate::task::coop;

impl CancellationToken {
    /// Waits until this token is cancelled.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future has no effect.
    ///
    /// ```
    /// use ringloop::sync::CancellationToken;
    ///
    /// ringloop::run(async {
    ///     let token = CancellationToken::new();
    ///     let later = token.clone();
    ///     ringloop::call_soon(move || later.cancel());
    ///     token.cancelled().await;
    /// });
    /// ```
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        WaitForCancellationFuture::new(self)
    }

    /// Waits until this token is cancelled, with a future that owns the token.
    ///
    /// Otherwise like [`cancelled`](CancellationToken::cancelled).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future drops the token, which has no effect.
    ///
    /// ```
    /// use ringloop::sync::CancellationToken;
    ///
    /// ringloop::run(async {
    ///     let token = CancellationToken::new();
    ///     let task = ringloop::spawn(token.clone().cancelled_owned());
    ///     token.cancel();
    ///     task.await.unwrap();
    /// });
    /// ```
    pub fn cancelled_owned(self) -> WaitForCancellationFutureOwned {
        WaitForCancellationFutureOwned::new(self)
    }

    /// Runs `future` until it ends or this token is cancelled. Returns `None` if the token was
    /// cancelled first.
    ///
    /// On a token that is cancelled already, `future` is not polled. If both happen in one turn,
    /// the value of `future` wins. This is tokio-util's `run_until_cancelled`.
    ///
    /// # Cancel safety
    ///
    /// That of `future`, which is dropped with this one, and also when the token is cancelled.
    ///
    /// ```
    /// use ringloop::sync::CancellationToken;
    ///
    /// ringloop::run(async {
    ///     let token = CancellationToken::new();
    ///     assert_eq!(token.run_until_cancelled(async { 7 }).await, Some(7));
    ///     token.cancel();
    ///     assert_eq!(token.run_until_cancelled(async { 7 }).await, None);
    /// });
    /// ```
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        RunUntilCancelled::new(self.cancelled(), future).await
    }

    /// Like [`run_until_cancelled`](CancellationToken::run_until_cancelled), with a future that
    /// owns the token.
    ///
    /// # Cancel safety
    ///
    /// That of `future`, which is dropped with this one, and also when the token is cancelled.
    ///
    /// ```
    /// use ringloop::sync::CancellationToken;
    ///
    /// ringloop::run(async {
    ///     let token = CancellationToken::new();
    ///     let task = ringloop::spawn(token.clone().run_until_cancelled_owned(async {
    ///         std::future::pending::<()>().await;
    ///     }));
    ///     token.cancel();
    ///     assert_eq!(task.await.unwrap(), None);
    /// });
    /// ```
    pub async fn run_until_cancelled_owned<F: Future>(self, future: F) -> Option<F::Output> {
        RunUntilCancelled::new(self.cancelled(), future).await
    }
}

/// The future of [`CancellationToken::cancelled`].
///
/// It is ready when the token is cancelled. It may be polled again after that.
#[must_use = "futures do nothing unless they are awaited"]
pub struct WaitForCancellationFuture<'a> {
    token: &'a CancellationToken,
    waiter_id: WaiterId,
}

/// The future of [`CancellationToken::cancelled_owned`].
///
/// It is ready when the token is cancelled. It may be polled again after that.
#[must_use = "futures do nothing unless they are awaited"]
pub struct WaitForCancellationFutureOwned {
    token: CancellationToken,
    waiter_id: WaiterId,
}

impl<'a> WaitForCancellationFuture<'a> {
    pub(super) fn new(token: &'a CancellationToken) -> WaitForCancellationFuture<'a> {
        WaitForCancellationFuture { token, waiter_id: WaiterId::default() }
    }

    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_cancelled(self.token, &mut self.waiter_id, cx)
    }
}

impl WaitForCancellationFutureOwned {
    pub(super) fn new(token: CancellationToken) -> WaitForCancellationFutureOwned {
        WaitForCancellationFutureOwned { token, waiter_id: WaiterId::default() }
    }

    /// Polls without spending the budget.
    pub(crate) fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_cancelled(&self.token, &mut self.waiter_id, cx)
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

fn poll_cancelled(
    token: &CancellationToken,
    waiter_id: &mut WaiterId,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if token.is_cancelled() {
        return Poll::Ready(());
    }
    token.wait(waiter_id, cx.waker());
    // The clone of the waker is user code, which may have cancelled the token.
    if token.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
}

impl Future for WaitForCancellationFuture<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Shielded, so that code in a cancelled scope finds out why it ends.
        coop::shielded(|| coop::leaf_anywhere(cx, |cx| self.poll_cancelled(cx)))
    }
}

impl Future for WaitForCancellationFutureOwned {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        coop::shielded(|| coop::leaf_anywhere(cx, |cx| self.poll_cancelled(cx)))
    }
}

impl Drop for WaitForCancellationFuture<'_> {
    fn drop(&mut self) {
        self.token.leave(&mut self.waiter_id);
    }
}

impl Drop for WaitForCancellationFutureOwned {
    fn drop(&mut self) {
        self.token.leave(&mut self.waiter_id);
    }
}

impl fmt::Debug for WaitForCancellationFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitForCancellationFuture")
            .field("token", self.token)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WaitForCancellationFutureOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitForCancellationFutureOwned")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of `run_until_cancelled`.
    pub(super) struct RunUntilCancelled<'a, F> {
        #[pin]
        future: F,
        cancelled: WaitForCancellationFuture<'a>,
        is_begun: bool,
    }
}

impl<'a, F> RunUntilCancelled<'a, F> {
    pub(super) fn new(cancelled: WaitForCancellationFuture<'a>, future: F) -> Self {
        RunUntilCancelled { future, cancelled, is_begun: false }
    }
}

impl<F: Future> Future for RunUntilCancelled<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = self.project();
        if !*this.is_begun && this.cancelled.token.is_cancelled() {
            return coop::leaf_anywhere(cx, |_| Poll::Ready(None));
        }
        *this.is_begun = true;
        if let Poll::Ready(value) = this.future.poll(cx) {
            return Poll::Ready(Some(value));
        }
        // Not a leaf: a future that uses the budget up in every poll must not outlive the cancel.
        this.cancelled.poll_cancelled(cx).map(|()| None)
    }
}
