//! `loadtest` without a command: a run or a series of runs, and its outputs.

use crate::analysis::compare::baseline;
use crate::analysis::gates::apply_gates;
use crate::base::exit::Error;
use crate::base::print::{Failures, to_stderr, to_stdout};
use crate::cli::config::CheckedArgs;
use crate::cli::outputs::{OutputArgs, OutputFormat, Outputs};
use crate::report::model::Report;
use crate::report::text::lines;
use crate::report::{csv, json, text};
use crate::run::coordinator;
use crate::series::{find_max, reps};

/// Runs once, several times or as a search, then checks, prints and writes the report.
pub(super) fn run(args: &CheckedArgs) -> Result<u8, Error> {
    let CheckedArgs { series, outputs: options, .. } = args;
    if series.as_part {
        let report = once(args)?;
        to_stdout(&json::render(&report))?;
        return Ok(report.exit_code);
    }
    let outputs = Outputs::open(options)?;
    let earlier = match &series.baseline {
        Some(path) => Some((path, json::read(path)?)),
        None => None,
    };
    let mut report = match series.search(args.run.load.seed) {
        Some(search) => find_max::run(&search)?,
        None if series.reps > 1 => reps::run(series.reps, &args.gates.thresholds)?,
        None => once(args)?,
    };
    if let Some((path, earlier)) = earlier {
        baseline::apply_baseline(path, &earlier, &series.max_regression, &mut report);
    }
    let failures = publish(options, outputs, &report);
    for error in &report.internal_errors {
        to_stderr(format_args!("loadtest: internal error: {error}"));
    }
    let aborted = report.aborted.as_ref().map(lines::aborted);
    let lost = lines::unreachable(&report).or_else(|| lines::lost_target(&report));
    for line in aborted.into_iter().chain(lost) {
        to_stderr(format_args!("loadtest: {line}"));
    }
    Ok(failures.exit_code(report.exit_code))
}

/// Runs once in this process, and judges the report.
fn once(args: &CheckedArgs) -> Result<Report, Error> {
    let mut report = coordinator::run(&args.run, &args.content, &args.gates.watch, args.progress)?;
    apply_gates(&args.gates.thresholds, &mut report);
    Ok(report)
}

/// Prints the report, then writes the files. A failed output is noted, and the others are still
/// written. Stdout carries one document: with `--json -` the summary moves to stderr.
pub(super) fn publish(args: &OutputArgs, outputs: Outputs, report: &Report) -> Failures {
    let mut failures = Failures::default();
    let Outputs { files, instead_of_stdout } = outputs;
    // Without any connection there are no figures; one line on stderr reports the failure.
    let has_figures = report.connections.opened > 0 || report.interrupted;
    let printed = match args.format {
        OutputFormat::Text if has_figures => Some(text::render(report)),
        // `--json -` already prints it.
        OutputFormat::Json if args.json_on_stdout() && instead_of_stdout.is_none() => None,
        OutputFormat::Json => Some(json::render(report)),
        OutputFormat::Csv if has_figures => Some(csv::render(report)),
        OutputFormat::Text | OutputFormat::Csv | OutputFormat::Quiet => None,
    };
    if let Some(text) = printed {
        // The text may be the only result of the run, so it falls back to stdout and then to
        // stderr.
        let is_in_file = instead_of_stdout.is_some_and(|file| failures.note(file.write(&text)));
        let is_written = is_in_file || (!args.json_on_stdout() && failures.note(to_stdout(&text)));
        if !is_written {
            to_stderr(text.trim_end());
        }
    }
    if args.json_on_stdout() {
        failures.note(to_stdout(&json::render(report)));
    }
    for (render, file) in files {
        failures.note(file.write(&render(report)));
    }
    failures
}
