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

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a window holds its first instant and not its last, and can be cut at any time.
    ///
    /// Method: ask at the borders; cut before, inside and after.
    ///
    /// Kills: an inclusive end, which counts a message in two windows; a negative length.
    #[test]
    fn a_window_holds_its_first_instant_and_not_its_last() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let window = Window { from: at(10), until: at(20) };
        assert!(!window.holds(at(9)) && window.holds(at(10)));
        assert!(window.holds(at(19)) && !window.holds(at(20)));
        for (cut_ms, len_ms) in [(5, 0), (10, 0), (15, 5), (30, 10)] {
            let mut window = window;
            window.cut(at(cut_ms));
            assert_eq!(window.len(), Duration::from_millis(len_ms), "cut at {cut_ms}");
        }
    }
}
