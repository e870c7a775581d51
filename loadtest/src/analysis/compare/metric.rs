//! The compared figures and their confidence intervals.

use crate::analysis::confidence;
use crate::measure::bootstrap::{self, Draws};
use crate::measure::student::Repeated;
use crate::report::model::Report;

#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    figure: MetricKind,
    pub(super) more_is_better: bool,
}

#[derive(Clone, Copy, Debug)]
enum MetricKind {
    Rate,
    Latency {
        percentile: f64,
    },
    /// Processor time of the server per message. A run has one value, not one per interval.
    ServerCpu,
}

const fn latency(name: &'static str, percentile: f64) -> Metric {
    Metric { name, figure: MetricKind::Latency { percentile }, more_is_better: false }
}

pub(super) const METRICS: [Metric; 6] = [
    Metric { name: "rate", figure: MetricKind::Rate, more_is_better: true },
    latency("p50", 50.0),
    latency("p90", 90.0),
    latency("p99", 99.0),
    latency("p99.9", 99.9),
    Metric { name: "server-cpu", figure: MetricKind::ServerCpu, more_is_better: false },
];

impl Metric {
    fn percentile(&self) -> Option<f64> {
        match self.figure {
            MetricKind::Latency { percentile } => Some(percentile),
            MetricKind::Rate | MetricKind::ServerCpu => None,
        }
    }

    /// Whether the comparison has this metric: servers without samples have no row.
    pub(super) fn is_compared(&self, sides: [&ComparedRun<'_>; 2]) -> bool {
        match self.figure {
            MetricKind::Rate | MetricKind::Latency { .. } => true,
            MetricKind::ServerCpu => sides.iter().any(|side| side.value(self).is_some()),
        }
    }
}

/// One of the two compared runs.
#[derive(Debug)]
pub(super) struct ComparedRun<'a> {
    report: &'a Report,
    /// Resampled figures of a single run.
    draws: Option<Draws>,
}

impl<'a> ComparedRun<'a> {
    /// `number` makes the random draws of the two sides different.
    pub(super) fn new(report: &'a Report, number: u64) -> ComparedRun<'a> {
        let percentiles: Vec<f64> = METRICS.iter().filter_map(Metric::percentile).collect();
        let blocks = confidence::blocks(report);
        ComparedRun { report, draws: bootstrap::resample(&blocks, &percentiles, number) }
    }

    fn is_repeated(&self) -> bool {
        self.report.reps.len() > 1
    }

    /// The mean of the runs, or the figure of a single run.
    pub(super) fn value(&self, metric: &Metric) -> Option<f64> {
        if let Some(repeated) = self.repeated(metric) {
            return Some(repeated.mean);
        }
        match metric.figure {
            MetricKind::Rate => Some(self.report.load.achieved_rate),
            MetricKind::Latency { .. } => {
                self.report.headline()?.1.percentiles.get(metric.name).copied()
            }
            MetricKind::ServerCpu => self.report.server.as_ref()?.cpu_us_per_message,
        }
    }

    fn repeated(&self, metric: &Metric) -> Option<Repeated> {
        let values: Option<Vec<f64>> = self
            .report
            .reps
            .iter()
            .map(|rep| match metric.figure {
                MetricKind::Rate => Some(rep.achieved_rate),
                MetricKind::Latency { .. } => rep.percentiles.get(metric.name).copied(),
                MetricKind::ServerCpu => rep.server_cpu_us_per_message,
            })
            .collect();
        Repeated::of(&values?)
    }

    /// The resampled figures, in the order of the draws.
    fn drawn(&self, metric: &Metric) -> Option<Vec<f64>> {
        let draws = self.draws.as_ref()?;
        match metric.figure {
            MetricKind::Rate => Some(draws.rate.clone()),
            MetricKind::ServerCpu => None,
            MetricKind::Latency { .. } => {
                let place = METRICS.iter().filter(|other| other.percentile().is_some());
                let place = place.into_iter().position(|other| other.name == metric.name)?;
                let figures_ns = draws.percentiles[place].as_ref()?;
                Some(figures_ns.iter().map(|ns| ns / 1e3).collect())
            }
        }
    }

    pub(super) fn interval(&self, metric: &Metric) -> Option<[f64; 2]> {
        match self.repeated(metric) {
            Some(repeated) => Some(repeated.interval()),
            None => Some(bootstrap::interval(self.drawn(metric)?, self.draws.as_ref()?.blocks)),
        }
    }
}

/// The 95 % confidence interval of the change, in percent of the base.
pub(super) fn change(
    metric: &Metric,
    before: &ComparedRun,
    after: &ComparedRun,
) -> Option<[f64; 2]> {
    if let (Some(base), Some(new)) = (before.repeated(metric), after.repeated(metric)) {
        return (base.mean > 0.0)
            .then(|| base.difference(&new).map(|bound| bound / base.mean * 100.0));
    }
    let (base, new) = (before.drawn(metric)?, after.drawn(metric)?);
    if base.iter().any(|figure| *figure <= 0.0) {
        return None;
    }
    let changes = base.iter().zip(&new).map(|(base, new)| (new / base - 1.0) * 100.0).collect();
    let blocks = [before, after].map(|side| side.draws.as_ref().map_or(0, |draws| draws.blocks));
    Some(bootstrap::interval(changes, blocks[0].min(blocks[1])))
}

/// The method of the intervals, as a text.
pub(super) fn basis(before: &ComparedRun, after: &ComparedRun) -> String {
    let blocks = |side: &ComparedRun| side.draws.as_ref().map(|draws| draws.blocks);
    if before.is_repeated() && after.is_repeated() {
        let [base, new] = [before, after].map(|side| side.report.reps.len());
        return format!("95 % CI from {base} and {new} runs");
    }
    match (blocks(before), blocks(after)) {
        (Some(base), Some(new)) => format!(
            "95 % CI from {base} and {new} blocks of one run each: they do not include differences \
             from run to run (see --reps)"
        ),
        _ => "no confidence intervals: at least 5 intervals are needed to estimate how much the \
              figures vary"
            .to_owned(),
    }
}
