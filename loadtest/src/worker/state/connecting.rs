//! How far the connects are.

use std::time::{Duration, Instant};

use super::{FAILED_CONNECTS_MAX, Worker, record};
use crate::control::Event;
use crate::failure::Failure;

impl Worker {
    pub(in crate::worker) fn connect_started(&self) {
        let mut ramp = self.ramp.borrow_mut();
        if ramp.started == 0 {
            ramp.started_at = Instant::now();
        }
        ramp.started += 1;
    }

    pub(in crate::worker) fn all_connects_started(&self) {
        self.ramp.borrow_mut().all_started = true;
        self.tell_if_ramped();
    }

    pub(in crate::worker) fn gives_up_connecting(&self) -> bool {
        let ramp = self.ramp.borrow();
        self.is_draining() || (ramp.opened == 0 && ramp.failed >= FAILED_CONNECTS_MAX)
    }

    pub(in crate::worker) fn opened(&self, index: u32, took: Duration) {
        record(&self.connect, took);
        {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            slot.was_opened = true;
            slot.is_open = true;
        }
        self.links.published.opened.add_one();
        self.links.published.alive.add_one();
        {
            let mut ramp = self.ramp.borrow_mut();
            ramp.opened += 1;
            ramp.took = ramp.started_at.elapsed();
        }
        self.tell_if_ramped();
    }

    pub(in crate::worker) fn connect_failed(&self, failure: Failure) {
        self.failures.borrow_mut().count(failure, false);
        self.links.published.refused.add_one();
        self.ramp.borrow_mut().failed += 1;
        self.tell_if_ramped();
    }

    fn tell_if_ramped(&self) {
        let ramp = self.ramp.borrow();
        if ramp.all_started && ramp.started == ramp.opened + ramp.failed {
            drop(ramp);
            self.tell_once(&self.told.ramped, Event::Ramped);
        }
    }
}
