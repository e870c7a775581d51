//! Confidence intervals of a run's figures, from its intervals.
//!
//! They are computed from the report alone, so they can be computed again for an old report.

use hdrhistogram::Histogram;

use crate::measure::bootstrap::{self, BLOCKS_MAX, BLOCKS_MIN, Block, Draws};
use crate::measure::stats::{self, PERCENTILES};
use crate::report::model::conclusions::Confidence;
use crate::report::model::distribution::Distribution;
use crate::report::model::{Latencies, Report};

/// Adds the confidence intervals to `report`.
pub(crate) fn add_to(report: &mut Report) {
    let blocks = blocks(report);
    let draws = bootstrap::resample(&blocks, &PERCENTILES, report.config.seed);
    report.confidence = Confidence {
        blocks: blocks.len(),
        block_s: report.config.interval_s * group_len(measured_count(report)) as f64,
        missing: draws.is_none().then(|| too_few(blocks.len())),
    };
    let Some(draws) = draws else { return };
    let Draws { blocks, rate, percentiles } = draws;
    report.load.achieved_rate_ci = Some(bootstrap::interval(rate, blocks));
    let Some(main) = report.latency_us.main_mut() else { return };
    for (percentile, figures) in PERCENTILES.iter().zip(percentiles) {
        if let Some(figures) = figures {
            let interval_us = bootstrap::interval(figures, blocks).map(|ns| ns / 1e3);
            main.ci.insert(format!("p{percentile}"), interval_us);
        }
    }
}

fn too_few(blocks_count: usize) -> String {
    let intervals = if blocks_count == 1 { "interval was" } else { "intervals were" };
    format!(
        "{blocks_count} {intervals} measured, at least {BLOCKS_MIN} are needed (use a longer \
         --duration or a shorter --interval)"
    )
}

impl Latencies {
    /// The main latencies, which the intervals contain: response times of an open loop, service
    /// times of a closed one.
    pub(crate) fn main(&self) -> Option<&Distribution> {
        self.response.as_ref().or(self.service.as_ref())
    }

    fn main_mut(&mut self) -> Option<&mut Distribution> {
        self.response.as_mut().or(self.service.as_mut())
    }
}

fn measured_count(report: &Report) -> usize {
    report.intervals.iter().filter(|interval| interval.phase == "measured").count()
}

/// Number of intervals per block, so that a long run has at most [`BLOCKS_MAX`] blocks.
fn group_len(intervals_count: usize) -> usize {
    intervals_count.div_ceil(BLOCKS_MAX).max(1)
}

/// The measured window as blocks. Replies in the drain belong to messages of the window and are the
/// slowest ones, so they are in its last block. A short last interval is in it, too.
pub(crate) fn blocks(report: &Report) -> Vec<Block> {
    let group_len = group_len(measured_count(report));
    let enough_s = report.config.interval_s * group_len as f64 / 2.0;
    let mut rest_s: f64 = report
        .intervals
        .iter()
        .filter(|interval| interval.phase == "measured")
        .map(|interval| interval.length_s)
        .sum();
    let mut blocks = Vec::new();
    let mut open = Open::default();
    for interval in report.intervals.iter().filter(|interval| interval.phase != "warm-up") {
        if interval.phase == "measured" {
            if open.intervals >= group_len && rest_s >= enough_s {
                blocks.push(open.close());
            }
            open.intervals += 1;
            open.seconds += interval.length_s;
            rest_s -= interval.length_s;
        }
        open.completed += interval.completed;
        if let Some(part) = interval.histogram() {
            match &mut open.latencies {
                Some(latencies) => stats::merge(latencies, &part),
                none => *none = Some(part),
            }
        }
    }
    if open.seconds > 0.0 {
        blocks.push(open.close());
    }
    blocks
}

#[derive(Debug, Default)]
struct Open {
    intervals: usize,
    seconds: f64,
    completed: u64,
    latencies: Option<Histogram<u64>>,
}

impl Open {
    fn close(&mut self) -> Block {
        let Open { intervals: _, seconds, completed, latencies } = std::mem::take(self);
        let latencies = latencies.unwrap_or_else(stats::new_histogram);
        Block::new(&latencies, completed, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Goal: the figures get confidence intervals from the report's intervals.
    ///
    /// Method: ten seconds with different levels and known figures; check the bounds.
    ///
    /// Kills: nanoseconds for microseconds; the interval of another percentile; intervals of the
    /// service time in an open loop.
    #[test]
    fn figures_get_their_bounds() {
        let mut report = fixture::with_intervals(&[90, 100, 110, 95, 105, 90, 100, 110, 95, 105]);
        add_to(&mut report);
        let service = report.latency_us.service.as_ref().unwrap();
        for (name, centre_us) in [("p50", 100.0), ("p90", 180.0), ("p99", 210.0)] {
            let [low, high] = service.ci[name];
            let point = service.percentiles[name];
            assert!(low <= point && point <= high, "{name}: {low} {point} {high}");
            assert!(low < high, "{name}: {low} {high}");
            assert!((centre_us * 0.8..centre_us * 1.2).contains(&low), "{name}: {low}");
            assert!((centre_us * 0.8..centre_us * 1.2).contains(&high), "{name}: {high}");
        }
        assert!(!service.ci.contains_key("p99.99"), "of ten thousand samples, one is beyond");
        let rate = report.load.achieved_rate;
        assert_eq!(report.load.achieved_rate_ci, Some([rate, rate]));
        let confidence = &report.confidence;
        assert_eq!((confidence.blocks, confidence.block_s), (10, 1.0));
        assert_eq!(confidence.missing, None);

        let mut open_loop = fixture::with_intervals(&[90, 100, 110, 95, 105]);
        open_loop.latency_us.response = open_loop.latency_us.service.clone();
        add_to(&mut open_loop);
        assert!(open_loop.latency_us.service.unwrap().ci.is_empty());
        assert!(!open_loop.latency_us.response.unwrap().ci.is_empty());
    }

    /// Goal: a run that is too short has the reason in place of the intervals.
    ///
    /// Method: no, one and four intervals.
    ///
    /// Kills: an interval of zero width; a missing reason.
    #[test]
    fn short_runs_have_the_reason() {
        for (levels, expected) in
            [(&[][..], "0 intervals were"), (&[9], "1 interval was"), (&[9; 4], "4 intervals were")]
        {
            let mut report = fixture::with_intervals(levels);
            add_to(&mut report);
            assert!(report.confidence.missing.unwrap().starts_with(expected));
            assert_eq!(report.load.achieved_rate_ci, None);
            assert!(report.latency_us.service.is_none_or(|service| service.ci.is_empty()));
        }
    }

    /// Goal: blocks are few and of full length, and contain every reply to a message of the window
    /// exactly once.
    ///
    /// Method: a minute and one second; a short last interval, and one that is long enough; a
    /// warm-up and a drain.
    ///
    /// Kills: a short block that is drawn like a long one; dropping the slow replies of the drain,
    /// or counting those of the warm-up.
    #[test]
    fn blocks_contain_the_window_once() {
        let lengths = |report: &Report| -> (usize, f64) {
            let blocks = blocks(report);
            (blocks.len(), blocks.last().map_or(0.0, Block::seconds))
        };
        assert_eq!(lengths(&fixture::with_intervals(&[50; 60])), (60, 1.0));
        assert_eq!(lengths(&fixture::with_intervals(&[50; 61])), (31, 1.0));
        let mut report = fixture::with_intervals(&[50; 6]);
        report.intervals[5].length_s = 0.25;
        assert_eq!(lengths(&report), (5, 1.25));
        report.intervals[5].length_s = 0.75;
        assert_eq!(lengths(&report), (6, 0.75));

        let samples = |report: &Report| blocks(report).iter().map(Block::samples).sum::<u64>();
        let all = samples(&report);
        "drain".clone_into(&mut report.intervals[5].phase);
        assert_eq!((blocks(&report).len(), samples(&report)), (5, all));
        "warm-up".clone_into(&mut report.intervals[0].phase);
        assert_eq!((blocks(&report).len(), samples(&report)), (4, all / 6 * 5));
    }
}
