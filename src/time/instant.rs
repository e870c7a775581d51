//! [`Instant`]: a time of the loop's clock.

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use crate::runtime::context;
use crate::sys::clock;

/// A time of the monotonic clock (`CLOCK_MONOTONIC`), which the loop and the kernel's timeouts use.
///
/// Once the clock of a loop has been [paused](super::pause), its times differ from those of other
/// loops and of the kernel.
///
/// The unit is nanoseconds. Arithmetic saturates: `Instant::now() + Duration::MAX` is the end of
/// time, and a timer set for it never fires.
///
/// ```
/// use ringloop::time::Instant;
/// use std::time::Duration;
///
/// let start = Instant::now();
/// let deadline = start + Duration::from_secs(1);
/// assert_eq!(deadline - start, Duration::from_secs(1));
/// assert_eq!(start - deadline, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant {
    ns: u64,
}

impl Instant {
    /// The current time. It is read from the clock, not cached at the start of the turn.
    ///
    /// ```
    /// use ringloop::time::Instant;
    ///
    /// let before = Instant::now();
    /// assert!(Instant::now() >= before);
    /// ```
    pub fn now() -> Instant {
        let ns = match context::try_current() {
            Some(core) => core.reactor.now_ns(),
            None => clock::monotonic_ns(),
        };
        Instant { ns }
    }

    /// The time since this instant, or zero if it is in the future.
    ///
    /// ```
    /// use ringloop::time::{Instant, sleep};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let start = Instant::now();
    ///     sleep(Duration::from_millis(2)).await;
    ///     assert!(start.elapsed() >= Duration::from_millis(2));
    /// });
    /// ```
    pub fn elapsed(&self) -> Duration {
        Instant::now().duration_since(*self)
    }

    /// The time from `earlier` to this instant, or zero if `earlier` is later.
    ///
    /// ```
    /// use ringloop::time::Instant;
    /// use std::time::Duration;
    ///
    /// let start = Instant::now();
    /// let later = start + Duration::from_secs(1);
    /// assert_eq!(later.duration_since(start), Duration::from_secs(1));
    /// assert_eq!(start.duration_since(later), Duration::ZERO);
    /// ```
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }

    /// The time from `earlier` to this instant, or `None` if `earlier` is later.
    ///
    /// ```
    /// use ringloop::time::Instant;
    /// use std::time::Duration;
    ///
    /// let start = Instant::now();
    /// let later = start + Duration::from_secs(1);
    /// assert_eq!(later.checked_duration_since(start), Some(Duration::from_secs(1)));
    /// assert_eq!(start.checked_duration_since(later), None);
    /// ```
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.ns.checked_sub(earlier.ns).map(Duration::from_nanos)
    }

    /// The time from `earlier` to this instant, or zero if `earlier` is later. It is the same as
    /// [`duration_since`](Instant::duration_since), and has the name of std's method.
    ///
    /// ```
    /// use ringloop::time::Instant;
    /// use std::time::Duration;
    ///
    /// let start = Instant::now();
    /// let later = start + Duration::from_secs(1);
    /// assert_eq!(start.saturating_duration_since(later), Duration::ZERO);
    /// ```
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }

    /// This instant and `duration`, or `None` if that is the end of time or later. A timer for the
    /// end of time never fires.
    ///
    /// ```
    /// use ringloop::time::Instant;
    /// use std::time::Duration;
    ///
    /// let now = Instant::now();
    /// let second = Duration::from_secs(1);
    /// assert_eq!(now.checked_add(second), Some(now + second));
    /// assert_eq!(now.checked_add(Duration::MAX), None);
    /// ```
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        let ns = self.ns.checked_add(u64::try_from(duration.as_nanos()).ok()?)?;
        (ns < u64::MAX).then_some(Instant { ns })
    }

    /// This instant without `duration`, or `None` if that is before the clock began.
    ///
    /// ```
    /// use ringloop::time::Instant;
    /// use std::time::Duration;
    ///
    /// let later = Instant::now() + Duration::from_secs(1);
    /// assert!(later.checked_sub(Duration::from_secs(1)).is_some());
    /// assert_eq!(later.checked_sub(Duration::MAX), None);
    /// ```
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        let ns = self.ns.checked_sub(u64::try_from(duration.as_nanos()).ok()?)?;
        Some(Instant { ns })
    }

    pub(crate) fn from_ns(ns: u64) -> Instant {
        Instant { ns }
    }

    pub(crate) fn as_ns(self) -> u64 {
        self.ns
    }
}

pub(super) fn saturated_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant { ns: self.ns.saturating_add(saturated_ns(duration)) }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant { ns: self.ns.saturating_sub(saturated_ns(duration)) }
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: arithmetic with the longest duration neither panics nor wraps.
    ///
    /// Method: add and subtract it.
    ///
    /// Kills: `+` in place of `saturating_add`.
    #[test]
    fn arithmetic_of_instants_saturates() {
        let now = Instant::now();
        assert_eq!((now + Duration::MAX).as_ns(), u64::MAX);
        assert_eq!((now - Duration::MAX).as_ns(), 0);
        assert_eq!(now - (now + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!((now + Duration::from_secs(1)) - now, Duration::from_secs(1));
    }

    /// Goal: the checked forms return `None` exactly where the others saturate.
    ///
    /// Method: durations up to, at and beyond both ends of time.
    ///
    /// Kills: the end of time as a result; a wrap for a duration of more than `u64` nanoseconds.
    #[test]
    fn checked_arithmetic_has_the_ends_of_time() {
        let at = Instant { ns: 10 };
        let nanos = Duration::from_nanos;
        assert_eq!(at.checked_add(nanos(u64::MAX - 11)), Some(Instant { ns: u64::MAX - 1 }));
        for ns in [u64::MAX - 10, u64::MAX - 9, u64::MAX] {
            assert_eq!(at.checked_add(nanos(ns)), None);
        }
        assert_eq!(at.checked_sub(nanos(10)), Some(Instant { ns: 0 }));
        assert_eq!(at.checked_sub(nanos(11)), None);
        for wide in [Duration::MAX, Duration::from_secs(u64::MAX)] {
            assert_eq!((at.checked_add(wide), at.checked_sub(wide)), (None, None));
        }
        assert_eq!(at.checked_duration_since(Instant { ns: 10 }), Some(Duration::ZERO));
        assert_eq!(at.checked_duration_since(Instant { ns: 11 }), None);
    }
}
