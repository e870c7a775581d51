//! The token itself.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use super::tree::{Reason, Tree};
use crate::sync::wait_list::{WaiterId, wait_in};
use crate::sync::waking::wake_each;
use crate::task::coop;

/// Asks the tasks that have a clone of it to end, once.
///
/// Clones are one token. A [child](CancellationToken::child_token) is cancelled with its parent,
/// but not the other way round. Dropping tokens cancels nothing. Trees may be deep and wide: no
/// operation recurses.
///
/// This is tokio-util's `CancellationToken` for the tasks of one thread, and with a reason: a
/// cancel may have a text, which all tokens that it reaches return.
///
/// ```
/// use ringloop::sync::CancellationToken;
///
/// ringloop::run(async {
///     let token = CancellationToken::new();
///     let child = token.child_token();
///     let task = ringloop::spawn(async move {
///         child.cancelled().await;
///         child.reason()
///     });
///     token.cancel_with("the server stops");
///     assert_eq!(task.await.unwrap().as_deref(), Some("the server stops"));
/// });
/// ```
pub struct CancellationToken {
    tree: Rc<RefCell<Tree>>,
    index: usize,
}

impl CancellationToken {
    /// Makes a token that is not cancelled and has no parent.
    ///
    /// ```
    /// let token = ringloop::sync::CancellationToken::new();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn new() -> CancellationToken {
        let mut tree = Tree::default();
        let index = tree.insert_root();
        CancellationToken { tree: Rc::new(RefCell::new(tree)), index }
    }

    /// Makes a token that is cancelled with this one. If this one is cancelled already, so is the
    /// child, with the same reason.
    ///
    /// A cancel of the child does not reach this token. The child stays a descendant of the
    /// ancestors of this token when this token is dropped.
    ///
    /// ```
    /// let token = ringloop::sync::CancellationToken::new();
    /// let (first, second) = (token.child_token(), token.child_token());
    /// first.cancel();
    /// assert!(!token.is_cancelled() && !second.is_cancelled());
    /// token.cancel();
    /// assert!(second.is_cancelled());
    /// ```
    pub fn child_token(&self) -> CancellationToken {
        let index = self.tree.borrow_mut().insert_child(self.index);
        CancellationToken { tree: Rc::clone(&self.tree), index }
    }

    /// Cancels this token and all tokens that descend from it, without a reason.
    ///
    /// A second cancel has no effect. Wakers of tasks that wait are woken before this returns; the
    /// tasks run in the next turn.
    ///
    /// # Panics
    ///
    /// If a waker of another library panics. All other wakers have been woken then.
    pub fn cancel(&self) {
        self.cancel_shared(None);
    }

    /// Cancels this token and all tokens that descend from it, for a reason.
    ///
    /// Otherwise like [`cancel`](CancellationToken::cancel). The first cancel that reaches a token
    /// decides its reason.
    ///
    /// # Panics
    ///
    /// As [`cancel`](CancellationToken::cancel).
    ///
    /// ```
    /// let token = ringloop::sync::CancellationToken::new();
    /// token.cancel_with("a signal");
    /// token.cancel_with("too late");
    /// assert_eq!(token.child_token().reason().as_deref(), Some("a signal"));
    /// ```
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) {
        self.cancel_shared(Some(Rc::new(reason.into())));
    }

    fn cancel_shared(&self, reason: Reason) {
        let woken = self.tree.borrow_mut().cancel(self.index, reason);
        coop::interrupt();
        wake_each(woken.into_iter().flatten());
    }

    /// Whether this token or an ancestor of it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.tree.borrow().is_cancelled(self.index)
    }

    /// The reason of the cancel that reached this token first: `None` before that, and if the
    /// cancel had no reason.
    pub fn reason(&self) -> Option<Cow<'static, str>> {
        let reason = self.tree.borrow().reason(self.index);
        reason.as_deref().cloned()
    }

    /// Makes a waiter wait for the cancel. The token must not be cancelled.
    pub(super) fn wait(&self, waiter_id: &mut WaiterId, waker: &Waker) {
        wait_in(&self.tree, |tree| tree.waiters(self.index), waiter_id, waker);
    }

    /// Removes a waiter.
    pub(super) fn leave(&self, waiter_id: &mut WaiterId) {
        let waker = self.tree.borrow_mut().waiters(self.index).leave(waiter_id);
        drop(waker); // after the borrow
    }
}

impl Default for CancellationToken {
    fn default() -> CancellationToken {
        CancellationToken::new()
    }
}

impl Clone for CancellationToken {
    fn clone(&self) -> CancellationToken {
        self.tree.borrow_mut().retain(self.index);
        CancellationToken { tree: Rc::clone(&self.tree), index: self.index }
    }
}

impl Drop for CancellationToken {
    fn drop(&mut self) {
        let forgotten = self.tree.borrow_mut().release(self.index);
        drop(forgotten); // after the borrow
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken")
            .field("is_cancelled", &self.is_cancelled())
            .field("reason", &self.reason())
            .finish()
    }
}
