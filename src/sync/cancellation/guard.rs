//! [`DropGuard`].

use super::token::CancellationToken;

/// Cancels a token when it is dropped, unless it was disarmed.
///
/// [`CancellationToken::drop_guard`] makes it. This is tokio-util's `DropGuard`.
///
/// ```
/// use ringloop::sync::CancellationToken;
///
/// let token = CancellationToken::new();
/// drop(token.clone().drop_guard());
/// assert!(token.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "the token is cancelled when the guard is dropped"]
pub struct DropGuard {
    token: Option<CancellationToken>,
}

impl CancellationToken {
    /// Makes a guard that cancels this token when it is dropped.
    ///
    /// ```
    /// use ringloop::sync::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// {
    ///     let _guard = token.clone().drop_guard();
    ///     assert!(!token.is_cancelled());
    /// }
    /// assert!(token.is_cancelled());
    /// ```
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }
}

impl DropGuard {
    /// Returns the token, which is not cancelled.
    ///
    /// ```
    /// use ringloop::sync::CancellationToken;
    ///
    /// let guard = CancellationToken::new().drop_guard();
    /// assert!(!guard.disarm().is_cancelled());
    /// ```
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("only this method and `drop` take the token")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            token.cancel();
        }
    }
}
