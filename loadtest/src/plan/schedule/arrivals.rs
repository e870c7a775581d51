//! Arrivals: the due times of the messages of an open loop.
//!
//! Every due time is computed from an index and, for random arrivals, from a seed. The messages
//! that are due and not sent are the distance between two positions, not a queue: they need no
//! memory and cannot overflow or be lost.

use std::sync::Arc;
use std::time::Duration;

use crate::plan::schedule::poisson::{Leaf, PoissonProcess};
use crate::plan::schedule::rate::{RateCurve, first_not};

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// Evenly, as far as the rate is constant.
    Constant,
    /// A Poisson process: arrivals are independent of each other, like those of many users.
    Poisson { seed: u64 },
}

/// One stream of arrivals, of a worker or of a connection. All `streams` together have the rate.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    curve: Arc<RateCurve>,
    stream: u32,
    streams: u32,
    /// Arrivals taken so far.
    taken: u64,
    spacing: Position,
    /// The position of the next arrival, in arrivals of all streams.
    x: f64,
    /// When the next arrival is due, from the time at which connections may send. `None` after the
    /// last one.
    due: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Position {
    Constant,
    Poisson(PoissonProcess, Leaf),
}

impl Arrivals {
    pub(crate) fn new(
        curve: Arc<RateCurve>,
        spacing: Spacing,
        stream: u32,
        streams: u32,
    ) -> Arrivals {
        assert!(stream < streams, "stream {stream} of {streams}");
        let spacing = match spacing {
            Spacing::Constant => Position::Constant,
            Spacing::Poisson { seed } => {
                let process = PoissonProcess::new(seed, stream);
                Position::Poisson(process, process.leaf(0))
            }
        };
        let mut arrivals =
            Arrivals { curve, stream, streams, taken: 0, spacing, x: 0.0, due: None };
        arrivals.find_next();
        arrivals
    }

    /// The due time of the next message.
    pub(crate) fn peek(&self) -> Option<Duration> {
        self.due
    }

    /// Takes the next message. Returns its due time.
    pub(crate) fn pop(&mut self) -> Option<Duration> {
        let due = self.due?;
        self.taken += 1;
        self.find_next();
        Some(due)
    }

    /// The number of messages that are due from `from` on and before `until`, taken or not.
    pub(crate) fn count_between(&self, from: Duration, until: Duration) -> u64 {
        self.before(until).0.saturating_sub(self.before(from).0)
    }

    /// The number of messages that are due before `until` and not taken.
    pub(crate) fn left_before(&self, until: Duration) -> u64 {
        match self.due {
            Some(due) if due < until => self.before(until).0.saturating_sub(self.taken),
            _ => 0,
        }
    }

    /// Takes all messages that are due before `time`.
    pub(crate) fn take_until(&mut self, time: Duration) {
        if self.due.is_none_or(|due| due >= time) {
            return;
        }
        let (taken, leaf) = self.before(time);
        self.taken = taken;
        if let (Position::Poisson(_, place), Some(leaf)) = (&mut self.spacing, leaf) {
            *place = leaf;
        }
        self.find_next();
    }

    pub(super) fn curve(&self) -> &Arc<RateCurve> {
        &self.curve
    }

    /// The position of the next arrival, in arrivals of all streams.
    pub(super) fn x(&self) -> f64 {
        self.x
    }

    fn find_next(&mut self) {
        self.x = match &mut self.spacing {
            Position::Constant => self.constant_x(self.taken),
            Position::Poisson(process, leaf) => {
                let at = loop {
                    match leaf.next() {
                        Some(at) => break at,
                        None => *leaf = process.after(leaf),
                    }
                };
                at * f64::from(self.streams)
            }
        };
        self.due = self.curve.due(self.x);
    }

    fn constant_x(&self, index: u64) -> f64 {
        (index * u64::from(self.streams) + u64::from(self.stream)) as f64
    }

    /// The number of arrivals before `time`. For random arrivals also the leaf whose next arrival
    /// is the first one that is not before it.
    fn before(&self, time: Duration) -> (u64, Option<Leaf>) {
        let is_before = |x: f64| self.curve.due(x).is_some_and(|due| due < time);
        let Position::Poisson(process, _) = &self.spacing else {
            return (first_not(|index| is_before(self.constant_x(index))), None);
        };
        let streams = f64::from(self.streams);
        let number = first_not(|number| is_before(Leaf::start_of(number + 1) * streams));
        let mut leaf = process.leaf(number);
        let mut count = leaf.before;
        loop {
            let mut ahead = leaf.clone();
            match ahead.next() {
                Some(at) if is_before(at * streams) => (leaf, count) = (ahead, count + 1),
                _ => return (count, Some(leaf)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(curve: &RateCurve, spacing: Spacing, stream: u32, streams: u32) -> Arrivals {
        Arrivals::new(Arc::new(curve.clone()), spacing, stream, streams)
    }

    fn until(arrivals: &mut Arrivals, end: Duration) -> Vec<Duration> {
        std::iter::from_fn(|| arrivals.peek().filter(|due| *due < end).and_then(|_| arrivals.pop()))
            .collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Goal: all streams together are the schedule, without a gap or a repetition.
    ///
    /// Method: the arrivals of three streams, sorted, compared with those of a single one; constant
    /// rate and ramp.
    ///
    /// Kills: each worker with the full rate; all workers that send at the same time.
    #[test]
    fn streams_interleave_to_the_whole_schedule() {
        for curve in [
            RateCurve::new(3_000.0, &[]),
            RateCurve::new(0.0, &[(SECOND, 2_000.0), (SECOND, 500.0)]),
        ] {
            let whole = until(&mut stream(&curve, Spacing::Constant, 0, 1), 3 * SECOND);
            let mut parts: Vec<Duration> = (0..3)
                .flat_map(|s| until(&mut stream(&curve, Spacing::Constant, s, 3), 3 * SECOND))
                .collect();
            parts.sort();
            assert_eq!(parts, whole);
        }
        let second =
            until(&mut stream(&RateCurve::new(3_000.0, &[]), Spacing::Constant, 1, 3), SECOND);
        assert_eq!(second.len(), 1_000);
        assert_eq!(second[0], Duration::from_nanos(333_333));
    }

    /// Goal: a peek takes nothing, and a message that was taken is not due again.
    ///
    /// Method: peek twice, pop, peek.
    ///
    /// Kills: a peek that takes a message; a pop that does not.
    #[test]
    fn peeking_takes_nothing() {
        for spacing in [Spacing::Constant, Spacing::Poisson { seed: 1 }] {
            let mut arrivals = stream(&RateCurve::new(10.0, &[]), spacing, 0, 1);
            let first = arrivals.peek();
            assert_eq!(arrivals.peek(), first);
            assert_eq!(arrivals.pop(), first);
            assert!(arrivals.peek() > first);
        }
    }

    /// Goal: the computed number of arrivals in a window is the number that would be popped, also
    /// after some were taken.
    ///
    /// Method: windows with ends on and between arrivals, on three curves and two streams, constant
    /// and random; then some are taken one by one, and then all up to a time.
    ///
    /// Kills: an end that is inclusive on the wrong side; a bisection that is off by one; a
    /// position that is lost by a jump.
    #[test]
    fn counts_are_what_is_popped() {
        let curves = [
            RateCurve::new(1_000.0, &[]),
            RateCurve::new(100.0, &[(SECOND, 1_000.0)]),
            RateCurve::new(1_000.0, &[(SECOND, 0.0)]),
        ];
        let ms = Duration::from_millis;
        let kinds = [Spacing::Constant, Spacing::Poisson { seed: 1 }];
        for (curve, spacing) in curves.iter().flat_map(|curve| kinds.map(|kind| (curve, kind))) {
            for number in 0..2 {
                let arrivals = stream(curve, spacing, number, 2);
                let popped = until(&mut arrivals.clone(), 2 * SECOND);
                for (from, end) in
                    [(0, 0), (0, 1), (0, 2_000), (500, 1_500), (333, 334), (999, 1_001)]
                {
                    let (from, end) = (ms(from), ms(end));
                    let wanted = popped.iter().filter(|due| from <= **due && **due < end).count();
                    let found = arrivals.count_between(from, end);
                    assert_eq!(found, wanted as u64, "{from:?} to {end:?} of {curve:?}");
                    let mut later = arrivals.clone();
                    later.take_until(from);
                    assert_eq!(later.left_before(end), wanted as u64, "{from:?} to {end:?}");
                    assert_eq!(until(&mut later, end).len(), wanted, "{from:?} to {end:?}");
                }
                let mut some = arrivals.clone();
                (0..10).for_each(|_| _ = some.pop());
                assert_eq!(some.left_before(2 * SECOND), popped.len() as u64 - 10);
                some.take_until(popped[5]);
                assert_eq!(some.peek(), Some(popped[10]), "what is taken stays taken");
            }
        }
    }

    /// Goal: random arrivals have the rate, are a Poisson process, and repeat with the same seed
    /// only.
    ///
    /// Method: 100 000 gaps of two streams. Their mean and variance are those of an exponential
    /// distribution within five standard errors, and a fixed seed makes the test exact.
    ///
    /// Kills: gaps that are constant or uniform; a mean off by the number of streams; streams that
    /// repeat each other; a seed that is not used.
    #[test]
    fn random_arrivals_are_a_poisson_process() {
        let curve = RateCurve::new(1_000.0, &[]);
        let gaps = |seed, number| -> Vec<f64> {
            let mut arrivals = stream(&curve, Spacing::Poisson { seed }, number, 2);
            let due: Vec<f64> =
                (0..100_001).map(|_| arrivals.pop().unwrap().as_secs_f64()).collect();
            due.windows(2).map(|pair| pair[1] - pair[0]).collect()
        };
        for number in 0..2 {
            let gaps = gaps(7, number);
            let n = gaps.len() as f64;
            let mean = gaps.iter().sum::<f64>() / n;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n;
            // Two streams at 1 000/s in total: 2 ms. The variance of the sample variance is 8 m⁴/n.
            assert!((mean / 2e-3 - 1.0).abs() < 5.0 / n.sqrt(), "mean {mean}");
            assert!((variance / 4e-6 - 1.0).abs() < 5.0 * (8.0 / n).sqrt(), "variance {variance}");
        }
        assert_eq!(gaps(7, 0), gaps(7, 0));
        assert_ne!(gaps(7, 0), gaps(8, 0));
    }

    /// Goal: random streams are independent, so that together they are a Poisson process.
    ///
    /// Method: 100 000 gaps of each of three streams. The correlation of any two, also where one is
    /// a few gaps ahead, is within five standard errors of 0. So is that of two neighbouring seeds.
    ///
    /// Kills: streams that are equal, or equal a step later, which would make bursts.
    #[test]
    fn random_streams_are_independent() {
        const COUNT: usize = 100_000;
        const AHEAD_MAX: usize = 3;
        let curve = RateCurve::new(1_000.0, &[]);
        let gaps = |seed, number| -> Vec<f64> {
            let mut arrivals = stream(&curve, Spacing::Poisson { seed }, number, 3);
            let due: Vec<f64> =
                (0..=COUNT + AHEAD_MAX).map(|_| arrivals.pop().unwrap().as_secs_f64()).collect();
            // In units of their mean, which is 3 ms, less 1: mean 0 and variance 1.
            due.windows(2).map(|pair| (pair[1] - pair[0]) / 3e-3 - 1.0).collect()
        };
        let streams = [gaps(7, 0), gaps(7, 1), gaps(7, 2), gaps(8, 0)];
        for (a, one) in streams.iter().enumerate() {
            for (b, other) in streams.iter().enumerate().filter(|(b, _)| *b != a) {
                for ahead in 0..=AHEAD_MAX {
                    let pairs = one[ahead..].iter().zip(other).take(COUNT);
                    let correlation = pairs.map(|(x, y)| x * y).sum::<f64>() / COUNT as f64;
                    let error = 1.0 / (COUNT as f64).sqrt();
                    assert!(correlation.abs() < 5.0 * error, "{a}, {b}, {ahead}: {correlation}");
                }
            }
        }
    }
}
