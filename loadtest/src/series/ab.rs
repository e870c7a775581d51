//! `loadtest ab`: two servers, by turns, under the same load.
//!
//! The order is ABBA: what drifts slowly (temperature, other tenants) falls upon both alike.

use std::ffi::OsString;

use clap::{Args, Parser};

use crate::analysis::compare::compared::{Compared, ComparisonFormat};
use crate::analysis::compare::regression::RegressionLimit;
use crate::base::exit::{Error, Exit};
use crate::base::print::to_stderr;
use crate::base::units;
use crate::cli::args::Cli;
use crate::host::signals;
use crate::plan::target_url::Url;
use crate::report::model::Report;
use crate::report::model::verdicts::Aborted;
use crate::run::config::RunConfig;
use crate::series::Runner;
use crate::series::reps::{combine, line};
use crate::series::server::CommandServer;

#[derive(Debug, Args)]
pub(crate) struct AbArgs {
    /// Starts the server that the other is measured against
    #[arg(long, value_name = "COMMAND")]
    base: String,
    /// Starts the other server, at the same address
    #[arg(long, value_name = "COMMAND")]
    new: String,
    /// Runs of each
    #[arg(long, value_name = "N", default_value = "7", value_parser = units::count)]
    reps: u32,
    /// What may become worse by how much, or exit 99: p99=10%,rate=5%
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = RegressionLimit::parse)]
    max_regression: Vec<RegressionLimit>,
    /// What to print on stdout
    #[arg(long, value_enum, default_value_t = ComparisonFormat::Text)]
    format: ComparisonFormat,
    /// Options of each run, and the URL where both servers listen
    #[arg(last = true, value_name = "RUN OPTIONS", required = true)]
    run: Vec<OsString>,
}

/// What `loadtest ab` prints, and its exit code.
pub(crate) fn run(args: &AbArgs) -> Result<(String, Exit), Error> {
    let url = check(&args.run)?;
    let runner = Runner::new(args.run.clone())?;
    let commands = [&args.base, &args.new];
    let mut reports: [Vec<Report>; 2] = [Vec::new(), Vec::new()];
    for (turn, side) in order(args.reps).enumerate() {
        let server = CommandServer::start(commands[side], &url, &runner);
        if runner.interrupted().is_some() {
            break;
        }
        let _server = server?;
        let report = runner.once(&[]);
        if runner.interrupted().is_some() {
            break; // what was cut short is compared with nothing
        }
        let report = report?;
        let name = ["base", "new"][side];
        let (number, line) = (turn + 1, line(&report));
        to_stderr(format_args!("run {number} of {}: {name:<4}   {line}", args.reps * 2));
        if report.exit_code != Exit::Ok.code() {
            let exit = Exit::of_code(report.exit_code).unwrap_or(Exit::CouldNotRun);
            let aborted = report.aborted.as_ref().map(Aborted::describe);
            let why = aborted.or_else(|| report.unreachable());
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
    let (base, new) = ((args.base.clone(), &base), (args.new.clone(), &new));
    let mut compared = Compared::of(base, &[new], &args.max_regression);
    if let Some(exit) = exit {
        compared.interrupt(exit);
    }
    Ok(compared.print(args.format))
}

/// Whose turn it is: base is 0, new is 1.
fn order(reps: u32) -> impl Iterator<Item = usize> {
    (0..reps).flat_map(|pair| if pair % 2 == 0 { [0, 1] } else { [1, 0] })
}

/// Finds out now what the first run would find out after a server was started.
fn check(run: &[OsString]) -> Result<Url, Error> {
    let usage = |line: String| Error::new(Exit::Usage, line);
    let program = OsString::from("loadtest");
    let cli = Cli::try_parse_from([&program].into_iter().chain(run)).map_err(|error| {
        usage(format!("after --: {}", crate::cli::args::one_line(&error.to_string())))
    })?;
    if cli.command.is_some() {
        return Err(usage("after --: the options of a run are needed, not a command".to_owned()));
    }
    let series = &cli.run.series;
    if series.reps > 1 || series.find_max || series.baseline.is_some() {
        return Err(usage(
            "after --: one run, without --reps, --baseline or --find-max".to_owned(),
        ));
    }
    if !cli.run.thresholds.is_empty() {
        return Err(usage("after --: no --threshold; ab has --max-regression".to_owned()));
    }
    let config = RunConfig::new(cli.run)?;
    config.url.ok_or_else(|| usage("after --: the URL where both servers listen".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: both sides have as many runs, and neither is always first.
    ///
    /// Method: the order of one, two and three pairs.
    ///
    /// Kills: ABAB; all of one before all of the other; a run too few.
    #[test]
    fn the_order_is_abba() {
        let order = |reps| order(reps).map(|side| ["A", "B"][side]).collect::<String>();
        assert_eq!(order(1), "AB");
        assert_eq!(order(2), "ABBA");
        assert_eq!(order(3), "ABBAAB");
    }
}
