//! A loop in a forked child of the process that built it.
//!
//! The child has a copy of everything, and none of it belongs to the child. The ring and the epoll
//! instance are the parent's, its queues are not mapped (`MADV_DONTFORK`), and what is in flight is
//! completed in the parent. So using the loop panics with the reason, and destructors release
//! the child's own memory and descriptor numbers and nothing else.
//!
//! The first destructor that would have asked the driver for something gives up the child's copy
//! ([`Reactor::disown`]): the kernel uses no memory of the child, so what the slots kept alive is
//! freed at once, and the last handle to a socket closes the child's descriptor.

use super::Reactor;
use super::phase::ReactorPhase;
use crate::loop_id::Home;

impl Reactor {
    /// The identity of this loop, for the check of futures that wait.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Whether this is a forked child's copy of a loop.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.home.id().is_of_parent()
    }

    /// Requires that this process built the loop.
    ///
    /// # Panics
    ///
    /// If this is a forked child's copy of a loop.
    #[track_caller]
    pub(crate) fn check_process(&self) {
        self.home.id().check_process();
    }

    /// If this is a forked child's copy of a loop, gives it up, once, and returns true.
    pub(crate) fn disown(&self) -> bool {
        if !self.is_of_parent() {
            return false;
        }
        let driver = self.driver.borrow_mut().take();
        if let Some(driver) = driver {
            self.phase.set(ReactorPhase::Closed);
            driver.disown();
            self.submission.drop_unprepared();
            let owners = self.slots.borrow_mut().take_all();
            drop(owners); // may close sockets, which call back
        }
        true
    }
}
