//! Random numbers from seeds: the same seed repeats the same run.
//!
//! **Invariant.** The generators are independent of each other (`generators_are_independent`).
//! `fastrand` alone makes similar generators from neighbouring seeds, so the seed is mixed first.
//! Therefore no other module constructs generators.

use fastrand::Rng;

/// The generator for item `number` of several that share a seed.
pub(crate) fn generator(seed: u64, number: u64) -> Rng {
    Rng::with_seed(mix(mix(seed) ^ number))
}

/// The finaliser of SplitMix64: each bit of the result depends on each bit of the argument.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: generators that differ in their seed or their number are independent.
    ///
    /// Method: 100 000 draws of each of nine that are neighbours in both; the correlation of any
    /// two, also where one is some draws ahead, is within five standard errors of 0.
    ///
    /// Kills: seeds that are used as they are; numbers that are added to seeds, so that the second
    /// thing of one seed is the first of another.
    #[test]
    fn generators_are_independent() {
        const COUNT: usize = 100_000;
        const AHEAD_MAX: usize = 2;
        let draws = |seed, number| -> Vec<f64> {
            let mut random = generator(seed, number);
            // Uniform from 0 to 1, less its mean and in units of its standard deviation.
            let scaled = |draw: f64| (draw - 0.5) * 12f64.sqrt();
            (0..COUNT + AHEAD_MAX).map(|_| scaled(random.f64())).collect()
        };
        let pairs = (0..3).flat_map(|seed| (0..3).map(move |number| (seed, number)));
        let all: Vec<Vec<f64>> = pairs.map(|(seed, number)| draws(seed, number)).collect();
        for (a, one) in all.iter().enumerate() {
            for (b, other) in all.iter().enumerate().filter(|(b, _)| *b != a) {
                for ahead in 0..=AHEAD_MAX {
                    let products = one[ahead..].iter().zip(other).take(COUNT).map(|(x, y)| x * y);
                    let correlation = products.sum::<f64>() / COUNT as f64;
                    let error = 1.0 / (COUNT as f64).sqrt();
                    assert!(correlation.abs() < 5.0 * error, "{a}, {b}, {ahead}: {correlation}");
                }
            }
        }
    }
}
