//! The counters of a reactor.

use std::cell::Cell;

use super::Reactor;
use super::counters::ReactorStats;
use crate::driver::Driver;

impl Reactor {
    /// Counts a stream that began (+1) or ended (−1) sending in the background.
    pub(crate) fn count_closing(&self, change: isize) {
        let closing = &self.counters.closing_streams;
        closing.set(closing.get().checked_add_signed(change).expect("a count of streams"));
    }

    /// Counts a background close that ended because the peer had reset or left the connection.
    pub(crate) fn count_peer_reset(&self) {
        increment(&self.counters.peer_resets);
    }

    /// Counts a connection beyond the limit of a listener, which has reset it.
    pub(crate) fn count_shed(&self) {
        increment(&self.counters.shed);
    }

    /// Counts a receive that found no buffer in the pool.
    pub(super) fn count_pool_exhausted(&self) {
        increment(&self.counters.pool_exhausted);
    }

    pub(crate) fn stats(&self) -> ReactorStats {
        let slots = self.slots.borrow();
        ReactorStats {
            driver: self.driver.borrow().as_ref().map(Driver::stats).unwrap_or_default(),
            stale_completions: slots.stale_completions(),
            watchdog: self.watchdog.borrow().stats,
            pool_exhausted: self.counters.pool_exhausted.get(),
            in_flight: slots.len(),
            timers: self.timers.borrow().len(),
            closing_streams: self.counters.closing_streams.get(),
            peer_resets: self.counters.peer_resets.get(),
            shed: self.counters.shed.get(),
            buffers_held: self.pool.held_count(),
        }
    }
}

fn increment(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}
