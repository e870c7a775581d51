//! [`shielded`].

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::scope::Shield;

/// Runs `future` to its end, although scopes around it are cancelled or their deadlines pass.
///
/// It protects from [`cancel_scope`](crate::task::cancel_scope) and
/// [`time::deadline_scope`](crate::time::deadline_scope), which wait for it, from its first poll
/// on. Use it for cleanup that must not stop halfway, with a deadline inside of it. This is trio's
/// `CancelScope(shield=True)`; [`shield`](crate::task::shield) is asyncio's, and spawns a task.
///
/// It does not protect from being dropped: an abort of the task, a
/// [`timeout`](crate::time::timeout) or a `select!` around it drops it.
///
/// # Cancel safety
///
/// That of `future`, which is dropped with this one.
///
/// ```
/// use ringloop::sync::CancellationToken;
/// use ringloop::task::{cancel_scope, shielded, yield_now};
///
/// ringloop::run(async {
///     let token = CancellationToken::new();
///     let result = cancel_scope(token.clone(), async {
///         shielded(async {
///             token.cancel();
///             token.child_token().cancelled().await;
///             yield_now().await; // goes on
///         })
///         .await;
///         ringloop::time::sleep(std::time::Duration::ZERO).await; // does not happen
///     })
///     .await;
///     assert!(result.is_err());
/// });
/// ```
pub async fn shielded<F: Future>(future: F) -> F::Output {
    Shielded { future, shield: None }.await
}

pin_project! {
    struct Shielded<F> {
        // Dropped before the shield, so that no scope ends before the locals are dropped.
        #[pin]
        future: F,
        shield: Option<Shield>,
    }
}

impl<F: Future> Future for Shielded<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.shield.get_or_insert_with(Shield::new);
        Shield::run(|| this.future.poll(cx))
    }
}
