//! The notes of the watchdog.

use std::collections::VecDeque;

use crate::driver::request::Key;

/// What the watchdog remembers from one look to the next.
#[derive(Default)]
pub(in crate::reactor) struct Watchdog {
    /// Whether the driver can lose a wake-up, a cancel or a completion.
    pub(in crate::reactor) is_needed: bool,
    /// When the next look is due. `None` before the first operation.
    pub(in crate::reactor) look_ns: Option<u64>,
    /// The slot that is next.
    pub(in crate::reactor) cursor: usize,
    /// Ready at the last look.
    pub(in crate::reactor) suspects: Vec<Key>,
    /// Since the last look, a wait has brought all that the kernel had.
    pub(in crate::reactor) has_caught_up: bool,
    /// Cancels in the order of their time. At most one per operation.
    pub(in crate::reactor) cancels: VecDeque<Cancel>,
    /// In flight when a completion was dropped, and not checked yet.
    pub(in crate::reactor) unchecked: Vec<Key>,
    /// As the driver counted them at the last look.
    pub(in crate::reactor) dropped_count: u32,
    pub(in crate::reactor) stats: WatchdogStats,
}

/// The counters of the watchdog.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct WatchdogStats {
    pub(crate) lost_wakeups: u64,
    pub(crate) cancels_repeated: u64,
    pub(crate) dropped_completions: u64,
}

/// A cancel whose operation may not have ended.
#[derive(Clone, Copy)]
pub(in crate::reactor) struct Cancel {
    pub(in crate::reactor) key: Key,
    pub(in crate::reactor) again_ns: u64,
    pub(in crate::reactor) count: u32,
}

impl Watchdog {
    pub(in crate::reactor) fn new(is_needed: bool) -> Watchdog {
        Watchdog { is_needed, ..Watchdog::default() }
    }
}
