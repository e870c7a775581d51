//! Latency histograms and their statistics. All values are nanoseconds.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::base::units::TIMEOUT_MAX;

/// Percentiles of every report.
pub(crate) const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// Limit of rows of a bar chart; further rows are merged into its first or last one.
const BARS_MAX: usize = 12;

/// Significant bits of a histogram with three digits: 2 048 is the smallest power of two that is at
/// least twice a thousand.
const BUCKET_BITS: u32 = 11;

/// Limit of bars of the chart of replies per connection.
const REPLIES_BARS_MAX: u64 = 24;

/// A histogram from 1 ns to 60 s with three significant digits: about 220 KiB, one per worker.
///
/// No wait is longer (`units::TIMEOUT_MAX`). A longer value would be recorded as 60 s.
pub(crate) fn new_histogram() -> Histogram<u64> {
    let max_ns = TIMEOUT_MAX.as_nanos() as u64;
    Histogram::new_with_bounds(1, max_ns, 3).expect("constant and valid bounds")
}

/// The lowest time in the same bucket of [`new_histogram`] as `ns`.
pub(crate) fn bucket_of(ns: u64) -> u64 {
    let ns = ns.min(TIMEOUT_MAX.as_nanos() as u64);
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(BUCKET_BITS);
    ns >> shift << shift
}

/// A histogram of the same range with two digits, about 30 KiB, for lags.
pub(crate) fn new_lag_histogram() -> Histogram<u64> {
    let max_ns = TIMEOUT_MAX.as_nanos() as u64;
    Histogram::new_with_bounds(1, max_ns, 2).expect("constant and valid bounds")
}

/// Seconds from `zero` to `at`; negative if `at` is earlier.
pub(crate) fn seconds_from(zero: Instant, at: Instant) -> f64 {
    match at.checked_duration_since(zero) {
        Some(after) => after.as_secs_f64(),
        None => -zero.duration_since(at).as_secs_f64(),
    }
}

/// Adds `other` to `total`. Both must have the same bounds.
pub(crate) fn merge(total: &mut Histogram<u64>, other: &Histogram<u64>) {
    total.add(other).expect("both have the bounds of new_histogram");
}

/// One row of a bar chart of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// Exclusive lower bound.
    pub(crate) over_us: u64,
    /// Inclusive upper bound; `None` in the last row of a chart with a long tail.
    pub(crate) up_to_us: Option<u64>,
    pub(crate) count: u64,
}

/// Counts by powers of two of a microsecond. Their sum is the histogram's count.
pub(crate) fn bars(histogram: &Histogram<u64>) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for step in histogram.iter_recorded() {
        let value_ns = histogram.lowest_equivalent(step.value_iterated_to());
        let up_to_us = value_ns.div_ceil(1_000).max(1).next_power_of_two();
        // Empty rows in between stay, so that a gap between two modes is visible.
        while bars.last().is_none_or(|bar| bar.up_to_us != Some(up_to_us)) {
            let next_us = bars.last().and_then(|bar| bar.up_to_us).map_or(up_to_us, |us| us * 2);
            let over_us = if next_us == 1 { 0 } else { next_us / 2 };
            bars.push(Bar { over_us, up_to_us: Some(next_us), count: 0 });
        }
        bars.last_mut().expect("pushed above").count += step.count_since_last_iteration();
    }
    // Merge at the end with the smaller count, which loses the least detail.
    while bars.len() > BARS_MAX {
        let (first, last) = (bars[0], bars[bars.len() - 1]);
        if first.count <= last.count {
            bars.remove(0);
            bars[0].count += first.count;
        } else {
            bars.pop();
            let tail = bars.last_mut().expect("more than BARS_MAX were there");
            tail.count += last.count;
            tail.up_to_us = None;
        }
    }
    if let Some(first) = bars.first_mut() {
        first.over_us = 0;
    }
    bars
}

/// Distribution of replies over the connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: u64,
    pub(crate) median: u64,
    pub(crate) max: u64,
    /// Jain's index: 1 if all are equal, 1/n if one connection got all replies.
    pub(crate) jain: f64,
}

/// The spread of `counts`, which it sorts. `None` if `counts` is empty.
pub(crate) fn spread(counts: &mut [u64]) -> Option<Spread> {
    counts.sort_unstable();
    let (min, max) = (*counts.first()?, *counts.last()?);
    let median = counts[counts.len() / 2];
    let sum: f64 = counts.iter().map(|&count| count as f64).sum();
    let sum_of_squares: f64 = counts.iter().map(|&count| (count as f64).powi(2)).sum();
    // Without any reply the formula is 0/0; equal counts have index 1.
    let jain = if sum == 0.0 { 1.0 } else { sum * sum / (counts.len() as f64 * sum_of_squares) };
    Some(Spread { min, median, max, jain })
}

/// Histogram of `counts`, which must be sorted.
pub(crate) fn replies_bars(counts: &[u64]) -> Vec<RepliesBar> {
    let (Some(&min), Some(&max)) = (counts.first(), counts.last()) else { return Vec::new() };
    let width = (max - min + 1).div_ceil(REPLIES_BARS_MAX);
    let mut bars: Vec<RepliesBar> = (0..=(max - min) / width)
        .map(|index| min + index * width)
        .map(|from| RepliesBar { from, to: from + width - 1, connections: 0 })
        .collect();
    for count in counts {
        bars[((count - min) / width) as usize].connections += 1;
    }
    bars
}

/// Number of connections with `from` to `to` replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RepliesBar {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) connections: u64,
}

#[cfg(test)]
mod bucket_tests {
    use super::*;

    /// Goal: `bucket_of` agrees with the histogram.
    ///
    /// Method: compare around every power of two up to the histogram's end.
    ///
    /// Kills: a bucket of twice or half the width.
    #[test]
    fn buckets_agree_with_the_histogram() {
        let histogram = new_histogram();
        let most = TIMEOUT_MAX.as_nanos() as u64;
        for ns in (0..36).flat_map(|power| [(1_u64 << power) - 1, 1 << power, (1 << power) * 7 / 5])
        {
            let ns = ns.min(most);
            assert_eq!(bucket_of(ns), histogram.lowest_equivalent(ns), "{ns}");
        }
        assert_eq!(bucket_of(u64::MAX), bucket_of(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram_of(values_us: &[u64]) -> Histogram<u64> {
        let mut histogram = new_histogram();
        for value in values_us {
            histogram.saturating_record(value * 1_000);
        }
        histogram
    }

    /// Goal: percentiles of known data are exact to the histogram's three digits.
    ///
    /// Method: 1 … 10 000 µs, once each, so that percentile p is p × 100 µs.
    ///
    /// Kills: recording microseconds as nanoseconds; a histogram with fewer digits.
    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let histogram = histogram_of(&(1..=10_000).collect::<Vec<_>>());
        for percentile in PERCENTILES {
            let expected_ns = percentile * 100_000.0;
            let found_ns = histogram.value_at_percentile(percentile) as f64;
            assert!((found_ns / expected_ns - 1.0).abs() < 0.001, "p{percentile}: {found_ns}");
        }
    }

    /// Goal: values beyond the range are recorded at its end, not dropped.
    ///
    /// Method: record an hour.
    ///
    /// Kills: `record`, whose error would be ignored.
    #[test]
    fn absurd_values_saturate() {
        let histogram = histogram_of(&[3_600_000_000]);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= 60_000_000_000);
    }

    /// Goal: each value is in the row whose bounds contain it, and empty rows between two full ones
    /// stay.
    ///
    /// Method: values at and next to the bounds.
    ///
    /// Kills: `<` for `≤`; skipping empty rows.
    #[test]
    fn bars_contain_the_values_within_their_bounds() {
        let bars = bars(&histogram_of(&[60, 64, 65, 300, 300]));
        assert_eq!(
            bars,
            [
                Bar { over_us: 0, up_to_us: Some(64), count: 2 },
                Bar { over_us: 64, up_to_us: Some(128), count: 1 },
                Bar { over_us: 128, up_to_us: Some(256), count: 0 },
                Bar { over_us: 256, up_to_us: Some(512), count: 2 },
            ]
        );
    }

    /// Goal: a wide range is merged at its end with the smaller count, and no count is lost.
    ///
    /// Method: most values small with a long tail, then the mirror image.
    ///
    /// Kills: dropping the merged rows' counts; always merging the same end.
    #[test]
    fn long_tails_are_merged_not_lost() {
        let mut values = vec![10; 1_000];
        values.extend((4..24).map(|power| 1 << power));
        let low = bars(&histogram_of(&values));
        assert_eq!(low.len(), BARS_MAX);
        assert_eq!(low.iter().map(|bar| bar.count).sum::<u64>(), values.len() as u64);
        assert_eq!(low[0].up_to_us, Some(16));
        assert_eq!(low[BARS_MAX - 1].up_to_us, None);

        values.extend(vec![10_000_000; 2_000]);
        let high = bars(&histogram_of(&values));
        assert_eq!(high.iter().map(|bar| bar.count).sum::<u64>(), values.len() as u64);
        assert_eq!(high[0].over_us, 0);
        assert_eq!(high[BARS_MAX - 1].up_to_us, Some(1 << 24));
    }

    /// Goal: Jain's index of known distributions is right.
    ///
    /// Method: all equal, one connection with all replies, no replies, no connections.
    ///
    /// Kills: a missing n in Jain's index; a NaN without replies.
    #[test]
    fn jains_index_measures_fairness() {
        let even = spread(&mut [7, 7, 7, 7]).unwrap();
        assert_eq!((even.min, even.median, even.max, even.jain), (7, 7, 7, 1.0));
        let greedy = spread(&mut [0, 100, 0, 0]).unwrap();
        assert_eq!((greedy.min, greedy.median, greedy.max, greedy.jain), (0, 0, 100, 0.25));
        assert_eq!(spread(&mut [0, 0]).unwrap().jain, 1.0);
        assert_eq!(spread(&mut []), None);
    }

    /// Goal: every connection is in the bar that contains its number of replies.
    ///
    /// Method: no connection, one, equal ones, a few far apart, more values than bars.
    ///
    /// Kills: a missing or an additional bar; the largest count outside of the last bar.
    #[test]
    fn every_connection_is_in_the_bar_of_its_replies() {
        assert_eq!(replies_bars(&[]), []);
        let bar = |from, to, connections| RepliesBar { from, to, connections };
        assert_eq!(replies_bars(&[7]), [bar(7, 7, 1)]);
        assert_eq!(replies_bars(&[3, 3, 5]), [bar(3, 3, 2), bar(4, 4, 0), bar(5, 5, 1)]);
        for max in [23, 24, 25, 1_000, 1_001] {
            let bars = replies_bars(&[0, 0, max / 2, max]);
            assert!(bars.len() <= REPLIES_BARS_MAX as usize, "{max}: {}", bars.len());
            assert_eq!((bars[0].connections, bars.last().unwrap().connections), (2, 1), "{max}");
            assert!(bars.last().unwrap().to >= max);
            assert_eq!(bars.iter().map(|bar| bar.connections).sum::<u64>(), 4);
        }
    }
}
