//! The rate of arrivals over time, and the due time of arrival x.
//!
//! The rate is piecewise linear. Its integral Λ(t), the number of arrivals up to t, is a parabola
//! in each piece and can be inverted: Λ⁻¹(x) is the due time of arrival x.

use std::time::Duration;

/// The rate over time, from the time at which connections may send.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RateCurve {
    /// Adjacent pieces from time zero on. The last one has no end.
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    from_s: f64,
    length_s: f64,
    rate_from: f64,
    rate_to: f64,
    /// Λ at its beginning.
    arrivals_before: f64,
}

impl Piece {
    fn arrivals(&self) -> f64 {
        (self.rate_from + self.rate_to) / 2.0 * self.length_s
    }

    /// The time from the beginning of this piece to its arrival `x`.
    fn seconds_to(&self, x: f64) -> f64 {
        let slope = (self.rate_to - self.rate_from) / self.length_s;
        // The root of a t² / 2 + b t - x, in the form that loses no digits when the slope is small
        // and needs no case for a slope of zero.
        let root = (self.rate_from * self.rate_from + 2.0 * slope * x).max(0.0).sqrt();
        if root + self.rate_from == 0.0 { 0.0 } else { 2.0 * x / (self.rate_from + root) }
    }
}

impl RateCurve {
    /// A rate that begins with `start` and is linear to the rate of each stage over its length.
    pub(crate) fn new(start: f64, stages: &[(Duration, f64)]) -> RateCurve {
        let mut pieces: Vec<Piece> = Vec::with_capacity(stages.len() + 1);
        let mut push = |length_s: f64, rate_from: f64, rate_to: f64| {
            let (from_s, arrivals_before) = pieces
                .last()
                .map_or((0.0, 0.0), |p| (p.from_s + p.length_s, p.arrivals_before + p.arrivals()));
            pieces.push(Piece { from_s, length_s, rate_from, rate_to, arrivals_before });
        };
        let mut rate = start;
        for &(length, rate_to) in stages {
            if !length.is_zero() {
                push(length.as_secs_f64(), rate, rate_to);
            }
            rate = rate_to;
        }
        push(f64::INFINITY, rate, rate);
        RateCurve { pieces }
    }

    /// The least whole number of arrivals that is not reached before `time`. It must not be less
    /// than `from`.
    pub(super) fn first_from(&self, from: u64, time: Duration) -> u64 {
        let is_before = |x: u64| self.due(x as f64).is_some_and(|due| due < time);
        from + first_not(|more| is_before(from + more))
    }

    /// When the number of arrivals reaches `x`. `None` if it never does.
    pub(crate) fn due(&self, x: f64) -> Option<Duration> {
        let after = self.pieces.partition_point(|piece| piece.arrivals_before <= x);
        // After a rate of zero several pieces begin with the same count. The last one is right: an
        // arrival is due at the end of a silence, not at its beginning.
        let piece = &self.pieces[after.max(1) - 1];
        let rest = x - piece.arrivals_before;
        let seconds = if piece.length_s.is_infinite() {
            if piece.rate_from == 0.0 {
                return None;
            }
            rest / piece.rate_from
        } else {
            piece.seconds_to(rest).min(piece.length_s)
        };
        // Rounded: an arrival at a whole second could otherwise be a nanosecond early.
        Some(Duration::from_nanos(((piece.from_s + seconds) * 1e9).round() as u64))
    }
}

/// The least number for which `holds` is false, by bisection. It must be true for all below.
pub(crate) fn first_not(holds: impl Fn(u64) -> bool) -> u64 {
    let mut end = 1u64;
    while holds(end) {
        end *= 2;
    }
    let mut start = 0;
    while start < end {
        let middle = start + (end - start) / 2;
        if holds(middle) {
            start = middle + 1;
        } else {
            end = middle;
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Arrivals up to `until_s`, as the sum of small steps of the rate of the stages.
    fn arrivals_by_steps(start: f64, stages: &[(Duration, f64)], until_s: f64) -> f64 {
        const STEP_S: f64 = 1e-4;
        let rate_at = |t: f64| {
            let (mut from_s, mut rate) = (0.0, start);
            for &(length, rate_to) in stages {
                let length_s = length.as_secs_f64();
                if t < from_s + length_s {
                    return rate + (rate_to - rate) * (t - from_s) / length_s;
                }
                (from_s, rate) = (from_s + length_s, rate_to);
            }
            rate
        };
        let steps = (until_s / STEP_S).round() as u32;
        (0..steps).map(|step| rate_at((f64::from(step) + 0.5) * STEP_S) * STEP_S).sum()
    }

    /// Goal: the due time of arrival x is when the integral of the rate reaches x, for every shape.
    ///
    /// Method: constant, rising, falling, from zero, to zero, and mixed with jumps and silences;
    /// the integral is computed numerically at each due time.
    ///
    /// Kills: the wrong root; a stage that begins with its own rate; earlier pieces that are
    /// ignored.
    #[test]
    fn due_is_the_inverse_of_the_integral() {
        let s = seconds;
        for (start, stages) in [
            (1_000.0, vec![]),
            (100.0, vec![(s(10.0), 500.0)]),
            (500.0, vec![(s(10.0), 100.0)]),
            (0.0, vec![(s(5.0), 1_000.0)]),
            (800.0, vec![(s(4.0), 0.0)]),
            (0.0, vec![(s(1.0), 100.0), (s(2.0), 100.0), (s(0.0), 700.0), (s(3.0), 50.0)]),
            (300.0, vec![(s(1.0), 0.0), (s(2.0), 0.0), (s(1.0), 300.0)]),
        ] {
            let curve = RateCurve::new(start, &stages);
            for x in [0.5, 1.0, 7.25, 60.0, 149.0, 333.3, 700.0, 1_500.0] {
                let Some(due) = curve.due(x) else {
                    let most = arrivals_by_steps(start, &stages, 60.0);
                    assert!(most <= x + 0.1, "{start} {stages:?}: {x} of {most} is never due");
                    continue;
                };
                let found = arrivals_by_steps(start, &stages, due.as_secs_f64());
                // The steps are 0.1 ms wide: at most 0.1 arrivals at these rates.
                assert!((found - x).abs() <= 0.11, "{start} {stages:?}: {x} at {due:?}: {found}");
            }
        }
    }

    /// Goal: at a constant rate arrivals are due at whole multiples of the period, to the
    /// nanosecond, even after hours.
    ///
    /// Method: rates with whole periods, up to the arrival 100 000 000.
    ///
    /// Kills: a sum of periods, whose error grows; truncated nanoseconds.
    #[test]
    fn constant_rates_are_exact() {
        for (rate, period_ns) in [(1_000.0, 1_000_000), (50_000.0, 20_000), (1_000_000.0, 1_000)] {
            let curve = RateCurve::new(rate, &[(seconds(1.0), rate)]);
            for k in [0u64, 1, 999, 49_999, 50_000, 50_001, 100_000_000] {
                let due = curve.due(k as f64).unwrap();
                assert_eq!(due, Duration::from_nanos(k * period_ns), "{rate}/s, number {k}");
            }
        }
    }

    /// Goal: no arrival is due while the rate is zero, and after its end none is due at all.
    ///
    /// Method: a fall to zero, two seconds of zero and a rise; a fall to zero for the rest.
    ///
    /// Kills: an arrival in the silence; an arrival at infinity as a panic or as time zero.
    #[test]
    fn no_arrival_is_due_at_a_rate_of_zero() {
        let s = seconds;
        let curve = RateCurve::new(100.0, &[(s(1.0), 0.0), (s(2.0), 0.0), (s(1.0), 100.0)]);
        assert!(curve.due(49.9).unwrap() < s(1.0));
        assert_eq!(curve.due(50.0).unwrap(), s(3.0));
        assert_eq!(curve.due(100.0).unwrap(), s(4.0));
        assert_eq!(RateCurve::new(100.0, &[(s(1.0), 0.0)]).due(50.0), None);
        assert_eq!(RateCurve::new(0.0, &[]).due(0.0), None);
    }
}
