//! What a worker measures of its own loop.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::measure::stats;
use crate::measure::window::Window;

/// Measurements of the loop in the measured window.
#[derive(Debug)]
pub(super) struct LoopHealth {
    /// How late the loop was at its timers.
    pub(super) lag: Histogram<u64>,
    /// Time awake with nothing to do (`--spin`).
    pub(super) spin_time: Duration,
}

impl Default for LoopHealth {
    fn default() -> LoopHealth {
        LoopHealth { lag: stats::new_lag_histogram(), spin_time: Duration::ZERO }
    }
}

impl LoopHealth {
    pub(super) fn record_lag(&mut self, lag: Duration) {
        self.lag.saturating_record(lag.as_nanos() as u64);
    }

    /// The loop has spun from `begun` until `now`.
    pub(super) fn record_spin(&mut self, window: Option<Window>, begun: Instant, now: Instant) {
        if window.is_some_and(|window| window.holds(begun)) {
            self.spin_time += now - begun;
        }
    }
}
