//! Waking tasks, when no `RefCell` is borrowed.
//!
//! A waker may run any code: it may call back into the channel or the lock that woke it, and it may
//! panic. So wakers are taken out of a structure first, and woken here.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

use crate::error::discard;

/// Wakes the tasks of `wakers`, in order.
///
/// # Panics
///
/// If a waker panics: when the others have been woken, the first panic goes on. During another
/// panic it is discarded.
pub(crate) fn wake_each(wakers: impl IntoIterator<Item = Waker>) {
    let mut first_panic = None;
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            match first_panic {
                None => first_panic = Some(payload),
                Some(_) => discard(payload),
            }
        }
    }
    match first_panic {
        None => {}
        Some(payload) if std::thread::panicking() => discard(payload),
        Some(payload) => resume_unwind(payload),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bomb(AtomicBool);

    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
            panic!("a waker");
        }
    }

    /// Goal: a waker that panics loses no other wake, and its panic reaches the caller.
    /// Method: three wakers that all panic. Kills: a loop that ends at the first panic.
    #[test]
    fn a_panic_loses_no_wake() {
        let bombs: [Arc<Bomb>; 3] = Default::default();
        let wakers = bombs.iter().map(|bomb| Waker::from(Arc::clone(bomb)));
        let result = catch_unwind(AssertUnwindSafe(|| wake_each(wakers)));
        assert!(result.is_err());
        assert!(bombs.iter().all(|bomb| bomb.0.load(Ordering::Relaxed)));
    }
}
