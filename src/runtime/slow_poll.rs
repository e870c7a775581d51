//! Polls that block the loop: how they are measured, and what a report of one contains.
//!
//! While a task, a callback or the main future runs, nothing else of the loop does. A poll that
//! computes for a long time delays every connection and every timer. It can be reported only after
//! it has returned, because the loop is what would notice.
//!
//! The time is that of the kernel's clock, also where a test has paused the clock of the loop.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::driver::Clock;
use crate::task::{PollKind, Polled, TaskId};

/// The default limit. It is asyncio's `slow_callback_duration`.
pub(super) const LIMIT: Duration = Duration::from_millis(100);

/// The program's hook for slow polls.
pub(super) type Hook = Box<dyn Fn(&SlowPoll)>;

/// A poll or a callback that took longer than the limit of
/// [`Builder::slow_poll`](crate::Builder::slow_poll).
///
/// Its text (`Display`) is the line that is printed without a hook.
#[derive(Clone, Debug)]
pub struct SlowPoll {
    polled: Polled,
    duration: Duration,
}

impl SlowPoll {
    pub(super) fn new(polled: Polled, duration: Duration) -> SlowPoll {
        SlowPoll { polled, duration }
    }

    /// What has blocked the loop.
    pub fn kind(&self) -> PollKind {
        self.polled.kind
    }

    /// The number of the task. `None` for a callback.
    pub fn id(&self) -> Option<TaskId> {
        self.polled.id
    }

    /// The name of the task, if it has one ([`task::Builder`](crate::task::Builder)).
    pub fn name(&self) -> Option<&str> {
        self.polled.name.as_deref()
    }

    /// The place in the program where the task was spawned, where the callback was scheduled, or of
    /// the `block_on`.
    pub fn place(&self) -> &'static Location<'static> {
        self.polled.place
    }

    /// The time from the start of the poll to its end.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}

impl fmt::Display for SlowPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SlowPoll { polled: Polled { kind, id: _, name, place }, duration } = self;
        match (kind, name) {
            (PollKind::Main, _) => write!(f, "the main future of `block_on` at {place}")?,
            (PollKind::Task, Some(name)) => write!(f, "task {name:?} spawned at {place}")?,
            (PollKind::Task, None) => write!(f, "a task spawned at {place}")?,
            (PollKind::Call, _) => write!(f, "a callback from {place}")?,
            (PollKind::Timer, _) => write!(f, "a timer's callback from {place}")?,
        }
        write!(f, " blocked the loop for {duration:.1?}: move long computations to a thread")
    }
}

/// The program's settings for slow polls.
#[derive(Default)]
pub(super) struct Settings {
    /// What the builder was given: the limit, or `None` for no measurement.
    pub(super) chosen: Option<Option<Duration>>,
    pub(super) hook: Option<Hook>,
}

impl Settings {
    /// The measurement of a runtime that is built now.
    pub(super) fn stopwatch(&self, clock: &Clock) -> Option<Stopwatch> {
        let variable = std::env::var("RINGLOOP_DEBUG").ok();
        let limit = limit(self.chosen, variable.as_deref(), cfg!(debug_assertions))?;
        Some(Stopwatch { limit, clock: clock.clone() })
    }
}

/// The builder takes precedence over the environment, and the environment over the kind of build.
fn limit(
    chosen: Option<Option<Duration>>,
    variable: Option<&str>,
    is_debug_build: bool,
) -> Option<Duration> {
    let is_on = match variable {
        Some("1") => true,
        Some("0") => false,
        _ => is_debug_build,
    };
    chosen.unwrap_or(is_on.then_some(LIMIT))
}

/// The measurement of polls, if it is on.
pub(super) struct Stopwatch {
    limit: Duration,
    clock: Clock,
}

impl Stopwatch {
    /// Calls `run` and returns its result, with its duration if that is at or above the limit.
    pub(super) fn measure<T>(&self, run: impl FnOnce() -> T) -> (T, Option<Duration>) {
        let begun_ns = self.clock.now_ns();
        let result = run();
        let duration = Duration::from_nanos(self.clock.now_ns().saturating_sub(begun_ns));
        (result, Some(duration).filter(|duration| *duration >= self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the measurement is on in debug builds and with `RINGLOOP_DEBUG=1`, off with `0`, and
    /// the builder takes precedence over both.
    ///
    /// Method: the rule for each combination.
    ///
    /// Kills: a variable that overrides the builder; one that is ignored; a default that is on in
    /// release builds.
    #[test]
    fn the_builder_and_the_environment_decide() {
        let second = Duration::from_secs(1);
        for (variable, is_debug_build, expected) in [
            (None, true, Some(LIMIT)),
            (None, false, None),
            (Some("1"), false, Some(LIMIT)),
            (Some("0"), true, None),
            (Some("yes"), true, Some(LIMIT)),
            (Some(""), false, None),
        ] {
            assert_eq!(limit(None, variable, is_debug_build), expected, "{variable:?}");
            assert_eq!(limit(Some(None), variable, is_debug_build), None);
            assert_eq!(limit(Some(Some(second)), variable, is_debug_build), Some(second));
        }
    }
}
