//! The budget of one poll.
//!
//! A read whose bytes are already here is ready at once, and so is the end of a stream, a `flush`
//! with nothing queued and a refused operation. A loop over one of these would never let go of the
//! thread. Every leaf future of this crate is therefore polled through [`leaf`]: each `Ready` costs
//! one unit of a budget that each poll of a task starts with, whatever the outcome is. Without a
//! unit left, leaves are pending until the next turn, ready or not. `select!`, `join!` and every
//! other combinator see an ordinary `Pending`, so they are fair as well.
//!
//! A leaf that turns out to be pending has spent nothing.
//!
//! The same place checks that a leaf is polled on its own loop, as nothing else would wake it
//! ([`Home::check`]).
//!
//! `tests/tidy.rs` checks that no future of this crate goes around this module.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::loop_id::Home;

/// Leaf operations of one poll.
const BUDGET: u8 = 128;

/// Outside of a loop nothing starts a poll with a fresh budget, so there leaves spend nothing.
const UNLIMITED: u8 = u8::MAX;

thread_local! {
    static LEFT: Cell<u8> = const { Cell::new(UNLIMITED) };
}

/// A poll begins.
pub(super) fn refill() {
    LEFT.set(BUDGET);
}

/// The loop of this thread has been left.
pub(crate) fn lift() {
    LEFT.set(UNLIMITED);
}

/// Polls a leaf operation of the loop `home`, and spends one unit of the budget if it is ready.
/// Without a unit left, `poll` is not called, and the task is polled again in the next turn.
///
/// # Panics
///
/// If another loop runs here, or none does: nothing would ever wake the leaf. After the end of its
/// loop a leaf may be polled anywhere, as it then fails without waiting.
pub(crate) fn leaf<T>(
    home: &Home,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    home.check();
    leaf_anywhere(cx, poll)
}

/// As [`leaf`], for what needs no loop, or checks that it is on the right one.
pub(crate) fn leaf_anywhere<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    LEFT.with(|left| {
        if left.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let outcome = poll(cx);
        if outcome.is_ready() && left.get() != UNLIMITED {
            left.set(left.get().saturating_sub(1));
        }
        outcome
    })
}

/// The future of a leaf operation that is polled by `poll`.
pub(crate) fn leaf_fn<T>(
    home: &Home,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> impl Future<Output = T> {
    poll_fn(move |cx| leaf(home, cx, &mut poll))
}

/// Returns `value` as a leaf operation that is done at once. For operations that fail before they
/// begin, and for those that have nothing to do.
pub(crate) async fn ready<T>(value: T) -> T {
    poll_fn(|cx| leaf_anywhere(cx, |_| Poll::Ready(()))).await;
    value
}

/// Runs `poll` with a budget of its own. For a deadline that has to be looked at even when the
/// operation it guards has used everything up.
pub(crate) fn unbudgeted<T>(poll: impl FnOnce() -> T) -> T {
    /// Also if the poll panics, as a deadline does whose loop has ended.
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _restore = Restore(LEFT.replace(BUDGET));
    poll()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Goal: a deadline that panics when it is polled leaves the budget as it was.
    ///
    /// Method: outside of a loop, where nothing fills it again. Kills: a budget that is restored on
    /// return only.
    #[test]
    fn a_panic_leaves_the_budget_as_it_was() {
        let panicked = catch_unwind(AssertUnwindSafe(|| unbudgeted(|| panic!("in a poll"))));
        assert!(panicked.is_err());
        assert_eq!(LEFT.get(), UNLIMITED);
    }
}
