//! `loadtest ab`: compares two servers by alternating runs.

use std::ffi::OsString;

use clap::Parser;

use crate::base::exit::{Error, Exit};
use crate::base::print::to_stdout;
use crate::cli::args::ab::AbArgs;
use crate::cli::args::{Cli, one_line};
use crate::cli::config;
use crate::plan::target_url::Url;
use crate::series;
use crate::series::ab::AbOptions;

/// Runs the comparison and prints its result.
pub(super) fn ab(args: AbArgs) -> Result<u8, Error> {
    let url = check(&args.run)?;
    let AbArgs { base, new, reps, max_regression, format, run } = args;
    let options = AbOptions { base, new, reps, max_regression, run, url };
    let compared = series::ab::run(&options)?;
    to_stdout(&format.render(&compared))?;
    Ok(compared.exit_code)
}

/// Checks the options of the runs before the first server is started.
fn check(run: &[OsString]) -> Result<Url, Error> {
    let usage = |line: String| Error::new(Exit::Usage, line);
    let program = OsString::from("loadtest");
    let cli = Cli::try_parse_from([&program].into_iter().chain(run))
        .map_err(|error| usage(format!("after --: {}", one_line(&error.to_string()))))?;
    if cli.command.is_some() {
        return Err(usage("after --: expected the options of a run, not a command".to_owned()));
    }
    let series = &cli.run.series;
    if series.reps > 1 || series.find_max || series.baseline.is_some() {
        return Err(usage(
            "after --: --reps, --baseline and --find-max do not apply: ab repeats the run itself"
                .to_owned(),
        ));
    }
    if !cli.run.thresholds.is_empty() {
        return Err(usage(
            "after --: --threshold does not apply: use ab's --max-regression".to_owned(),
        ));
    }
    let config = config::check(cli.run)?;
    config
        .run
        .target
        .url
        .ok_or_else(|| usage("after --: missing the URL where both servers listen".to_owned()))
}
