//! A thread outside of the loop that waits for a future.

use std::sync::{Arc, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use crate::primitives::{self, Condvar, Mutex};

/// Wakes a thread that waits in [`block_until`].
#[derive(Default)]
struct Parker {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.is_woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_one();
    }
}

/// Calls `poll` until it is ready, and sleeps in between until the waker that it was given wakes
/// this thread.
pub(crate) fn block_until<T>(mut poll: impl FnMut(&Waker) -> Poll<T>) -> T {
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(Arc::clone(&parker));
    loop {
        if let Poll::Ready(value) = poll(&waker) {
            return value;
        }
        let mut is_woken = parker.is_woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_woken {
            let limit = Duration::MAX; // the wake comes
            (is_woken, _) = primitives::wait(&parker.woken, &parker.is_woken, is_woken, limit);
        }
        *is_woken = false;
    }
}
