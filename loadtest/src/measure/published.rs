//! Counters and a coarse histogram that each worker publishes for the main thread during the run.
//!
//! The display must not cost throughput. A worker only adds to its own cells; it never waits, draws
//! or copies for the display.
//!
//! Every atomic here is a statistic with a single writer and is `Relaxed`: it orders nothing, and
//! no decision of a worker depends on it. The exact numbers are in `WorkerResult`.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Number of buckets per power of two of a nanosecond. A figure is at most 1/16 too high.
const PARTS: usize = 16;
const PARTS_LOG2: u32 = PARTS.ilog2();

const BUCKETS: usize = 64 * PARTS;

/// A counter that one thread writes and others read.
///
/// It uses a load and a store, not `fetch_add`: with a single writer both are correct, and the load
/// and the store avoid a locked instruction per message.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(crate) fn subtract_one(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Published counters of one worker. Aligned so that no two workers share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Published {
    /// Connections opened so far.
    pub(crate) opened: Counter,
    /// Connects that failed.
    pub(crate) refused: Counter,
    /// Connections open now.
    pub(crate) alive: Counter,
    /// Connections with at least one reply.
    pub(crate) served: Counter,
    /// Replies since the start, warm-up included.
    pub(crate) replies: Counter,
    /// Messages that ended in an error or a timeout, warm-up included.
    pub(crate) errors: Counter,
    buckets: [Counter; BUCKETS],
}

impl Published {
    pub(crate) fn new() -> Published {
        Published {
            opened: Counter::default(),
            refused: Counter::default(),
            alive: Counter::default(),
            served: Counter::default(),
            replies: Counter::default(),
            errors: Counter::default(),
            buckets: std::array::from_fn(|_| Counter::default()),
        }
    }

    pub(crate) fn reply(&self, took: Duration) {
        self.replies.add_one();
        self.buckets[bucket_of(took)].add_one();
    }
}

/// All workers' counters at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) opened: u64,
    pub(crate) refused: u64,
    pub(crate) alive: u64,
    pub(crate) served: u64,
    pub(crate) replies: u64,
    pub(crate) errors: u64,
    buckets: [u64; BUCKETS],
}

impl Snapshot {
    pub(crate) fn zero() -> Snapshot {
        Snapshot {
            opened: 0,
            refused: 0,
            alive: 0,
            served: 0,
            replies: 0,
            errors: 0,
            buckets: [0; BUCKETS],
        }
    }

    pub(crate) fn take<'a>(workers: impl Iterator<Item = &'a Published>) -> Snapshot {
        let mut sum = Snapshot::zero();
        for worker in workers {
            let Published { opened, refused, alive, served, replies, errors, buckets } = worker;
            sum.opened += opened.get();
            sum.refused += refused.get();
            sum.alive += alive.get();
            sum.served += served.get();
            sum.replies += replies.get();
            sum.errors += errors.get();
            for (total, bucket) in sum.buckets.iter_mut().zip(buckets) {
                *total += bucket.get();
            }
        }
        sum
    }

    /// The service time that `percentile` of the replies since `earlier` did not exceed, rounded up
    /// to a bucket's end. `None` if there were none.
    pub(crate) fn percentile_since(&self, earlier: &Snapshot, percentile: f64) -> Option<Duration> {
        let counts = || self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now - then);
        let total: u64 = counts().sum();
        let rank = ((total as f64 * percentile / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = counts().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(bucket_end(bucket))
    }
}

fn bucket_of(took: Duration) -> usize {
    let took_ns = (took.as_nanos() as u64).max(PARTS as u64);
    let power = took_ns.ilog2();
    let part = (took_ns >> (power - PARTS_LOG2)) as usize % PARTS;
    power as usize * PARTS + part
}

fn bucket_end(bucket: usize) -> Duration {
    let (power, part) = (bucket / PARTS, bucket % PARTS);
    let end_ns = ((part + PARTS + 1) as u128) << power >> PARTS_LOG2;
    Duration::from_nanos(u64::try_from(end_ns - 1).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the end of a duration's bucket is at most a sixteenth above the duration.
    ///
    /// Method: sweep over powers of two and their neighbours.
    ///
    /// Kills: an index beyond the array; buckets that are off by one power.
    #[test]
    fn buckets_end_a_sixteenth_above_at_most() {
        for power in 4..64 {
            for value_ns in [1u64 << power, (1u64 << power) + 1, (1u64 << power) / 2 * 3] {
                let end = bucket_end(bucket_of(Duration::from_nanos(value_ns)));
                assert!(end.as_nanos() >= u128::from(value_ns), "{value_ns} > {end:?}");
                assert!(
                    end.as_nanos() <= u128::from(value_ns) * 17 / 16 + 1,
                    "{value_ns}, {end:?}"
                );
            }
        }
        assert!(bucket_of(Duration::ZERO) < BUCKETS);
        assert!(bucket_of(Duration::MAX) < BUCKETS);
    }

    /// Goal: the percentiles of an interval contain its replies only.
    ///
    /// Method: many slow replies, a snapshot, a few fast replies.
    ///
    /// Kills: ignoring the earlier snapshot; reporting zero without replies.
    #[test]
    fn percentiles_are_of_the_interval() {
        let published = Published::new();
        for _ in 0..1_000 {
            published.reply(Duration::from_secs(1));
        }
        let before = Snapshot::take([&published].into_iter());
        for _ in 0..10 {
            published.reply(Duration::from_micros(100));
        }
        let after = Snapshot::take([&published, &Published::new()].into_iter());
        let p99 = after.percentile_since(&before, 99.0).unwrap();
        assert!((100..=107).contains(&p99.as_micros()), "{p99:?}");
        assert_eq!(after.percentile_since(&after, 99.0), None);
        assert_eq!(after.replies - before.replies, 10);
    }
}
