//! The arguments of several runs: `--reps`, `--baseline`, `--find-max`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::analysis::compare::regression::RegressionLimit;
use crate::base::exit::{Error, Exit};
use crate::base::units;
use crate::plan::gate::Gate;
use crate::plan::load::Rate;
use crate::series::find_max::FindMaxOptions;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Several runs")]
pub(crate) struct SeriesArgs {
    /// Number of runs; the report shows the median run, with confidence intervals over all runs
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count)]
    pub(crate) reps: u32,
    /// Compare with this report of an earlier run, written with --json
    #[arg(long, value_name = "RUN.json")]
    pub(crate) baseline: Option<PathBuf>,
    /// Exit 99 if a metric is worse than the baseline by more than its limit: p99=10%,rate=5%
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = RegressionLimit::parse)]
    #[arg(requires = "baseline")]
    pub(crate) max_regression: Vec<RegressionLimit>,
    /// Search for the highest rate that meets --slo
    #[arg(long, requires = "slo")]
    pub(crate) find_max: bool,
    /// Condition that a rate has to meet; same syntax as --threshold
    #[arg(long, value_name = "EXPR", value_parser = Gate::parse, requires = "find_max")]
    pub(crate) slo: Option<Gate>,
    /// Lowest and highest rate of the search
    #[arg(long, value_name = "A:B", default_value = "1k:1m")]
    pub(crate) find_range: Rate,
    /// Duration of each tried rate
    #[arg(long, value_name = "T", default_value = "5s", value_parser = units::span)]
    pub(crate) find_step: Duration,
    /// Run as a child process of a series: print the report to stdout as JSON, write no files.
    #[arg(long, hide = true)]
    pub(crate) as_part: bool,
}

impl SeriesArgs {
    /// The search that `--find-max` asks for.
    pub(crate) fn search(&self, seed: u64) -> Option<FindMaxOptions> {
        let slo = self.slo.clone().filter(|_| self.find_max)?;
        let (Rate::Constant(to) | Rate::Ramp(_, to)) = self.find_range;
        let (Rate::Constant(from) | Rate::Ramp(from, _)) = self.find_range;
        Some(FindMaxOptions { slo, from, to, step: self.find_step, seed })
    }

    /// Refuses values that contradict each other.
    pub(crate) fn check(&self, has_schedule: bool) -> Result<(), Error> {
        let usage = |line: &str| Err(Error::new(Exit::Usage, line));
        // A child process inherits the options of the series and gets its rate as `--rate`.
        if self.as_part || !self.find_max {
            return Ok(());
        }
        match self.find_range {
            _ if has_schedule => {
                usage("--find-max chooses the rates itself: leave out --rate and --stages")
            }
            _ if self.reps > 1 => usage("--find-max cannot be combined with --reps"),
            Rate::Ramp(from, to) if from > 0.0 && from < to => Ok(()),
            _ => usage("--find-range must go from a rate to a higher one, as in 1k:100k"),
        }
    }
}
