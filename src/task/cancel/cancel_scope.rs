//! [`cancel_scope`].

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::scope::{Scope, ScopePoll};
use crate::sync::{CancellationToken, WaitForCancellationFutureOwned};
use crate::task::coop;

/// Runs `future` until it ends or `token` is cancelled.
///
/// A cancel is level-triggered: after it, no operation of this crate inside of the scope completes,
/// not even one that is ready, and at the next one that it awaits the future is dropped. What the
/// operation would have taken (bytes, connections, messages) stays for the next one. Futures of
/// other libraries are dropped when they are pending. A future that is ready without waiting
/// returns its value.
///
/// - [`shielded`](crate::task::shielded) futures inside of the scope run to their end first.
/// - Waits for a token ([`CancellationToken::cancelled`]) complete, so a `select!` in the scope can
///   begin its cleanup.
/// - Tasks that the future spawns are not part of the scope.
///
/// This is trio's `CancelScope` with a token. It is also like
/// [`run_until_cancelled`](CancellationToken::run_until_cancelled), which is edge-triggered and
/// knows no shields.
///
/// # Cancel safety
///
/// That of `future`, which is dropped with this one, also if a shield inside of it is active.
///
/// # Errors
///
/// [`Cancelled`], with the reason of the cancel, if the future was dropped.
///
/// ```
/// use ringloop::sync::CancellationToken;
/// use ringloop::task::{cancel_scope, shielded};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let token = CancellationToken::new();
///     let stop = token.clone();
///     ringloop::call_soon(move || stop.cancel_with("the operator"));
///
///     let result = cancel_scope(token.clone(), async {
///         let work = ringloop::time::sleep(Duration::from_secs(3600));
///         if token.run_until_cancelled(work).await.is_none() {
///             // Cleanup: without the shield, it would end at its first await.
///             shielded(ringloop::time::sleep(Duration::from_millis(1))).await;
///         }
///         ringloop::time::sleep(Duration::ZERO).await;
///     })
///     .await;
///     assert_eq!(result.unwrap_err().to_string(), "cancelled: the operator");
/// });
/// ```
pub async fn cancel_scope<F: Future>(
    token: CancellationToken,
    future: F,
) -> Result<F::Output, Cancelled> {
    CancelScope { scope: Scope::new(future), cancelled: token.cancelled_owned() }.await
}

/// The error of [`cancel_scope`]: its token was cancelled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cancelled {
    reason: Option<Cow<'static, str>>,
}

impl Cancelled {
    /// The reason of the cancel, if it had one.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => f.write_str("cancelled"),
            Some(reason) => write!(f, "cancelled: {reason}"),
        }
    }
}

impl std::error::Error for Cancelled {}

pin_project! {
    struct CancelScope<F> {
        #[pin]
        scope: Scope<F>,
        cancelled: WaitForCancellationFutureOwned,
    }
}

impl<F: Future> Future for CancelScope<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !this.cancelled.token().is_cancelled() {
            match this.scope.as_mut().poll(cx, false) {
                ScopePoll::Ready(value) => return Poll::Ready(Ok(value)),
                ScopePoll::Pending => {}
                ScopePoll::Ended => unreachable!("only a cancelled scope ends"),
            }
            // The future may have cancelled the token itself.
            if this.cancelled.poll_cancelled(cx).is_pending() {
                return Poll::Pending;
            }
        }
        match this.scope.poll(cx, true) {
            ScopePoll::Ready(value) => Poll::Ready(Ok(value)),
            ScopePoll::Pending => Poll::Pending,
            ScopePoll::Ended => {
                let reason = this.cancelled.token().reason();
                coop::leaf_anywhere(cx, |_| Poll::Ready(Err(Cancelled { reason })))
            }
        }
    }
}
