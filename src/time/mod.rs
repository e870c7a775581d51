//! Timers: `sleep`, `timeout`, `interval` and callbacks.
//!
//! Times are measured on `CLOCK_MONOTONIC`, which stops while the machine is suspended. A timer
//! never fires early. Timers with equal deadlines fire in the order in which they were set. A
//! duration that is too long to represent means "never".
//!
//! A test can [`pause`] the clock of its loop: then it stands still while something happens, and
//! jumps to the next timer when nothing else can.

mod call;
mod deadline;
mod instant;
mod interval;
mod next_deadline;
mod op_deadline;
mod sleep;
mod timeout;
mod virtual_time;

pub use call::{TimerHandle, call_at, call_later};
pub use deadline::{Deadline, current_deadline, deadline_scope};
pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use virtual_time::{advance, pause, resume};

pub(crate) use op_deadline::op_deadline;
