//! [`interval`]: ticks at regular times.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use super::instant::Instant;
use super::sleep::{Sleep, sleep_until};

/// Makes an [`Interval`] that ticks at once and then every `period`.
///
/// Ticks that were not awaited in time come at once, one after the other
/// ([`MissedTickBehavior`]). This is tokio's `interval`.
///
/// # Panics
///
/// If `period` is zero, or no loop runs on this thread.
///
/// ```
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let mut interval = ringloop::time::interval(Duration::from_millis(2));
///     let first = interval.tick().await; // at once
///     let second = interval.tick().await;
///     assert_eq!(second - first, Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Makes an [`Interval`] that ticks at `start` and then every `period`.
///
/// Otherwise like [`interval`].
///
/// # Panics
///
/// If `period` is zero, or no loop runs on this thread.
///
/// ```
/// use ringloop::time::{Instant, interval_at};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let period = Duration::from_millis(2);
///     let start = Instant::now() + period;
///     let mut interval = interval_at(start, period);
///     assert_eq!(interval.tick().await, start);
///     assert_eq!(interval.tick().await, start + period);
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "interval_at: the period is zero, which would tick without end: use a positive one"
    );
    Interval { sleep: sleep_until(start), period, missed: MissedTickBehavior::Burst }
}

/// A rule for ticks that were not awaited in time. The rules and their names are tokio's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// All missed ticks come at once, one after the other, until the schedule is reached again.
    #[default]
    Burst,
    /// One tick comes at once, and the next a full period later.
    Delay,
    /// One tick comes at once, and the next at its time of the original schedule.
    Skip,
}

/// The ticks of [`interval`] and [`interval_at`]. It is also a `futures_core::Stream` of them that
/// never ends.
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick, and returns the time at which it was due.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no tick.
    ///
    /// # Panics
    ///
    /// If the loop of the interval has ended, as for [`Sleep`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let mut interval = ringloop::time::interval(Duration::from_millis(1));
    ///     for _ in 0..3 {
    ///         interval.tick().await;
    ///     }
    /// });
    /// ```
    pub async fn tick(&mut self) -> Instant {
        (&mut self.sleep).await;
        self.take_tick()
    }

    /// Polls for the next tick. Otherwise like [`tick`](Interval::tick).
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let mut interval = ringloop::time::interval(Duration::from_millis(1));
    ///     poll_fn(|cx| interval.poll_tick(cx)).await;
    /// });
    /// ```
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        Poll::Ready(self.take_tick())
    }

    /// Moves the next tick to a full period from now. Later ticks follow it. This is tokio's
    /// `Interval::reset`, as are the three methods below.
    ///
    /// ```
    /// use ringloop::time::{Instant, interval, pause, sleep};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     pause();
    ///     let start = Instant::now();
    ///     let mut interval = interval(Duration::from_secs(10));
    ///     interval.tick().await;
    ///     sleep(Duration::from_secs(4)).await;
    ///     interval.reset();
    ///     assert_eq!(interval.tick().await, start + Duration::from_secs(14));
    /// });
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Moves the next tick to now. Later ticks follow it at full periods.
    ///
    /// ```
    /// use ringloop::time::{Instant, interval, pause};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     pause();
    ///     let start = Instant::now();
    ///     let mut interval = interval(Duration::from_secs(10));
    ///     interval.tick().await;
    ///     interval.reset_immediately();
    ///     assert_eq!(interval.tick().await, start);
    ///     assert_eq!(interval.tick().await, start + Duration::from_secs(10));
    /// });
    /// ```
    pub fn reset_immediately(&mut self) {
        self.reset_after(Duration::ZERO);
    }

    /// Moves the next tick to `delay` from now. Later ticks follow it at full periods.
    ///
    /// ```
    /// use ringloop::time::{Instant, interval, pause};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     pause();
    ///     let start = Instant::now();
    ///     let mut interval = interval(Duration::from_secs(10));
    ///     interval.reset_after(Duration::from_secs(3));
    ///     assert_eq!(interval.tick().await, start + Duration::from_secs(3));
    ///     assert_eq!(interval.tick().await, start + Duration::from_secs(13));
    /// });
    /// ```
    pub fn reset_after(&mut self, delay: Duration) {
        self.reset_at(Instant::now() + delay);
    }

    /// Moves the next tick to `deadline`. Later ticks follow it at full periods.
    ///
    /// ```
    /// use ringloop::time::{Instant, interval, pause};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     pause();
    ///     let at = Instant::now() + Duration::from_secs(3);
    ///     let mut interval = interval(Duration::from_secs(10));
    ///     interval.reset_at(at);
    ///     assert_eq!(interval.tick().await, at);
    ///     assert_eq!(interval.tick().await, at + Duration::from_secs(10));
    /// });
    /// ```
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.reset(deadline);
    }

    /// The rule for ticks that were not awaited in time.
    ///
    /// ```
    /// use ringloop::time::{MissedTickBehavior, interval};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let interval = interval(Duration::from_secs(10));
    ///     assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Burst);
    /// });
    /// ```
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets the rule for ticks that were not awaited in time. The default is
    /// [`MissedTickBehavior::Burst`].
    ///
    /// ```
    /// use ringloop::time::{Instant, MissedTickBehavior, interval, pause, sleep};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     pause();
    ///     let start = Instant::now();
    ///     let mut interval = interval(Duration::from_secs(10));
    ///     interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ///     interval.tick().await;
    ///     sleep(Duration::from_secs(25)).await;
    ///     interval.tick().await; // at once: the tick of 10 s
    ///     assert_eq!(interval.tick().await, start + Duration::from_secs(30));
    /// });
    /// ```
    pub fn set_missed_tick_behavior(&mut self, missed: MissedTickBehavior) {
        self.missed = missed;
    }

    /// The time between two ticks.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let period = Duration::from_secs(10);
    ///     assert_eq!(ringloop::time::interval(period).period(), period);
    /// });
    /// ```
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
