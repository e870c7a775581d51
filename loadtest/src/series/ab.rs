//! `loadtest ab`: alternating runs of two servers under the same load.
//!
//! The order is ABBA, so that slow drifts (temperature, other tenants) affect both servers equally.

use std::ffi::OsString;

use crate::analysis::compare::regression::RegressionLimit;
use crate::analysis::compare::with_base::{compare_with_base, interrupt};
use crate::base::exit::{Error, Exit};
use crate::base::print::to_stderr;
use crate::host::signals;
use crate::plan::target_url::Url;
use crate::report::model::Report;
use crate::report::model::comparison::ComparisonReport;
use crate::report::text::lines;
use crate::series::Runner;
use crate::series::reps::{combine, line};
use crate::series::server::CommandServer;

/// Two servers and the options of their runs.
#[derive(Debug)]
pub(crate) struct AbOptions {
    /// Command that starts the base server.
    pub(crate) base: String,
    /// Command that starts the new server, at the same address.
    pub(crate) new: String,
    /// Runs of each server.
    pub(crate) reps: u32,
    pub(crate) max_regression: Vec<RegressionLimit>,
    /// The options of each run.
    pub(crate) run: Vec<OsString>,
    /// URL of both servers.
    pub(crate) url: Url,
}

/// Tests both servers in alternating runs and compares them.
pub(crate) fn run(options: &AbOptions) -> Result<ComparisonReport, Error> {
    let runner = Runner::new(options.run.clone())?;
    let commands = [&options.base, &options.new];
    let mut reports: [Vec<Report>; 2] = [Vec::new(), Vec::new()];
    for (turn, side) in order(options.reps).enumerate() {
        let server = CommandServer::start(commands[side], &options.url, &runner);
        if runner.interrupted().is_some() {
            break;
        }
        let _server = server?;
        let report = runner.once(&[]);
        if runner.interrupted().is_some() {
            break; // an interrupted run is not compared
        }
        let report = report?;
        let name = ["base", "new"][side];
        let (number, line) = (turn + 1, line(&report));
        to_stderr(format_args!("run {number} of {}: {name:<4}   {line}", options.reps * 2));
        if report.exit_code != Exit::Ok.code() {
            let exit = Exit::of_code(report.exit_code).unwrap_or(Exit::CouldNotRun);
            let aborted = report.aborted.as_ref().map(lines::aborted);
            let why = aborted.or_else(|| lines::unreachable(&report));
            let why = why.unwrap_or_else(|| report.internal_errors.join(", "));
            return Err(Error::new(exit, format!("a run of {name} failed: {why}")));
        }
        reports[side].push(report);
    }
    let exit = runner.interrupted().map(signals::exit_of);
    if let Some(exit) = exit
        && reports.iter().any(Vec::is_empty)
    {
        return Err(Error::new(exit, "interrupted before there were two runs to compare"));
    }
    let [base, new] = reports.map(combine);
    let (base, new) = ((options.base.clone(), &base), (options.new.clone(), &new));
    let mut compared = compare_with_base(base, &[new], &options.max_regression);
    if let Some(exit) = exit {
        interrupt(&mut compared, exit);
    }
    Ok(compared)
}

/// The server of each run: base is 0, new is 1.
fn order(reps: u32) -> impl Iterator<Item = usize> {
    (0..reps).flat_map(|pair| if pair % 2 == 0 { [0, 1] } else { [1, 0] })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: both servers have equally many runs, and neither is always first.
    ///
    /// Method: the order of one, two and three pairs.
    ///
    /// Kills: ABAB; all runs of one server before the other; a missing run.
    #[test]
    fn the_order_is_abba() {
        let order = |reps| order(reps).map(|side| ["A", "B"][side]).collect::<String>();
        assert_eq!(order(1), "AB");
        assert_eq!(order(2), "ABBA");
        assert_eq!(order(3), "ABBAAB");
    }
}
