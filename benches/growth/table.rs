//! A table of growth: the cost of a unit at several sizes, and the exponent of its growth.
//!
//! The exponent is the slope of log cost over log size by least squares. Counts must keep their
//! bound. Times above theirs are marked and are not a failure, as they depend on caches and on
//! other programs.

use std::fmt;

/// The bound of the growth of a cost with the size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Growth {
    Constant,
    Logarithmic,
    Linear,
}

impl Growth {
    /// The largest exponent of a count.
    fn count_max(self) -> f64 {
        match self {
            Growth::Constant => 0.05,
            Growth::Logarithmic => 0.15,
            Growth::Linear => 1.05,
        }
    }

    /// The largest exponent of a time without a mark. With more items, a random one is less often
    /// in the cache, which adds about 0.2.
    fn time_max(self) -> f64 {
        match self {
            Growth::Constant => 0.25,
            Growth::Logarithmic => 0.35,
            Growth::Linear => 1.10,
        }
    }
}

/// The cost of one unit at one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) count: f64,
    pub(crate) ns: f64,
}

pub(crate) struct Row {
    name: &'static str,
    /// The count.
    unit: &'static str,
    growth: Growth,
    costs: Vec<(u64, Cost)>,
}

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds the cost of `name` at size `n`.
    pub(crate) fn add(
        &mut self,
        (name, unit, growth): (&'static str, &'static str, Growth),
        n: u64,
        cost: Cost,
    ) {
        let row = match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row,
            None => {
                self.rows.push(Row { name, unit, growth, costs: Vec::new() });
                self.rows.last_mut().expect("just pushed")
            }
        };
        row.costs.push((n, cost));
    }

    /// The largest count of a unit whose count must not grow.
    #[allow(dead_code)] // each user of the table has its own bounds
    pub(crate) fn count_max(&self, unit: &str) -> f64 {
        let rows =
            self.rows.iter().filter(|row| row.unit == unit && row.growth == Growth::Constant);
        rows.flat_map(|row| &row.costs).map(|(_, cost)| cost.count).fold(0.0, f64::max)
    }

    /// Fails if a count grows faster than its bound.
    pub(crate) fn check(&self) {
        for row in &self.rows {
            let (slope, max) = (row.slope(|cost| cost.count), row.growth.count_max());
            assert!(
                slope <= max,
                "{}: {} grow as n^{slope:.2}, not n^{max}\n{self}",
                row.name,
                row.unit
            );
        }
    }
}

impl Row {
    fn slope(&self, value: impl Fn(&Cost) -> f64) -> f64 {
        let points = self.costs.iter().map(|(n, cost)| {
            // Zero counts as one, whose logarithm exists.
            ((*n as f64).ln(), value(cost).max(1.0).ln())
        });
        let points: Vec<(f64, f64)> = points.collect();
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if variance == 0.0 { 0.0 } else { covariance / variance }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let (counted, timed) = (row.slope(|cost| cost.count), row.slope(|cost| cost.ns));
            write!(f, "{:<36} {:<11}", row.name, format!("{:?}", row.growth))?;
            for (n, cost) in &row.costs {
                write!(f, " | {n:>7}: {:>9.1} {} {:>11.0} ns", cost.count, row.unit, cost.ns)?;
            }
            let mark = |slope: f64, max: f64| if slope > max { " ABOVE" } else { "" };
            writeln!(
                f,
                " | n^{counted:.2}{} | time n^{timed:.2}{}",
                mark(counted, row.growth.count_max()),
                mark(timed, row.growth.time_max()),
            )?;
        }
        Ok(())
    }
}
