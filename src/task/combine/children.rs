//! Futures of one task, of which only those that were woken are polled.
//!
//! Each child has a waker of its own (`wakes.rs`), so one wake costs one poll, for any number of
//! children.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::wakes::Wakes;

/// Futures whose outputs are taken in the order in which they are ready.
pub(super) struct Children<F> {
    /// By index, until they have ended.
    children: Vec<Option<Child<F>>>,
    running_count: usize,
    wakes: Arc<Wakes>,
}

struct Child<F> {
    future: Pin<Box<F>>,
    waker: Waker,
}

impl<F: Future> Children<F> {
    /// Children that are all polled in the first poll, in their order.
    pub(super) fn new(futures: impl IntoIterator<Item = F>) -> Children<F> {
        let wakes = Arc::new(Wakes::default());
        let child = |future| {
            let waker = wakes.add();
            waker.wake_by_ref(); // for the first poll
            Some(Child { future: Box::pin(future), waker })
        };
        let children: Vec<_> = futures.into_iter().map(child).collect();
        let running_count = children.len();
        Children { children, running_count, wakes }
    }

    /// The number of children that have not ended.
    pub(super) fn running_count(&self) -> usize {
        self.running_count
    }

    /// Drops all children.
    pub(super) fn clear(&mut self) {
        self.running_count = 0;
        self.children.clear();
    }

    /// Polls the children that were woken, and passes each output to `take` with the index of its
    /// child, until that returns a result. Returns `None` when no child is left.
    pub(super) fn poll_woken<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(usize, F::Output) -> ControlFlow<T>,
    ) -> Poll<Option<T>> {
        let (children, running_count) = (&mut self.children, &mut self.running_count);
        let polled = self.wakes.each_woken(cx, |index| {
            // A waker may be used after its child has ended.
            let Some(Some(child)) = children.get_mut(index) else {
                return ControlFlow::Continue(());
            };
            let mut child_cx = Context::from_waker(&child.waker);
            let Poll::Ready(output) = child.future.as_mut().poll(&mut child_cx) else {
                return ControlFlow::Continue(());
            };
            children[index] = None;
            *running_count -= 1;
            take(index, output)
        });
        match polled {
            ControlFlow::Break(result) => Poll::Ready(Some(result)),
            ControlFlow::Continue(()) if self.running_count == 0 => Poll::Ready(None),
            ControlFlow::Continue(()) => Poll::Pending,
        }
    }
}

impl<F> Drop for Children<F> {
    fn drop(&mut self) {
        self.wakes.leave();
    }
}
