//! The measured window of a run.

use std::time::{Duration, Instant};

/// The measured window. A message belongs to it by the time at which it was due: in an open loop
/// the scheduled time, in a closed loop the time at which it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

impl Window {
    pub(crate) fn holds(&self, time: Instant) -> bool {
        self.from <= time && time < self.until
    }

    /// Ends the window early. One that has not begun becomes empty.
    pub(crate) fn cut(&mut self, now: Instant) {
        self.until = self.until.min(now);
        self.from = self.from.min(self.until);
    }

    pub(crate) fn len(&self) -> Duration {
        self.until.duration_since(self.from)
    }
}
