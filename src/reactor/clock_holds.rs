//! Work on other threads that holds a paused clock.
//!
//! A paused clock may move only when nothing else can happen, and a job of another thread that will
//! wake the loop is something that can happen. Such a job owns a [`ClockHold`] from its start on
//! the loop's thread until its result, and the wake that announces it, have been sent.
//!
//! ```text
//!   loop                                   another thread
//!   enter the kernel                       send the result, wake the loop
//!   read the count                         count − 1
//!   look into the inbox, run what is ready
//! ```
//!
//! The loop reads the count before it looks into the inbox: a count of 0 means that the wakes of
//! all jobs are in the inbox already, so the following look finds them. The last hold that is
//! released also ends the sleep of a paused loop, because its job may have had no task to wake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::driver::Unparker;
use crate::loop_id::LoopId;

/// The holds of one loop's clock.
pub(crate) struct ClockHolds {
    id: LoopId,
    count: AtomicUsize,
    /// Whether the loop's clock is paused, so that the last release must end its sleep.
    is_paused: AtomicBool,
    unparker: Unparker,
}

impl ClockHolds {
    pub(super) fn new(id: LoopId, unparker: Unparker) -> Arc<ClockHolds> {
        Arc::new(ClockHolds {
            id,
            count: AtomicUsize::new(0),
            is_paused: AtomicBool::new(false),
            unparker,
        })
    }

    /// Holds the clock until the value is dropped, on any thread.
    pub(crate) fn hold(self: &Arc<Self>) -> ClockHold {
        self.count.fetch_add(1, Ordering::SeqCst);
        ClockHold { holds: Arc::clone(self) }
    }

    // Sequentially consistent: the loop writes `is_paused` and reads the count, and a release
    // writes the count and reads `is_paused`. One of the two must see the other's write.

    pub(super) fn is_any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    pub(super) fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::SeqCst);
    }
}

/// Holds the paused clock of a loop while it exists. A job drops it after it has sent its result
/// and woken the loop.
#[must_use = "the clock is held until this is dropped"]
pub(crate) struct ClockHold {
    holds: Arc<ClockHolds>,
}

impl Drop for ClockHold {
    fn drop(&mut self) {
        let ClockHolds { id, count, is_paused, unparker } = &*self.holds;
        let is_last = count.fetch_sub(1, Ordering::SeqCst) == 1;
        if is_last && is_paused.load(Ordering::SeqCst) && !id.is_of_parent() {
            unparker.unpark();
        }
    }
}
