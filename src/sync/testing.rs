//! What the enumerations of this module share: wakers that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A task that waits, which counts its wakes.
#[derive(Clone, Default)]
pub(super) struct Counter(Arc<Count>);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Whether the task was woken since the last call.
    pub(super) fn was_woken(&self) -> bool {
        self.0.0.swap(0, Ordering::Relaxed) > 0
    }

    /// Polls a future of this task once.
    pub(super) fn poll<F: Future + ?Sized>(
        &self,
        future: std::pin::Pin<&mut F>,
    ) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker()))
    }
}
