//! Waiting for a moment.
//!
//! Times are measured on `CLOCK_MONOTONIC`, which stands still while the machine is suspended. A
//! timer never fires early. Timers with equal deadlines fire in the order they were set. Durations
//! too long to represent mean "never".

mod call;
mod instant;
mod interval;
mod sleep;
mod timeout;

pub use call::{TimerHandle, call_at, call_later};
pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
