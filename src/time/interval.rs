//! `interval`: a tick every so often.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use super::instant::Instant;
use super::sleep::{Sleep, sleep_until};

/// Ticks at once and then every `period`.
///
/// # Panics
///
/// If `period` is zero, or no loop runs on this thread.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start` and then every `period`. Panics as [`interval`].
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval of zero would tick without end at the same moment");
    Interval { sleep: sleep_until(start), period, missed: MissedTickBehavior::Burst }
}

/// What happens to ticks that were not taken in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// They come at once, one after the other, until the schedule is caught up with.
    #[default]
    Burst,
    /// One comes at once, and the next a full period later.
    Delay,
    /// One comes at once, and the next when the original schedule has one.
    Skip,
}

/// The ticks of [`interval`]. Also a `Stream` of them that never ends.
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick, and returns the moment it was due.
    ///
    /// Cancel safe: a dropped wait loses no tick.
    ///
    /// # Panics
    ///
    /// If its loop has ended, as [`Sleep`].
    pub async fn tick(&mut self) -> Instant {
        (&mut self.sleep).await;
        self.take_tick()
    }

    /// As [`tick`](Interval::tick), for hand-written futures.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        Poll::Ready(self.take_tick())
    }

    /// Lets the next tick come a full period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(Instant::now() + self.period);
    }

    /// What happens to ticks that were not taken in time. Default: [`MissedTickBehavior::Burst`].
    pub fn set_missed_tick_behavior(&mut self, missed: MissedTickBehavior) {
        self.missed = missed;
    }

    /// The time between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    fn take_tick(&mut self) -> Instant {
        let due = self.sleep.deadline();
        self.sleep.reset(self.next_after(due, Instant::now()));
        due
    }

    fn next_after(&self, due: Instant, now: Instant) -> Instant {
        let next = due + self.period;
        if next > now {
            return next;
        }
        match self.missed {
            MissedTickBehavior::Burst => next,
            MissedTickBehavior::Delay => now + self.period,
            MissedTickBehavior::Skip => {
                let period_ns = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
                let late_ns = now.as_ns() - due.as_ns();
                let into_period_ns = late_ns % period_ns;
                Instant::from_ns(now.as_ns() - into_period_ns) + self.period
            }
        }
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}
