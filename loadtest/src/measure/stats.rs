//! Latency histograms and the numbers drawn from them. Nanoseconds everywhere.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::base::units::TIMEOUT_MAX;

/// Percentiles that a report names.
pub(crate) const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// The most rows a bar chart has; what lies beyond is merged into its first or last row.
const BARS_MAX: usize = 12;

/// Bits of a time that a histogram with three digits keeps: 2 048 is the least power of two that is
/// not less than twice a thousand.
const BUCKET_BITS: u32 = 11;

/// The most bars of the chart of replies per connection.
const REPLIES_BARS_MAX: u64 = 24;

/// A histogram from 1 ns to 60 s with three significant digits: about 220 KiB, one per worker.
///
/// Longer values cannot occur, because no wait may be longer (`units::TIMEOUT_MAX`); if one did, it
/// would be recorded as 60 s.
pub(crate) fn new_histogram() -> Histogram<u64> {
    let max_ns = TIMEOUT_MAX.as_nanos() as u64;
    Histogram::new_with_bounds(1, max_ns, 3).expect("constant and valid bounds")
}

/// The least time that counts as the same as this one in [`new_histogram`], whose unit is the smallest
/// there is: three digits of it are eleven bits.
pub(crate) fn bucket_of(ns: u64) -> u64 {
    let ns = ns.min(TIMEOUT_MAX.as_nanos() as u64);
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(BUCKET_BITS);
    ns >> shift << shift
}

/// The same range with two digits, about 30 KiB: for figures of which nobody reads a third.
pub(crate) fn new_lag_histogram() -> Histogram<u64> {
    let max_ns = TIMEOUT_MAX.as_nanos() as u64;
    Histogram::new_with_bounds(1, max_ns, 2).expect("constant and valid bounds")
}

/// Seconds from `zero` to `at`; negative for what was before.
pub(crate) fn seconds_from(zero: Instant, at: Instant) -> f64 {
    match at.checked_duration_since(zero) {
        Some(after) => after.as_secs_f64(),
        None => -zero.duration_since(at).as_secs_f64(),
    }
}

/// Adds `other`, made by the same function as `total`.
pub(crate) fn merge(total: &mut Histogram<u64>, other: &Histogram<u64>) {
    total.add(other).expect("both have the bounds of new_histogram");
}

/// One row of a bar chart of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// The row has the values above this.
    pub(crate) over_us: u64,
    /// The row has the values up to this; `None` is the last row of a chart with a long tail.
    pub(crate) up_to_us: Option<u64>,
    pub(crate) count: u64,
}

/// Counts by powers of two of a microsecond. The counts add up to the histogram's.
pub(crate) fn bars(histogram: &Histogram<u64>) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for step in histogram.iter_recorded() {
        let value_ns = histogram.lowest_equivalent(step.value_iterated_to());
        let up_to_us = value_ns.div_ceil(1_000).max(1).next_power_of_two();
        // Rows in between stay, with a count of zero: a gap between two modes must be seen.
        while bars.last().is_none_or(|bar| bar.up_to_us != Some(up_to_us)) {
            let next_us = bars.last().and_then(|bar| bar.up_to_us).map_or(up_to_us, |us| us * 2);
            let over_us = if next_us == 1 { 0 } else { next_us / 2 };
            bars.push(Bar { over_us, up_to_us: Some(next_us), count: 0 });
        }
        bars.last_mut().expect("pushed above").count += step.count_since_last_iteration();
    }
    // Merge at the lighter end, where least is lost.
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

/// How evenly the connections were served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: u64,
    pub(crate) median: u64,
    pub(crate) max: u64,
    /// Jain's index: 1 when all got the same, 1/n when one got everything.
    pub(crate) jain: f64,
}

/// The spread of `counts`, which it sorts. `None` when there are none.
pub(crate) fn spread(counts: &mut [u64]) -> Option<Spread> {
    counts.sort_unstable();
    let (min, max) = (*counts.first()?, *counts.last()?);
    let median = counts[counts.len() / 2];
    let sum: f64 = counts.iter().map(|&count| count as f64).sum();
    let sum_of_squares: f64 = counts.iter().map(|&count| (count as f64).powi(2)).sum();
    // Nobody got anything: that is even, and 0/0 otherwise.
    let jain = if sum == 0.0 { 1.0 } else { sum * sum / (counts.len() as f64 * sum_of_squares) };
    Some(Spread { min, median, max, jain })
}

/// How many of `counts`, which are sorted, lie where between the least and the largest.
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

/// Connections with so many replies, from `from` to `to`.
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

    /// Goal: a bucket is that of the histogram.
    ///
    /// Method: around every power of two up to the histogram's end, against its own answer.
    ///
    /// Kills: a bucket that is twice or half as wide.
    #[test]
    fn buckets_are_the_histograms() {
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

    /// Goal: percentiles of known data are right within the histogram's three digits.
    ///
    /// Method: 1 … 10 000 µs, once each; the percentile p is then p × 100 µs.
    ///
    /// Kills: recording microseconds as nanoseconds; a histogram with fewer digits.
    #[test]
    fn percentiles_of_known_data() {
        let histogram = histogram_of(&(1..=10_000).collect::<Vec<_>>());
        for percentile in PERCENTILES {
            let wanted_ns = percentile * 100_000.0;
            let found_ns = histogram.value_at_percentile(percentile) as f64;
            assert!((found_ns / wanted_ns - 1.0).abs() < 0.001, "p{percentile}: {found_ns}");
        }
    }

    /// Goal: values beyond the range are kept at its end, never dropped.
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

    /// Goal: each value is in the row whose bounds hold it, borders included, and empty rows between
    /// two full ones stay.
    ///
    /// Method: values on and beside the borders.
    ///
    /// Kills: `<` for `≤`; skipping empty rows.
    #[test]
    fn bars_hold_what_they_say() {
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

    /// Goal: a wide range is cut at its light end, and no count is lost.
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

    /// Goal: fairness of known distributions.
    ///
    /// Method: all equal, one takes all, nobody served, nobody there.
    ///
    /// Kills: forgetting n in Jain's index; a NaN when nothing was served.
    #[test]
    fn spreads() {
        let even = spread(&mut [7, 7, 7, 7]).unwrap();
        assert_eq!((even.min, even.median, even.max, even.jain), (7, 7, 7, 1.0));
        let greedy = spread(&mut [0, 100, 0, 0]).unwrap();
        assert_eq!((greedy.min, greedy.median, greedy.max, greedy.jain), (0, 0, 100, 0.25));
        assert_eq!(spread(&mut [0, 0]).unwrap().jain, 1.0);
        assert_eq!(spread(&mut []), None);
    }

    /// Goal: every connection is in the bar that holds its number of replies.
    ///
    /// Method: nobody, one, all alike, a few far apart, more values than bars.
    ///
    /// Kills: a bar too many or too few; the largest count outside the last bar.
    #[test]
    fn bars_of_replies() {
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
