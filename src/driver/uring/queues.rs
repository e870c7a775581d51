//! A ring, and the counters of what goes through it.

use std::io;

use super::entry::{Enter, Entry, Full, Ring, is_passing};
use crate::driver::stats::DriverStats;

pub(super) struct Queues<R> {
    pub(super) ring: R,
    pub(super) stats: DriverStats,
}

impl<R: Ring> Queues<R> {
    pub(super) fn new(ring: R) -> Queues<R> {
        Queues { ring, stats: DriverStats::default() }
    }

    /// Pushes an entry of the driver's own, making room by submitting if there is none.
    pub(super) fn push_now(&mut self, user_data: u64, entry: Entry) -> Result<(), Full> {
        if self.ring.push(user_data, entry).is_err() {
            let _ = self.enter(Enter::Submit); // the push below shows whether it made room
            self.ring.push(user_data, entry)?;
        }
        self.stats.submissions += 1;
        Ok(())
    }

    /// Enters the kernel, from this one place. A result is no information about completions (H03).
    pub(super) fn enter(&mut self, enter: Enter) -> io::Result<()> {
        self.stats.enter_calls += 1;
        if enter == Enter::Sleep {
            self.stats.sleeps += 1;
        }
        match self.ring.enter(enter) {
            Ok(()) => Ok(()),
            Err(error) if is_passing(&error) => {
                self.stats.enter_retries += 1;
                Ok(())
            }
            // A broken or forbidden ring (H25): it ends the driver (`reactor::driver_failure`).
            Err(error) => Err(error),
        }
    }
}
