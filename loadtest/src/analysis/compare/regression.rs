//! Limits of regressions: `p99=10%,rate=5%`.

use crate::analysis::compare::metric::METRICS;
use crate::base::units;
use crate::report::model::comparison::{ChangeVerdict, Comparison};

/// Limit of one metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegressionLimit {
    metric: &'static str,
    more_is_better: bool,
    percent: f64,
}

impl RegressionLimit {
    /// Parses a limit; a value parser of clap.
    pub(crate) fn parse(text: &str) -> Result<RegressionLimit, String> {
        let Some((name, percent)) = text.split_once('=') else {
            return Err("has no limit: write it as in p99=10%".to_owned());
        };
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name.trim()) else {
            let names = METRICS.map(|metric| metric.name).join(", ");
            return Err(format!("'{name}' is not compared: use one of {names}"));
        };
        let percent = percent.trim();
        let value = percent.strip_suffix('%').and_then(units::decimal_number).ok_or_else(|| {
            match units::decimal_number(percent) {
                Some(_) => format!("'{percent}' needs a sign (did you mean {percent}%?)"),
                None => format!("'{percent}' is not a percentage, as in 10%"),
            }
        })?;
        let (metric, more_is_better) = (metric.name, metric.more_is_better);
        Ok(RegressionLimit { metric, more_is_better, percent: value })
    }
}

/// One line for each exceeded limit.
///
/// A change beyond the limit that may be noise does not count. Without a confidence interval the
/// figure alone decides. A metric that cannot be compared exceeds its limit.
pub(super) fn breaches(comparison: &Comparison, limits: &[RegressionLimit]) -> Vec<String> {
    let mut lines = Vec::new();
    for RegressionLimit { metric, more_is_better, percent } in limits {
        let row = comparison.rows.iter().find(|row| row.metric == *metric);
        let change = row.and_then(|row| row.change_percent);
        let worse = change.map(|change| if *more_is_better { -change } else { change });
        match (row.map_or(ChangeVerdict::Unknown, |row| row.verdict), worse) {
            (ChangeVerdict::Incomparable, _) => {
                lines.push(format!("{metric} cannot be compared: the runs are incomparable"));
            }
            (_, None) => {
                lines.push(format!("{metric} cannot be compared: a run has no such figure"))
            }
            (ChangeVerdict::Slower | ChangeVerdict::Unknown, Some(worse)) if worse > *percent => {
                lines.push(format!("{metric} is {worse:.1} % worse, at most {percent} % allowed"));
            }
            _ => {}
        }
    }
    lines
}
