//! A thread that blocks until a future of a channel is ready.

use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::loop_id;
use crate::primitives::{Condvar, Mutex};

/// Polls until the result is ready. Between two polls, the thread sleeps until it is woken.
///
/// # Panics
///
/// On a thread that runs a loop, which would not turn meanwhile.
#[track_caller]
pub(super) fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    loop_id::check_blocking();
    let parked = Arc::new(Parked { is_woken: Mutex::new(false), woken: Condvar::new() });
    let waker = Waker::from(Arc::clone(&parked));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = poll(&mut cx) {
            return result;
        }
        parked.sleep();
    }
}

/// A thread that sleeps.
struct Parked {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Parked {
    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_woken {
            is_woken = self.woken.wait(is_woken).unwrap_or_else(PoisonError::into_inner);
        }
        *is_woken = false;
    }
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.is_woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_one();
    }
}
