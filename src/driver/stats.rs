//! The counters of a driver.

/// What a driver counts.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct DriverStats {
    pub(crate) enter_calls: u64,
    pub(crate) sleeps: u64,
    pub(crate) enter_retries: u64,
    pub(crate) submissions: u64,
    pub(crate) completions: u64,
    pub(crate) cq_overflows: u64,
    pub(crate) cancels: u64,
    pub(crate) cancels_missed: u64,
    pub(crate) timeout_arms: u64,
    pub(crate) stale_completions: u64,
}
