//! The budget of one poll.
//!
//! A read whose bytes are already here is ready at once, so `while let Ok(n) = s.read(..).await`
//! would never let go of the thread. Every leaf operation of this crate therefore spends one unit
//! of a budget that each poll starts with, and when it is used up, operations are pending until the
//! next turn, ready or not. `select!`, `join!` and every other combinator see that as an ordinary
//! `Pending`, which is what keeps them fair too.
//!
//! An operation that turns out to be pending has spent nothing.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Leaf operations of one poll.
pub(crate) const BUDGET: u8 = 128;

thread_local! {
    static LEFT: Cell<u8> = const { Cell::new(BUDGET) };
}

/// A poll begins.
pub(crate) fn refill() {
    LEFT.set(BUDGET);
}

/// Whether the poll may complete another operation. If not, it will be polled again next turn.
pub(crate) fn poll_ready(cx: &mut Context<'_>) -> Poll<()> {
    if LEFT.get() > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// An operation has completed.
pub(crate) fn spend() {
    LEFT.set(LEFT.get().saturating_sub(1));
}

/// Runs `poll` with a budget of its own. For a deadline that has to be looked at even when the
/// operation it guards has used everything up.
pub(crate) fn unbudgeted<T>(poll: impl FnOnce() -> T) -> T {
    let left = LEFT.replace(BUDGET);
    let result = poll();
    LEFT.set(left);
    result
}
