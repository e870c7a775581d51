//! Stops all serving threads from any thread.

use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

/// Ends the main futures of all serving threads.
#[derive(Clone, Debug)]
pub(super) struct Stopper(Arc<Mutex<StopState>>);

#[derive(Debug)]
enum StopState {
    /// The waker of each waiting thread.
    Running(Vec<Option<Waker>>),
    Stopped,
}

impl Stopper {
    pub(super) fn new(threads_count: usize) -> Stopper {
        Stopper(Arc::new(Mutex::new(StopState::Running(vec![None; threads_count]))))
    }

    pub(super) fn stop(&self) {
        let before = mem::replace(&mut *self.lock(), StopState::Stopped);
        if let StopState::Running(waiters) = before {
            waiters.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Waits for [`Stopper::stop`]. Only one future of each thread may wait.
    pub(super) async fn stopped(&self, thread: usize) {
        poll_fn(|cx| match &mut *self.lock() {
            StopState::Stopped => Poll::Ready(()),
            StopState::Running(waiters) => {
                waiters[thread] = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, StopState> {
        self.0.lock().expect("no code that can panic runs under this lock")
    }
}
