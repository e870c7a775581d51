//! Letting the others run.

use std::future::poll_fn;
use std::task::Poll;

/// Lets every other ready task run, and the loop complete I/O and expire timers, before this task
/// goes on.
///
/// Cancel safe: dropping it does nothing.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        // Ready again, and that means the next turn: a turn runs what was ready when it began.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
