//! A Poisson process with random access: the number of arrivals before a position is computed in a
//! number of steps that does not depend on the number of arrivals.
//!
//! ```text
//! level 52                 n arrivals                   drawn once: Poisson
//! level 51        left          │   n - left            left ~ binomial(n, 1/2), drawn by the node
//!   ...                  ...                            of the tree that is split
//! level 6     │ n │ n │ n │ ...                         arrivals of a leaf: uniform, in order
//! ```
//!
//! This is a Poisson process: the number of arrivals is Poisson, and given their number, their
//! positions are uniform and independent. Every node has a generator of its own, made from the seed
//! and from the node's number, so a position has the same arrivals on every path to it.
//!
//! Positions are measured in expected arrivals.

use std::f64::consts::TAU;

use fastrand::Rng;

use crate::base::random;

/// The length of a leaf, and of the whole, as powers of two.
const LEAF_LOG2: u32 = 6;
const ROOT_LOG2: u32 = 52;

/// The most arrivals for which a split draws one bit for each. For more it draws from the normal
/// distribution, whose error is less than a thousandth there.
const COINS_MAX: u64 = 1_024;

/// The arrivals of one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoissonProcess {
    seed: u64,
}

/// The arrivals of a leaf, in order.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    number: u64,
    /// Arrivals of the process before this leaf, and in it.
    pub(super) before: u64,
    count: u64,
    taken: u64,
    at: f64,
    random: Rng,
}

impl PoissonProcess {
    pub(super) fn new(seed: u64, stream: u32) -> PoissonProcess {
        PoissonProcess { seed: random::mix(random::mix(seed) ^ u64::from(stream)) }
    }

    pub(super) fn leaf(&self, number: u64) -> Leaf {
        let mean = (1_u64 << ROOT_LOG2) as f64;
        let mut count = (mean + mean.sqrt() * normal(&mut self.generator(ROOT_LOG2, 0))) as u64;
        let mut before = 0;
        for level in (LEAF_LOG2 + 1..=ROOT_LOG2).rev() {
            let left = half(count, &mut self.generator(level - 1, number >> (level - LEAF_LOG2)));
            match number >> (level - LEAF_LOG2 - 1) & 1 {
                0 => count = left,
                _ => {
                    before += left;
                    count -= left;
                }
            }
        }
        let at = Leaf::start_of(number);
        let random = self.generator(0, number);
        Leaf { number, before, count, taken: 0, at, random }
    }

    pub(super) fn after(&self, leaf: &Leaf) -> Leaf {
        self.leaf(leaf.number + 1)
    }

    /// The generator of a node, or of the arrivals of a leaf, which have level 0.
    fn generator(&self, level: u32, number: u64) -> Rng {
        random::generator(self.seed, u64::from(level) << (ROOT_LOG2 + 1) | number)
    }
}

impl Leaf {
    /// The position of the beginning of a leaf.
    pub(super) fn start_of(number: u64) -> f64 {
        (number << LEAF_LOG2) as f64
    }

    /// The position of the next arrival: the least of those that are left, which are uniform in the
    /// rest of the leaf.
    pub(super) fn next(&mut self) -> Option<f64> {
        let left = self.count - self.taken;
        if left == 0 {
            return None;
        }
        // Uniform in (0, 1].
        let uniform = 1.0 - self.random.f64();
        let end = Leaf::start_of(self.number + 1);
        self.at += (end - self.at) * (1.0 - uniform.powf(1.0 / left as f64));
        self.taken += 1;
        Some(self.at)
    }
}

/// How many of `count` arrivals are in the first of two halves.
fn half(count: u64, random: &mut Rng) -> u64 {
    if count > COINS_MAX {
        let mean = count as f64 / 2.0;
        let drawn = mean + (count as f64).sqrt() / 2.0 * normal(random);
        return (drawn.round().max(0.0) as u64).min(count);
    }
    let words = (0..count / 64).map(|_| u64::from(random.u64(..).count_ones())).sum::<u64>();
    let rest = random.u64(..) & ((1 << (count % 64)) - 1);
    words + u64::from(rest.count_ones())
}

/// A number from the normal distribution, by the method of Box and Muller.
fn normal(random: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (TAU * random.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the number of arrivals before each leaf is the sum of the leaves before it.
    ///
    /// Method: many leaves in a row, near the beginning and far from it. The arrivals before each
    /// leaf are compared with those that were counted, and positions with the bounds of their leaf.
    ///
    /// Kills: a split that gives an arrival to both halves or to none; the wrong half; a position
    /// outside of its leaf or out of order.
    #[test]
    fn leaves_add_up_without_gaps() {
        let process = PoissonProcess::new(3, 1);
        for first in [0, (1 << 30) - 50] {
            let mut before = process.leaf(first).before;
            for number in first..first + 100 {
                let mut leaf = process.leaf(number);
                assert_eq!(leaf.before, before, "leaf {number}");
                let mut last = Leaf::start_of(number);
                while let Some(at) = leaf.next() {
                    assert!(last <= at && at <= Leaf::start_of(number + 1), "{at} in {number}");
                    last = at;
                    before += 1;
                }
            }
        }
    }

    /// Goal: the numbers of arrivals in leaves are Poisson: their mean and their variance are the
    /// length of a leaf.
    ///
    /// Method: 20 000 leaves; both within five standard errors, with a fixed seed. Far from the
    /// beginning, the arrivals before a position are the position within five standard deviations.
    ///
    /// Kills: a count that is always its mean; a level that changes the variance.
    #[test]
    fn counts_are_poisson() {
        const LEAVES: u64 = 20_000;
        let process = PoissonProcess::new(5, 0);
        let counts: Vec<f64> =
            (0..LEAVES).map(|number| process.leaf(number).count as f64).collect();
        let (n, length) = (LEAVES as f64, f64::from(1 << LEAF_LOG2));
        let mean = counts.iter().sum::<f64>() / n;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - length).abs() < 5.0 * (length / n).sqrt(), "mean {mean}");
        assert!((variance / length - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "variance {variance}");
        for number in [1 << 10, 1 << 20, 1 << 40] {
            let (found, place) = (process.leaf(number).before as f64, Leaf::start_of(number));
            assert!((found - place).abs() < 5.0 * place.sqrt(), "{found} before {place}");
        }
    }
}
