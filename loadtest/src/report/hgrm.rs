//! Percentiles as text, in the format of HdrHistogram plotters (`.hgrm`).
//!
//! The file has one distribution: response times in an open loop, service times in a closed one.
//! Values are microseconds with three decimals, the resolution of the recorded nanoseconds.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::measure::stats;
use crate::report::model::Report;

/// Rows per halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

pub(crate) fn render(report: &Report) -> String {
    let histogram = report
        .headline()
        .and_then(|(_, distribution)| distribution.histogram())
        .unwrap_or_else(stats::new_histogram);
    percentiles(&histogram)
}

pub(crate) fn percentiles(histogram: &Histogram<u64>) -> String {
    let us = |ns: u64| ns as f64 / 1e3;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        let (value, quantile) = (us(step.value_iterated_to()), step.quantile_iterated_to());
        count += step.count_since_last_iteration();
        let _ = write!(text, "{value:12.3} {quantile:14.12} {count:10}");
        if quantile < 1.0 {
            let _ = write!(text, " {:14.2}", 1.0 / (1.0 - quantile));
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3
    );
    let _ = writeln!(
        text,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        us(histogram.max()),
        histogram.len()
    );
    let _ = writeln!(
        text,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.buckets(),
        (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the text equals that of other writers of the format.
    ///
    /// Method: values from one to a hundred microseconds; compare the first, the median and the
    /// last row and the figures below with literals.
    ///
    /// Kills: nanoseconds for microseconds; counts that are not sums; `1/(1-p)` of a last row.
    #[test]
    fn rows_equal_those_of_other_writers() {
        let mut histogram = stats::new_histogram();
        (1..=100).for_each(|us| histogram.saturating_record(us * 1_000));
        let text = percentiles(&histogram);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(rows[2], "       1.000 0.000000000000          1           1.00");
        let median = rows.iter().find(|row| row.contains("0.500000000000")).unwrap();
        assert_eq!(*median, "      50.015 0.500000000000         50           2.00");
        let last = rows.iter().find(|row| row.contains("1.000000000000")).unwrap();
        assert_eq!(*last, "     100.031 1.000000000000        100");
        assert!(
            text.contains("#[Max     =      100.031, Total count    =          100]"),
            "{text}"
        );
        assert!(text.contains("SubBuckets     =         2048]"), "{text}");
    }

    /// Goal: the file of a run without samples has no figures.
    ///
    /// Method: an empty histogram.
    ///
    /// Kills: a panic; a NaN.
    #[test]
    fn an_empty_histogram_has_no_figures() {
        let text = percentiles(&stats::new_histogram());
        assert!(text.contains("Total count    =            0]"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }
}
