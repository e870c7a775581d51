//! What a reactor counts, and the form in which it is read.

use std::cell::Cell;

use super::watchdog::state::WatchdogStats;
use crate::driver::DriverStats;

/// The counters that have no better place.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) pool_exhausted: Cell<u64>,
    pub(super) closing_streams: Cell<usize>,
    pub(super) peer_resets: Cell<u64>,
    pub(super) shed: Cell<u64>,
}

/// A copy of all counters.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ReactorStats {
    pub(crate) driver: DriverStats,
    pub(crate) stale_completions: u64,
    pub(crate) watchdog: WatchdogStats,
    pub(crate) pool_exhausted: u64,
    pub(crate) in_flight: usize,
    pub(crate) timers: usize,
    pub(crate) closing_streams: usize,
    pub(crate) peer_resets: u64,
    pub(crate) shed: u64,
    pub(crate) buffers_held: u32,
}
