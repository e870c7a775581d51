//! [`Runtime::next_deadline`]: the time of the next timer, for a foreign loop.

use super::instant::Instant;
use crate::runtime::Runtime;

impl Runtime {
    /// The time at which the loop next has something to do without an event from outside: its first
    /// timer, or a check of its own. `None` if it has no timer.
    ///
    /// A foreign loop that drives this one sleeps until then at most, and calls
    /// [`turn`](Runtime::turn). A deadline that has passed is returned until a turn has handled it.
    /// The time is of the loop's clock, in nanoseconds. This is libuv's `uv_backend_timeout`, as a
    /// time instead of a duration.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringloop::time::{Instant, sleep};
    ///
    /// let runtime = ringloop::Runtime::new()?;
    /// runtime.handle().spawn(async { sleep(Duration::from_millis(5)).await });
    /// runtime.turn(Some(Duration::ZERO)); // the task begins to sleep
    /// assert!(runtime.next_deadline().unwrap() <= Instant::now() + Duration::from_millis(5));
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core().reactor.next_deadline_ns().map(Instant::from_ns)
    }
}
