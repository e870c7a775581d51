//! Wakers and reports, deferred until no `RefCell` is borrowed.
//!
//! A waker may be a task of this loop, another library's combinator or a test's own. Waking or
//! dropping one can run code that calls back into this loop. So wakers and reports are collected
//! here, and the turn runs them when nothing is borrowed.
//!
//! **Invariant.** No method of this module runs user code while it borrows its own lists
//! (`a_waker_may_call_back`).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::error::{Unhandled, discard};

#[derive(Default)]
pub(crate) struct Deferred {
    wakers: RefCell<Vec<Waker>>,
    reports: RefCell<Vec<Unhandled>>,
}

impl Deferred {
    pub(crate) fn wake(&self, waker: Waker) {
        self.wakers.borrow_mut().push(waker);
    }

    pub(crate) fn report(&self, unhandled: Unhandled) {
        self.reports.borrow_mut().push(unhandled);
    }

    /// Wakes everything that was collected. One waker's panic does not lose the others.
    pub(crate) fn run_wakers(&self) {
        if self.wakers.borrow().is_empty() {
            return;
        }
        let mut wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        for waker in wakers.drain(..) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                self.report(Unhandled::WakePanic { payload });
            }
        }
        // Keep the larger list for its capacity; what the wakers added in between moves over.
        let added = std::mem::replace(&mut *self.wakers.borrow_mut(), wakers);
        self.wakers.borrow_mut().extend(added);
    }

    pub(crate) fn has_wakers(&self) -> bool {
        !self.wakers.borrow().is_empty()
    }

    /// Takes the reports.
    pub(crate) fn take_reports(&self) -> Vec<Unhandled> {
        std::mem::take(&mut *self.reports.borrow_mut())
    }
}

/// Discards what was collected after the last turn: no hook is called any more, and no destructor
/// may end the caller.
impl Drop for Deferred {
    fn drop(&mut self) {
        self.wakers.take().into_iter().for_each(discard);
        self.reports.take().into_iter().for_each(discard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    thread_local! {
        static DEFERRED: Deferred = Deferred::default();
    }

    /// Defers another wake from within its own, then panics.
    struct Hostile(AtomicUsize);

    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            if self.0.fetch_add(1, Ordering::Relaxed) < 3 {
                DEFERRED.with(|deferred| deferred.wake(Waker::from(Arc::clone(&self))));
                panic!("hostile");
            }
        }
    }

    /// Goal: a waker may call back into the loop, and its panic loses no other wake.
    /// Method: a waker that defers another wake and panics, three times, beside a counting one.
    /// Kills: waking under the borrow; stopping at the first panic.
    #[test]
    fn a_waker_may_call_back() {
        let hostile = Arc::new(Hostile(AtomicUsize::new(0)));
        let witness = Arc::new(Hostile(AtomicUsize::new(3)));
        DEFERRED.with(|deferred| {
            deferred.wake(Waker::from(Arc::clone(&hostile)));
            deferred.wake(Waker::from(Arc::clone(&witness)));
            for _ in 0..4 {
                deferred.run_wakers();
            }
            assert_eq!(hostile.0.load(Ordering::Relaxed), 4);
            assert_eq!(witness.0.load(Ordering::Relaxed), 4);
            let reports = deferred.take_reports();
            assert_eq!(reports.len(), 3, "{reports:?}");
        });
    }
}
