//! The loop's clock: that of the kernel, or one that a test has paused.
//!
//! Timers and `time::Instant` use this clock. What waits for the kernel itself uses the kernel's
//! clock, which never stands still: the sleep of the driver, the watchdog, the flush between two
//! polls, the detection of a spin, and the end of the loop.
//!
//! ```text
//!           pause                resume
//!  Kernel ─────────▶ Paused ─────────────▶ Shifted
//!                     │  ▲ ▲                  │
//!                     └──┘ └──────────────────┘
//!                    move_to      pause
//! ```
//!
//! **Invariant.** The time never goes back: `Paused` begins at the time of before, and `Shifted`
//! continues from the time at which the clock was paused. It stays below [`NEVER_NS`], so a timer
//! that is set for the end of time never expires.

use std::cell::Cell;

use crate::driver::Clock;

/// The end of time: the result of a saturated addition, which no clock reaches.
pub(super) const NEVER_NS: u64 = u64::MAX;

/// The clock of one loop.
pub(super) struct LoopClock {
    kernel: Clock,
    state: Cell<ClockState>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClockState {
    /// Never paused: the time of the kernel.
    Kernel,
    /// Stands still until it is moved or resumed.
    Paused { now_ns: u64 },
    /// Runs with the kernel's clock, and showed `now_ns` at its time `kernel_ns`.
    Shifted { kernel_ns: u64, now_ns: u64 },
}

/// The outcome of [`pause`](LoopClock::pause) and [`resume`](LoopClock::resume).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Changed {
    Yes,
    /// The clock was paused, or not paused, already.
    No,
}

impl LoopClock {
    pub(super) fn new(kernel: Clock) -> LoopClock {
        LoopClock { kernel, state: Cell::new(ClockState::Kernel) }
    }

    /// The time of the loop.
    pub(super) fn now_ns(&self) -> u64 {
        self.at(self.kernel.now_ns())
    }

    /// The clock of the kernel.
    pub(super) fn kernel(&self) -> &Clock {
        &self.kernel
    }

    /// The time of the loop at a time of the kernel's clock.
    pub(super) fn at(&self, at_ns: u64) -> u64 {
        match self.state.get() {
            ClockState::Kernel => at_ns,
            ClockState::Paused { now_ns } => now_ns,
            ClockState::Shifted { kernel_ns, now_ns } => {
                let passed_ns = at_ns.saturating_sub(kernel_ns);
                now_ns.saturating_add(passed_ns).min(NEVER_NS - 1)
            }
        }
    }

    /// The time of the kernel's clock at which the loop's shows `at_ns`, or `None` if it stands
    /// still.
    pub(super) fn kernel_ns_of(&self, at_ns: u64) -> Option<u64> {
        match self.state.get() {
            ClockState::Kernel => Some(at_ns),
            ClockState::Paused { .. } => None,
            ClockState::Shifted { kernel_ns, now_ns } => {
                Some(kernel_ns.saturating_add(at_ns.saturating_sub(now_ns)))
            }
        }
    }

    /// The time at which the clock stands still, if it does.
    pub(super) fn paused_ns(&self) -> Option<u64> {
        match self.state.get() {
            ClockState::Paused { now_ns } => Some(now_ns),
            ClockState::Kernel | ClockState::Shifted { .. } => None,
        }
    }

    pub(super) fn pause(&self) -> Changed {
        if self.paused_ns().is_some() {
            return Changed::No;
        }
        self.state.set(ClockState::Paused { now_ns: self.now_ns() });
        Changed::Yes
    }

    pub(super) fn resume(&self) -> Changed {
        let Some(now_ns) = self.paused_ns() else {
            return Changed::No;
        };
        self.state.set(ClockState::Shifted { kernel_ns: self.kernel.now_ns(), now_ns });
        Changed::Yes
    }

    /// Moves a paused clock forward.
    pub(super) fn move_to(&self, at_ns: u64) {
        let now_ns = self.paused_ns().expect("only a paused clock is moved");
        assert!(at_ns < NEVER_NS, "the clock is moved to the end of time");
        assert!(at_ns >= now_ns, "the clock is moved back, from {now_ns} to {at_ns} ns");
        self.state.set(ClockState::Paused { now_ns: at_ns });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enumeration::visit_all;
    use std::rc::Rc;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Event {
        Pause,
        Resume,
        /// Moves a paused clock by this.
        Move(u64),
        /// The kernel's clock advances by this.
        Pass(u64),
    }

    const EVENTS: [Event; 6] = [
        Event::Pause,
        Event::Resume,
        Event::Move(1),
        Event::Move(100),
        Event::Pass(1),
        Event::Pass(100),
    ];

    /// As many events of one path, because time only grows.
    const PATH_LEN_MAX: usize = 6;

    /// Goal: the time never goes back, stands still while it is paused, and otherwise passes with
    /// the kernel's clock. A deadline that is converted for the kernel comes at its time.
    ///
    /// Method: every order of up to six events, compared with a sum of what has passed.
    ///
    /// Kills: a resume that jumps to the kernel's time, back or forth; a pause that forgets an
    /// earlier shift; a conversion without the shift.
    #[test]
    fn the_time_of_the_loop_never_goes_back() {
        let visited = visit_all(&EVENTS, |path| {
            if path.len() > PATH_LEN_MAX {
                return None;
            }
            let kernel_ns = Rc::new(Cell::new(1_000));
            let clock = LoopClock::new(Clock::Virtual(Rc::clone(&kernel_ns)));
            let (mut is_paused, mut expected_ns) = (false, 1_000);
            for &event in path {
                match event {
                    Event::Pause => {
                        let expected = if is_paused { Changed::No } else { Changed::Yes };
                        assert_eq!(clock.pause(), expected);
                        is_paused = true;
                    }
                    Event::Resume => {
                        let expected = if is_paused { Changed::Yes } else { Changed::No };
                        assert_eq!(clock.resume(), expected);
                        is_paused = false;
                    }
                    Event::Move(_) if !is_paused => return None,
                    Event::Move(ns) => {
                        expected_ns += ns;
                        clock.move_to(expected_ns);
                    }
                    Event::Pass(ns) => {
                        kernel_ns.set(kernel_ns.get() + ns);
                        expected_ns += if is_paused { 0 } else { ns };
                    }
                }
                assert_eq!(clock.now_ns(), expected_ns);
                assert_eq!(clock.paused_ns(), is_paused.then_some(expected_ns));
                let due_ns = clock.kernel_ns_of(expected_ns + 7);
                assert_eq!(due_ns, (!is_paused).then_some(kernel_ns.get() + 7));
            }
            Some((clock.state.get() == ClockState::Kernel, is_paused, expected_ns, kernel_ns.get()))
        });
        assert!(visited.states > 100, "{visited:?}");
    }

    /// Goal: the time does not reach the end of time, where timers that never expire are.
    ///
    /// Method: resume a clock that stands just before it, and let more than the rest pass.
    ///
    /// Kills: an addition that wraps; a limit of `u64::MAX`.
    #[test]
    fn the_end_of_time_is_not_reached() {
        let kernel_ns = Rc::new(Cell::new(1_000));
        let clock = LoopClock::new(Clock::Virtual(Rc::clone(&kernel_ns)));
        assert_eq!(clock.pause(), Changed::Yes);
        clock.move_to(NEVER_NS - 2);
        assert_eq!(clock.resume(), Changed::Yes);
        for _ in 0..3 {
            kernel_ns.set(kernel_ns.get() + u64::MAX / 4);
            assert_eq!(clock.now_ns(), NEVER_NS - 1);
        }
        assert_eq!(clock.kernel_ns_of(NEVER_NS - 1), Some(1_001));
    }
}
