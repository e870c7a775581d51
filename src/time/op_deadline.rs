//! Operations with a deadline, for `net`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::instant::Instant;
use super::sleep::{Sleep, sleep_until};
use super::timeout::Elapsed;
use crate::task::cancel::with_deadline;
use crate::task::coop;

/// Polls `op` until `at`. If the operation has completed when the deadline passes, its result wins,
/// also if the budget of the poll is spent. So `op` must lose nothing when it is dropped.
pub(crate) async fn op_deadline<T>(
    at: Instant,
    op: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    OpDeadline { op, at, sleep: None }.await
}

pin_project! {
    struct OpDeadline<Op> {
        #[pin]
        op: Op,
        at: Instant,
        // Made after the first poll of the operation, which checks that its loop runs here.
        sleep: Option<Sleep>,
    }
}

impl<T, Op: Future<Output = io::Result<T>>> Future for OpDeadline<Op> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut this = self.project();
        let at = *this.at;
        let polled = with_deadline(at.as_ns(), || this.op.as_mut().poll(cx));
        if polled.is_ready() {
            return polled;
        }
        let sleep = this.sleep.get_or_insert_with(|| sleep_until(at));
        ready!(coop::unbudgeted(|| Pin::new(sleep).poll(cx)));
        // Once more, with a budget: the operation may have completed and not been polled.
        let polled = coop::unbudgeted(|| this.op.poll(cx));
        Poll::Ready(match polled {
            Poll::Ready(result) => result,
            Poll::Pending => Err(Elapsed(()).into()),
        })
    }
}
