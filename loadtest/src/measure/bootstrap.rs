//! Confidence intervals of a single run: the block bootstrap.
//!
//! Latencies within a second are correlated: a pause slows hundreds of messages at once. Drawing
//! single messages would treat them as independent, and the intervals would be far too narrow.
//! Instead, whole intervals of the run are drawn with replacement, as many as the run has. Their
//! histograms are summed, and the figure is read from the sum. The spread of a thousand such
//! figures is the uncertainty of the run.
//!
//! With few blocks the plain bootstrap is too narrow. Its percentiles are therefore taken further
//! out, by as much as Student's t is wider than the normal distribution (the "expanded percentile"
//! interval). `intervals_hold_the_true_figure_as_often_as_promised` measures their coverage.

use hdrhistogram::Histogram;

use crate::base::random;
use crate::measure::student;

pub(crate) const DRAWS: usize = 1_000;

/// Fewest blocks from which their spread can be estimated.
pub(crate) const BLOCKS_MIN: usize = 5;

/// Limit of blocks: more do not improve the interval, but take longer. Adjacent intervals are drawn
/// together.
pub(crate) const BLOCKS_MAX: usize = 60;

/// Fewest samples beyond a percentile. With fewer, it depends on single messages, and resampling
/// cannot estimate its spread.
const BEYOND_MIN: f64 = 10.0 - 1e-6; // 99.9 is not exact

/// An interval of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    /// Ascending values in nanoseconds, as rounded by the histogram, with their counts.
    counts: Vec<(u64, u64)>,
    completed: u64,
    seconds: f64,
}

impl Block {
    pub(crate) fn new(latencies: &Histogram<u64>, completed: u64, seconds: f64) -> Block {
        let counts = latencies.iter_recorded().map(|step| {
            (latencies.highest_equivalent(step.value_iterated_to()), step.count_at_value())
        });
        Block { counts: counts.collect(), completed, seconds }
    }

    #[cfg(test)]
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    #[cfg(test)]
    pub(crate) fn samples(&self) -> u64 {
        self.counts.iter().map(|&(_, count)| count).sum()
    }
}

/// Figures of resampled runs, in the order of the draws, so that those of two runs can be divided
/// draw by draw.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    pub(crate) blocks: usize,
    pub(crate) rate: Vec<f64>,
    /// Figures of each requested percentile in nanoseconds; `None` if too few samples lie beyond
    /// it.
    pub(crate) percentiles: Vec<Option<Vec<f64>>>,
}

/// Draws resampled runs. `None` if there are too few blocks.
pub(crate) fn resample(blocks: &[Block], percentiles: &[f64], seed: u64) -> Option<Draws> {
    if blocks.len() < BLOCKS_MIN {
        return None;
    }
    let mut values_ns: Vec<u64> =
        blocks.iter().flat_map(|block| block.counts.iter().map(|&(value, _)| value)).collect();
    values_ns.sort_unstable();
    values_ns.dedup();
    let place = |value| values_ns.binary_search(value).expect("every value is in the list");
    let rows: Vec<Vec<(usize, u64)>> = blocks
        .iter()
        .map(|block| block.counts.iter().map(|(value, count)| (place(value), *count)).collect())
        .collect();

    let samples: u64 = blocks.iter().flat_map(|block| &block.counts).map(|&(_, count)| count).sum();
    let is_known = |percentile: &f64| samples as f64 * (100.0 - percentile) / 100.0 >= BEYOND_MIN;
    let mut draws = Draws {
        blocks: blocks.len(),
        rate: Vec::with_capacity(DRAWS),
        percentiles: percentiles.iter().map(|p| is_known(p).then(Vec::new)).collect(),
    };
    let mut random = random::generator(seed, 0);
    let mut counts = vec![0u64; values_ns.len()];
    for _ in 0..DRAWS {
        counts.fill(0);
        let (mut completed, mut seconds) = (0, 0.0);
        for _ in blocks {
            let drawn = random.usize(..blocks.len());
            completed += blocks[drawn].completed;
            seconds += blocks[drawn].seconds;
            for &(place, count) in &rows[drawn] {
                counts[place] += count;
            }
        }
        draws.rate.push(completed as f64 / seconds);
        let up_to = sums(&mut counts);
        for (percentile, found) in percentiles.iter().zip(&mut draws.percentiles) {
            if let Some(found) = found {
                found.push(percentile_of(&values_ns, up_to, *percentile));
            }
        }
    }
    Some(draws)
}

/// Turns counts of each value into counts of all values up to it.
fn sums(counts: &mut [u64]) -> &[u64] {
    let mut sum = 0;
    for count in counts.iter_mut() {
        sum += *count;
        *count = sum;
    }
    counts
}

/// The percentile, by the rule of `Histogram::value_at_percentile`.
fn percentile_of(values_ns: &[u64], up_to: &[u64], percentile: f64) -> f64 {
    let total = up_to.last().copied().unwrap_or_default();
    let rank = (percentile / 100.0 * total as f64).ceil().max(1.0) as u64;
    let place = up_to.partition_point(|count| *count < rank);
    // A draw of empty blocks has no value.
    values_ns.get(place).map_or(0.0, |value_ns| *value_ns as f64)
}

/// The 95 % confidence interval of a figure, from the figures of resampled runs of `blocks` blocks.
pub(crate) fn interval(mut figures: Vec<f64>, blocks: usize) -> [f64; 2] {
    assert!(!figures.is_empty() && blocks > 1, "{} figures of {blocks} blocks", figures.len());
    figures.sort_unstable_by(f64::total_cmp);
    let n = blocks as f64;
    let tail = student::normal_below(-(n / (n - 1.0)).sqrt() * student::t95(n - 1.0));
    let last = figures.len() - 1;
    let low = (tail * last as f64).floor() as usize;
    [figures[low], figures[last - low]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A histogram with two digits, so that resampling hundreds of runs a thousand times takes
    /// seconds.
    fn coarse_histogram() -> Histogram<u64> {
        Histogram::new_with_bounds(1_000, 10_000_000_000, 2).unwrap()
    }

    fn record(random: &mut fastrand::Rng, typical_us: f64, histogram: &mut Histogram<u64>) {
        // Exponential, with a long tail as latencies have.
        let us = -typical_us * (1.0 - random.f64()).ln();
        histogram.saturating_record((us * 1e3) as u64);
    }

    /// A block of messages with times around `typical_us`, which differs between blocks.
    fn block(
        random: &mut fastrand::Rng,
        typical_us: f64,
        messages: u64,
    ) -> (Histogram<u64>, Block) {
        let mut histogram = coarse_histogram();
        for _ in 0..messages {
            record(random, typical_us, &mut histogram);
        }
        let block = Block::new(&histogram, messages, 1.0);
        (histogram, block)
    }

    /// Goal: the intervals contain the true figure about as often as promised, with few and with
    /// many blocks, although blocks differ.
    ///
    /// Method: simulate 200 runs for each number of blocks, with exponential times around a level
    /// that differs between blocks. The true figures are those of a very long run. All seeds are
    /// fixed. The promise is 95 %. Percentiles of skewed data with five blocks are hard, so at
    /// least 88 % are required; 100 % would mean useless intervals.
    ///
    /// Kills: drawing single messages; percentiles that are not expanded (below 85 % with five
    /// blocks); drawing fewer blocks than the run has; swapped ends of the interval.
    #[test]
    fn intervals_hold_the_true_figure_as_often_as_promised() {
        const MESSAGES: u64 = 60;
        const PERCENTILES: [f64; 2] = [50.0, 90.0];
        let level = |random: &mut fastrand::Rng| 100.0 + 60.0 * random.f64();
        let mut random = fastrand::Rng::with_seed(7);
        let mut long = coarse_histogram();
        for _ in 0..100_000 {
            let level = level(&mut random);
            record(&mut random, level, &mut long);
        }
        for blocks_count in [5, 12] {
            let mut kept = [0; 2];
            for run in 0..200 {
                let blocks: Vec<Block> = (0..blocks_count)
                    .map(|_| {
                        let level = level(&mut random);
                        block(&mut random, level, MESSAGES).1
                    })
                    .collect();
                let draws = resample(&blocks, &PERCENTILES, run).unwrap();
                for (kept, (figures, p)) in
                    kept.iter_mut().zip(draws.percentiles.into_iter().zip(PERCENTILES))
                {
                    let [low, high] = interval(figures.unwrap(), draws.blocks);
                    let truth = long.value_at_percentile(p) as f64;
                    *kept += i32::from(low <= truth && truth <= high);
                }
            }
            for (kept, name) in kept.into_iter().zip(["p50", "p90"]) {
                assert!((176..200).contains(&kept), "{name}, {blocks_count} blocks: {kept} of 200");
            }
        }
    }

    /// Goal: the rate uses the true lengths of the blocks.
    ///
    /// Method: a steady 100 per second in blocks of one second and a last one of half a second.
    ///
    /// Kills: dividing by the number of blocks.
    #[test]
    fn a_steady_rate_is_certain() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut blocks: Vec<Block> = (0..9).map(|_| block(&mut random, 50.0, 100).1).collect();
        blocks.push(Block { seconds: 0.5, ..block(&mut random, 50.0, 50).1 });
        let draws = resample(&blocks, &[], 1).unwrap();
        assert_eq!(interval(draws.rate, draws.blocks), [100.0, 100.0]);
    }

    /// Goal: a draw has as many blocks as the run.
    ///
    /// Method: half of ten blocks have 100 messages, half have none. The rate of a draw is 50 with
    /// a standard deviation of 50/√10 = 15.8. A thousand draws estimate it to two percent.
    ///
    /// Kills: drawing eight blocks (17.7) or twelve (14.4).
    #[test]
    fn draws_are_as_large_as_the_run() {
        let block = |completed| Block { completed, seconds: 1.0, ..Block::default() };
        let blocks: Vec<Block> = [0, 100].map(block).into_iter().cycle().take(10).collect();
        let rates = resample(&blocks, &[], 1).unwrap().rate;
        let variance = rates.iter().map(|rate| (rate - 50.0).powi(2)).sum::<f64>() / DRAWS as f64;
        assert!((15.1..16.6).contains(&variance.sqrt()), "{}", variance.sqrt());
    }

    /// Goal: the same run and seed give the same interval, and another seed gives another one.
    ///
    /// Method: draw three times.
    ///
    /// Kills: randomness that is not seeded; a seed that is ignored.
    #[test]
    fn draws_depend_on_the_seed() {
        let mut random = fastrand::Rng::with_seed(1);
        let blocks: Vec<Block> =
            [50, 60, 70, 80, 90, 100].map(|level| block(&mut random, level.into(), 500).1).into();
        let draw = |seed| resample(&blocks, &[90.0], seed).unwrap().percentiles;
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let found = draw(1).remove(0).unwrap();
        assert_eq!(found.len(), DRAWS);
    }

    /// Goal: a run with too few data has no interval.
    ///
    /// Method: one block too few; a percentile with nine and with ten samples beyond it; blocks
    /// without replies.
    ///
    /// Kills: an interval of zero width from a single block; a p99.9 of a thousand messages.
    #[test]
    fn too_few_data_have_no_interval() {
        let mut random = fastrand::Rng::with_seed(1);
        let blocks = |count: usize, messages, random: &mut fastrand::Rng| -> Vec<Block> {
            (0..count).map(|_| block(random, 50.0, messages).1).collect()
        };
        assert!(resample(&[], &[50.0], 1).is_none());
        assert!(resample(&blocks(BLOCKS_MIN - 1, 100, &mut random), &[50.0], 1).is_none());
        for (messages, is_known) in [(199, false), (200, true)] {
            let draws = resample(&blocks(5, messages, &mut random), &[99.0], 1).unwrap();
            assert_eq!(draws.percentiles[0].is_some(), is_known, "{messages}");
        }
        let empty = vec![Block { seconds: 1.0, ..Block::default() }; 5];
        let draws = resample(&empty, &[50.0], 1).unwrap();
        assert_eq!((draws.rate[0], draws.percentiles[0].as_ref()), (0.0, None));
    }

    /// Goal: the percentiles of a draw equal those of the histogram of the same blocks.
    ///
    /// Method: equal blocks, so that every draw equals the run.
    ///
    /// Kills: a rank that is off by one; the lower end of a bucket in place of its upper end.
    #[test]
    fn percentiles_are_those_of_the_histogram() {
        let mut random = fastrand::Rng::with_seed(3);
        let (histogram, block) = block(&mut random, 80.0, 777);
        let mut total = coarse_histogram();
        for _ in 0..6 {
            total.add(&histogram).unwrap();
        }
        let percentiles: Vec<f64> = (1..990).map(|tenths| f64::from(tenths) / 10.0).collect();
        let draws = resample(&vec![block; 6], &percentiles, 1).unwrap();
        for (percentile, figures) in percentiles.into_iter().zip(draws.percentiles) {
            let expected = total.value_at_percentile(percentile) as f64;
            assert_eq!(figures.unwrap()[0], expected, "p{percentile}");
        }
    }
}
