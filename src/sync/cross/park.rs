//! A thread that blocks until a future of a channel is ready.

use std::task::{Context, Poll};

use crate::loop_id;
use crate::task::park::block_until;

/// Polls until the result is ready. Between two polls, the thread sleeps until it is woken.
///
/// # Panics
///
/// On a thread that runs a loop, which would not turn meanwhile.
#[track_caller]
pub(super) fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    loop_id::check_blocking();
    block_until(|waker| poll(&mut Context::from_waker(waker)))
}
