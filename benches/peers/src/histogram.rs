//! A histogram of latencies, with buckets whose width grows with the value.
//!
//! Each power of two is cut into 128 buckets, so a percentile is less than 1 % too high. The whole
//! range of `u64` fits into 58 KiB, of which a run touches a few lines.

const CUTS_LOG2: u32 = 7;
const CUTS: usize = 1 << CUTS_LOG2;
const BUCKETS: usize = (64 - CUTS_LOG2 as usize + 1) * CUTS;

/// Counts of values, by bucket.
#[derive(Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket_of(value)] += 1;
        self.total += 1;
    }

    /// Resets all counts.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The value that `share` (0 to 1) of all values do not exceed; 0 if nothing was counted.
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest_of(bucket);
            }
        }
        0
    }
}

fn bucket_of(value: u64) -> usize {
    if value < CUTS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - CUTS_LOG2;
    // `value >> shift` lies in CUTS..2*CUTS, so adding `shift * CUTS` makes the ranges meet.
    (shift as usize) * CUTS + (value >> shift) as usize
}

/// The largest value that falls into `bucket`.
fn highest_of(bucket: usize) -> u64 {
    if bucket < 2 * CUTS {
        return bucket as u64;
    }
    let shift = bucket / CUTS - 1;
    let lowest = ((bucket % CUTS + CUTS) as u64) << shift;
    lowest + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every value lies in its bucket, and buckets neither overlap nor leave gaps.
    ///
    /// Method: walk all buckets; the highest value of one plus one must open the next.
    ///
    /// Kills: an off-by-one in the shift of either direction.
    #[test]
    fn neighbouring_buckets_meet() {
        for bucket in 0..BUCKETS - 1 {
            let highest = highest_of(bucket);
            assert_eq!(bucket_of(highest), bucket, "highest {highest}");
            assert_eq!(bucket_of(highest + 1), bucket + 1, "highest {highest}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(highest_of(BUCKETS - 1), u64::MAX);
    }

    /// Goal: percentiles are right to within a bucket.
    ///
    /// Method: count 1..=100 000 once each, where every percentile is known.
    ///
    /// Kills: a rank that is one too low; reporting the lower end of a bucket.
    #[test]
    fn percentiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), 0);
        for value in 1..=100_000 {
            histogram.record(value);
        }
        for share in [0.5, 0.99, 0.999] {
            let exact = 100_000.0 * share;
            let found = histogram.percentile(share) as f64;
            assert!(found >= exact && found < exact * 1.01, "{share}: {found}");
        }
        histogram.clear();
        assert_eq!(histogram.percentile(0.5), 0);
    }
}
