//! The progress of a worker's connects: those of the ramp, and those that follow a failure.
//!
//! ```text
//! started ──▶ pending ──┬──▶ opened
//!                       └──▶ failed
//! ```

use std::time::{Duration, Instant};

use crate::measure::counters::IdleCounts;

/// If this many connects have failed and none has succeeded, the rest of the ramp is left out: the
/// target is not reachable.
const FAILED_CONNECTS_MAX: u32 = 64;

/// Counts the connects of one worker.
#[derive(Debug)]
pub(super) struct Ramp {
    started_at: Instant,
    /// First connects of the connections that send.
    started: u32,
    failed: u32,
    opened: u32,
    /// First connects, of idle connections too, that are neither opened nor failed yet.
    pending: u32,
    all_started: bool,
    /// From the start to the last first connect that was opened.
    length: Duration,
    /// Open connections that have failed or timed out. One that is opened again may count again.
    lost: u32,
    reconnects: u64,
    idle: IdleCounts,
    /// The time from which the next connect after a failed connect may start.
    retry_at: Instant,
    /// Between two such connects.
    retry_spacing: Duration,
}

/// Which of a connection's connects it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Again,
}

/// The figures of a ramp for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RampCounts {
    pub(super) started: u32,
    pub(super) failed: u32,
    pub(super) length: Duration,
    pub(super) lost: u32,
    pub(super) reconnects: u64,
    pub(super) idle: IdleCounts,
}

impl Ramp {
    pub(super) fn new(retry_spacing: Duration, now: Instant) -> Ramp {
        Ramp {
            started_at: now,
            started: 0,
            failed: 0,
            opened: 0,
            pending: 0,
            all_started: false,
            length: Duration::ZERO,
            lost: 0,
            reconnects: 0,
            idle: IdleCounts::default(),
            retry_at: now,
            retry_spacing,
        }
    }

    /// A first connect begins.
    pub(super) fn connect_started(&mut self, now: Instant) {
        if self.started == 0 {
            self.started_at = now;
        }
        self.started += 1;
        self.pending += 1;
    }

    /// No more first connects begin.
    pub(super) fn all_started(&mut self) {
        self.all_started = true;
    }

    /// Whether the target is not reachable, so that more connects are pointless.
    pub(super) fn is_hopeless(&self) -> bool {
        self.opened == 0 && self.failed >= FAILED_CONNECTS_MAX
    }

    /// Whether all first connects have ended.
    pub(super) fn is_over(&self) -> bool {
        self.all_started && self.pending == 0
    }

    /// A connection that sends is open. Returns whether it is open for the first time.
    pub(super) fn opened(&mut self, attempt: Attempt, was_opened: bool, now: Instant) -> bool {
        match attempt {
            Attempt::First => {
                self.opened += 1;
                self.pending -= 1;
                self.length = now.duration_since(self.started_at);
            }
            // Its first connect has failed.
            Attempt::Again if !was_opened => {}
            Attempt::Again => self.reconnects += 1,
        }
        !was_opened
    }

    /// A connect of a connection that sends has failed.
    pub(super) fn failed(&mut self, attempt: Attempt) {
        if attempt == Attempt::First {
            self.failed += 1;
            self.pending -= 1;
        }
    }

    /// An open connection that sends has failed.
    pub(super) fn lost(&mut self) {
        self.lost += 1;
    }

    /// An idle connection is open. The counts of connects are about the others.
    pub(super) fn idle_opened(&mut self) {
        self.idle.opened += 1;
        self.idle_ended();
    }

    /// The connect of an idle connection has failed.
    pub(super) fn idle_failed(&mut self) {
        self.idle_ended();
    }

    fn idle_ended(&mut self) {
        self.started -= 1;
        self.pending -= 1;
    }

    /// An open idle connection has ended before the end of the run.
    pub(super) fn idle_lost(&mut self) {
        self.idle.lost += 1;
    }

    /// How long to wait before the next connect after a failed one. All connections of a worker
    /// share this pace, so that they do not flood a target that is back.
    pub(super) fn retry_pause(&mut self, now: Instant) -> Duration {
        let at = self.retry_at.max(now);
        self.retry_at = at + self.retry_spacing;
        at - now
    }

    pub(super) fn counts(&self) -> RampCounts {
        let Ramp { started, failed, length, lost, reconnects, idle, .. } = *self;
        RampCounts { started, failed, length, lost, reconnects, idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Goal: a ramp is over when all connects have begun and each has ended, in any order, and
    /// idle connections are not among its figures.
    ///
    /// Method: three connects, of which one opens, one fails and one is idle, in all six orders.
    /// The ramp must not be over before the last of them, nor before all have begun.
    ///
    /// Kills: a failed or idle connect that stays pending; a ramp that is over between two
    /// connects; an idle connection counted as one that sends.
    #[test]
    fn the_ramp_is_over_when_every_connect_has_ended() {
        let start = Instant::now();
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for order in orders {
            let mut ramp = Ramp::new(MS, start);
            for _ in order {
                ramp.connect_started(start + MS);
            }
            for step in order {
                ramp.all_started();
                assert!(!ramp.is_over(), "{order:?}");
                match step {
                    0 => assert!(ramp.opened(Attempt::First, false, start + 8 * MS)),
                    1 => ramp.failed(Attempt::First),
                    _ => ramp.idle_opened(),
                }
            }
            assert!(ramp.is_over(), "{order:?}");
            let idle = IdleCounts { opened: 1, lost: 0 };
            let wanted =
                RampCounts { started: 2, failed: 1, length: 7 * MS, lost: 0, reconnects: 0, idle };
            assert_eq!(ramp.counts(), wanted, "{order:?}");
        }
        let mut begun = Ramp::new(MS, start);
        begun.connect_started(start);
        begun.failed(Attempt::First);
        assert!(!begun.is_over(), "more connects follow");
    }

    /// Goal: later connects are counted as reconnects, unless the connection was never open, and
    /// the ramp ends early only if no connect has succeeded.
    ///
    /// Method: the first connect fails, the second opens, the third follows a loss; the bound of
    /// failed connects, with and without one that has opened.
    ///
    /// Kills: a retry counted as a reconnect; a lost connection not counted; a ramp that gives up
    /// on a target that is reachable.
    #[test]
    fn reconnects_and_hopeless_ramps_are_recognised() {
        let now = Instant::now();
        let mut ramp = Ramp::new(MS, now);
        for number in 0..FAILED_CONNECTS_MAX {
            assert!(!ramp.is_hopeless(), "{number}");
            ramp.connect_started(now);
            ramp.failed(Attempt::First);
        }
        assert!(ramp.is_hopeless());
        ramp.failed(Attempt::Again);
        assert!(ramp.opened(Attempt::Again, false, now));
        assert_eq!(ramp.counts().reconnects, 0);
        assert!(!ramp.opened(Attempt::Again, true, now));
        assert_eq!(ramp.counts().reconnects, 1);
        ramp.connect_started(now);
        assert!(ramp.opened(Attempt::First, false, now));
        assert!(!ramp.is_hopeless());
    }

    /// Goal: connects that follow failures keep their pace together.
    ///
    /// Method: three connections ask at the same time, and one later than the pace.
    ///
    /// Kills: each connection with a pace of its own; a pace that saves up what was not used.
    #[test]
    fn retries_share_one_pace() {
        let now = Instant::now();
        let mut ramp = Ramp::new(10 * MS, now);
        let pauses = [now, now, now + 5 * MS].map(|at| ramp.retry_pause(at));
        assert_eq!(pauses, [Duration::ZERO, 10 * MS, 15 * MS]);
        assert_eq!(ramp.retry_pause(now + 100 * MS), Duration::ZERO);
        assert_eq!(ramp.retry_pause(now + 100 * MS), 10 * MS);
    }
}
