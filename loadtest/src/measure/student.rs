//! Student's t and the normal distribution for 95 % confidence intervals, and the interval of a
//! figure over several runs.

/// The 97.5th percentile of Student's t for 1 to 30 degrees of freedom.
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Half the width of a 95 % interval, in standard errors. Fractional degrees of freedom are rounded
/// down, which makes the interval wider.
pub(super) fn t95(degrees_of_freedom: f64) -> f64 {
    assert!(degrees_of_freedom >= 1.0, "{degrees_of_freedom} degrees of freedom");
    match T95.get(degrees_of_freedom as usize - 1) {
        Some(t) => *t,
        None => 1.96 + 2.46 / degrees_of_freedom, // within 0.001
    }
}

/// The normal distribution function at `z`: Abramowitz and Stegun 7.1.26, accurate to 10⁻⁷.
pub(super) fn normal_below(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let coefficients =
        [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = coefficients.iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let beyond = polynomial * (-x * x).exp() / 2.0;
    if z < 0.0 { beyond } else { 1.0 - beyond }
}

/// A figure measured in several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Repeated {
    pub(crate) runs: usize,
    pub(crate) mean: f64,
    /// Squared standard error of the mean.
    error_squared: f64,
}

impl Repeated {
    /// `None` for fewer than two runs, from which the spread cannot be estimated.
    pub(crate) fn of(values: &[f64]) -> Option<Repeated> {
        let runs = values.len();
        if runs < 2 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / runs as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let variance = squares / (runs - 1) as f64;
        Some(Repeated { runs, mean, error_squared: variance / runs as f64 })
    }

    /// The 95 % interval of the mean.
    pub(crate) fn interval(&self) -> [f64; 2] {
        let half = t95((self.runs - 1) as f64) * self.error_squared.sqrt();
        [self.mean - half, self.mean + half]
    }

    /// The 95 % interval of the mean of `other` minus this mean (Welch).
    pub(crate) fn difference(&self, other: &Repeated) -> [f64; 2] {
        let (a, b) = (self.error_squared, other.error_squared);
        let difference = other.mean - self.mean;
        if a + b == 0.0 {
            return [difference, difference];
        }
        let part = |squared: f64, runs: usize| squared * squared / (runs - 1) as f64;
        let degrees = (a + b).powi(2) / (part(a, self.runs) + part(b, other.runs));
        let half = t95(degrees.max(1.0)) * (a + b).sqrt();
        [difference - half, difference + half]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the distributions have their published values.
    ///
    /// Method: a few rows of printed tables, on both sides of the end of `T95`.
    ///
    /// Kills: a table that is off by one row; a sign in the polynomial.
    #[test]
    fn distributions_have_their_published_values() {
        for (degrees, t) in
            [(1.0, 12.706), (4.9, 2.776), (30.0, 2.042), (40.0, 2.021), (120.0, 1.98)]
        {
            assert!((t95(degrees) - t).abs() < 0.001, "{degrees}: {}", t95(degrees));
        }
        for (z, below) in [(0.0, 0.5), (-1.96, 0.024_998), (1.96, 0.975_002), (-3.0, 0.001_350)] {
            assert!((normal_below(z) - below).abs() < 1e-6, "{z}: {}", normal_below(z));
        }
    }

    /// Goal: the intervals of a few runs follow the formulas.
    ///
    /// Method: values with a simple mean and spread: 10, 12, 14 have a variance of 4.
    ///
    /// Kills: dividing by n instead of n − 1; the deviation of one run in place of that of the
    /// mean.
    #[test]
    fn intervals_of_runs_follow_the_formulas() {
        let runs = Repeated::of(&[10.0, 12.0, 14.0]).unwrap();
        let half = 4.303 * (4.0f64 / 3.0).sqrt();
        assert_eq!(runs.interval(), [12.0 - half, 12.0 + half]);
        assert_eq!(Repeated::of(&[1.0]), None);

        // Equal spreads and counts: twice the degrees of freedom.
        let slower = Repeated::of(&[20.0, 22.0, 24.0]).unwrap();
        let half = 2.776 * (8.0f64 / 3.0).sqrt();
        let [low, high] = runs.difference(&slower);
        assert!((low - (10.0 - half)).abs() < 1e-9 && (high - (10.0 + half)).abs() < 1e-9);

        let steady = Repeated::of(&[5.0, 5.0]).unwrap();
        assert_eq!(steady.difference(&steady), [0.0, 0.0]);
    }
}
