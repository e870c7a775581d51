//! Student's t and the normal distribution, as far as 95 % intervals need them.

/// The 97.5th percentile of Student's t for 1 to 30 degrees of freedom.
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Half the width of a 95 % interval, in standard errors. Fractions are rounded down, which makes
/// the interval wider.
pub(super) fn t95(degrees_of_freedom: f64) -> f64 {
    assert!(degrees_of_freedom >= 1.0, "{degrees_of_freedom} degrees of freedom");
    match T95.get(degrees_of_freedom as usize - 1) {
        Some(t) => *t,
        None => 1.96 + 2.46 / degrees_of_freedom, // within 0.001
    }
}

/// The part of the normal distribution below `z`: Abramowitz and Stegun 7.1.26, within 10⁻⁷.
pub(super) fn normal_below(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let coefficients =
        [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = coefficients.iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let beyond = polynomial * (-x * x).exp() / 2.0;
    if z < 0.0 { beyond } else { 1.0 - beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the distributions have their textbook values.
    ///
    /// Method: a few rows of printed tables, both sides of the table's end.
    ///
    /// Kills: a table that is off by one row; a sign in the polynomial.
    #[test]
    fn textbook_values() {
        for (degrees, t) in
            [(1.0, 12.706), (4.9, 2.776), (30.0, 2.042), (40.0, 2.021), (120.0, 1.98)]
        {
            assert!((t95(degrees) - t).abs() < 0.001, "{degrees}: {}", t95(degrees));
        }
        for (z, below) in [(0.0, 0.5), (-1.96, 0.024_998), (1.96, 0.975_002), (-3.0, 0.001_350)] {
            assert!((normal_below(z) - below).abs() < 1e-6, "{z}: {}", normal_below(z));
        }
    }
}
