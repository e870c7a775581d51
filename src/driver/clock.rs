//! The clock of a loop: the kernel's, or one that a test moves.

use std::cell::Cell;
use std::rc::Rc;

use crate::sys::clock;

/// The one clock of a loop.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    Monotonic,
    /// Stands still until a test moves it.
    #[cfg_attr(not(any(test, fuzzing)), expect(dead_code, reason = "only scripted rings have one"))]
    Virtual(Rc<Cell<u64>>),
}

impl Clock {
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Clock::Monotonic => clock::monotonic_ns(),
            Clock::Virtual(now_ns) => now_ns.get(),
        }
    }

    /// How long to sleep until this moment. A virtual clock is moved instead.
    pub(super) fn pass_until(&self, at_ns: u64) -> u64 {
        match self {
            Clock::Monotonic => at_ns.saturating_sub(self.now_ns()),
            Clock::Virtual(now_ns) => {
                now_ns.set(now_ns.get().max(at_ns));
                0
            }
        }
    }
}
