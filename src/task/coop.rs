//! The budget of one poll.
//!
//! A read whose bytes have arrived is ready at once, and so is the end of a stream, a `flush` with
//! an empty queue and a refused operation. A loop over one of these would never return to the
//! executor. So every leaf future of this crate is polled through [`leaf`]. Each poll of a task
//! begins with a budget, and each `Ready` of a leaf spends one unit, whatever the outcome. When the
//! budget is spent, leaves are pending until the next turn, ready or not. `select!`, `join!` and
//! other combinators see an ordinary `Pending`. A leaf that is pending spends nothing.
//!
//! While a cancelled scope is polled (`task::cancel`), leaves are pending as if the budget were
//! spent, and do not wake. A shielded future inside of it uses what was left.
//!
//! [`leaf`] also checks that a leaf is polled on its own loop, because no other loop would wake it
//! ([`Home::check`]).
//!
//! `tests/tidy/leaves.rs` checks that all futures of this crate use this module.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::loop_id::Home;

/// The number of leaf operations that one poll of a task may complete.
const BUDGET: u8 = 128;

/// Outside of a loop no poll begins with a budget, so leaves spend nothing there.
const UNLIMITED: u8 = u8::MAX;

thread_local! {
    static LEFT: Cell<u8> = const { Cell::new(UNLIMITED) };

    /// While a cancelled scope is polled, `LEFT` is 0 and this is what was left, for shields.
    static KEPT: Cell<Option<u8>> = const { Cell::new(None) };

    /// The number of scopes that are being polled, one inside of the other.
    static SCOPES_COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Begins a poll of a task, with a full budget.
pub(super) fn refill() {
    LEFT.set(BUDGET);
}

/// Ends the budget, when this thread leaves its loop.
pub(crate) fn lift() {
    LEFT.set(UNLIMITED);
}

/// Polls a leaf operation of the loop `home`, and spends one unit of the budget if it is ready.
/// When the budget is spent, `poll` is not called, and the task is polled again in the next turn.
///
/// # Panics
///
/// If another loop runs on this thread, or none: the leaf would never be woken. After its loop has
/// ended, a leaf may be polled anywhere, because it then fails without waiting.
pub(crate) fn leaf<T>(
    home: &Home,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    home.check();
    leaf_anywhere(cx, poll)
}

/// Like [`leaf`], for operations that need no loop, or that check the loop themselves.
pub(crate) fn leaf_anywhere<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    LEFT.with(|left| {
        if left.get() == 0 {
            wake_if_spent(cx);
            return Poll::Pending;
        }
        let outcome = poll(cx);
        if outcome.is_ready() && left.get() != UNLIMITED {
            left.set(left.get().saturating_sub(1));
        }
        outcome
    })
}

/// Polls a combinator of other futures, unless the budget is spent. A combinator that is ready
/// spends at least one unit.
///
/// Futures of the program may not know the budget. Without this check, a `select!` in a loop would
/// go on with such a branch while all others are pending because the budget is spent.
pub(crate) fn combinator<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let before = left_for_combinators();
    if before == 0 {
        // In a cancelled scope too: a shield in a branch may have been woken for this poll.
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    let outcome = poll(cx);
    if outcome.is_ready() && left_for_combinators() == before && before != UNLIMITED {
        match KEPT.get() {
            None => LEFT.set(before - 1),
            Some(_) => KEPT.set(Some(before - 1)),
        }
    }
    outcome
}

/// What is left for combinators: in a cancelled scope they are polled, as they may have shielded
/// branches.
pub(super) fn left_for_combinators() -> u8 {
    KEPT.get().unwrap_or(LEFT.get())
}

/// Wakes the task because the budget is spent. In a cancelled scope, a leaf is pending for good.
#[cold]
fn wake_if_spent(cx: &Context<'_>) {
    if !is_cancelled() {
        cx.waker().wake_by_ref();
    }
}

/// Makes the future of a leaf operation from its poll function.
pub(crate) fn leaf_fn<T>(
    home: &Home,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> impl Future<Output = T> {
    poll_fn(move |cx| {
        home.check();
        leaf_anywhere(cx, &mut poll)
    })
}

/// Like [`leaf_fn`], for operations that need no loop. See [`leaf_anywhere`].
pub(crate) fn leaf_fn_anywhere<T>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> impl Future<Output = T> {
    poll_fn(move |cx| leaf_anywhere(cx, &mut poll))
}

/// Returns `value`, as a leaf operation that is ready at once. For operations that fail before they
/// begin.
pub(crate) async fn ready<T>(value: T) -> T {
    poll_fn(|cx| leaf_anywhere(cx, |_| Poll::Ready(()))).await;
    value
}

/// Polls the future of a cancelled scope: its leaves are pending, except those of shields.
pub(super) fn cancelled<T>(poll: impl FnOnce() -> T) -> T {
    /// Ends the mode, unless an outer scope is cancelled too.
    struct Restore {
        is_outermost: bool,
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            if self.is_outermost {
                LEFT.set(KEPT.take().unwrap_or(UNLIMITED));
            }
        }
    }
    let is_outermost = KEPT.get().is_none();
    if is_outermost {
        KEPT.set(Some(LEFT.replace(0)));
    }
    let _restore = Restore { is_outermost };
    poll()
}

/// Polls the future of a scope, which [`interrupt`] may interrupt.
pub(super) fn in_scope<T>(poll: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPES_COUNT.set(SCOPES_COUNT.get() - 1);
        }
    }
    SCOPES_COUNT.set(SCOPES_COUNT.get() + 1);
    let _restore = Restore;
    poll()
}

/// Ends the budget of this poll if a scope is being polled. A cancel calls it, because the scope
/// may be the one that is cancelled: then no leaf may complete any more, and the scope notices the
/// cancel in its next poll.
pub(crate) fn interrupt() {
    if SCOPES_COUNT.get() > 0 && LEFT.get() != UNLIMITED {
        LEFT.set(0);
    }
}

/// Whether a cancelled scope is being polled, and no shield inside of it.
pub(super) fn is_cancelled() -> bool {
    KEPT.get().is_some()
}

/// Polls a future that cancelled scopes around it do not affect.
pub(crate) fn shielded<T>(poll: impl FnOnce() -> T) -> T {
    /// Makes the scopes cancelled again.
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            KEPT.set(Some(LEFT.replace(0)));
        }
    }
    let Some(kept) = KEPT.take() else { return poll() };
    LEFT.set(kept);
    let _restore = Restore;
    poll()
}

/// Runs `poll` with a budget of its own. For a deadline, which must be polled even if the guarded
/// operation has spent the budget.
pub(crate) fn unbudgeted<T>(poll: impl FnOnce() -> T) -> T {
    with_budget(BUDGET, poll)
}

/// Runs `poll` without a limit, and spends nothing of the budget around it.
pub(super) fn unlimited<T>(poll: impl FnOnce() -> T) -> T {
    with_budget(UNLIMITED, poll)
}

/// Whether a leaf of this poll may still complete.
pub(super) fn has_remaining() -> bool {
    LEFT.get() > 0
}

fn with_budget<T>(budget: u8, poll: impl FnOnce() -> T) -> T {
    /// Restores the budget also if the poll panics, as a deadline does whose loop has ended.
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    if is_cancelled() {
        return poll();
    }
    let _restore = Restore(LEFT.replace(budget));
    poll()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Goal: a deadline that panics when it is polled leaves the budget as it was.
    ///
    /// Method: outside of a loop, where no poll refills it.
    ///
    /// Kills: a budget that is restored on return only.
    #[test]
    fn a_panic_leaves_the_budget_as_it_was() {
        let panicked = catch_unwind(AssertUnwindSafe(|| unbudgeted(|| panic!("in a poll"))));
        assert!(panicked.is_err());
        assert_eq!(LEFT.get(), UNLIMITED);
    }
}
