//! `loadtest`: an honest load tester for TCP servers, built on ringloop.
//!
//! ```text
//! cli ▶ config ▶ preflight ▶ conductor (main thread) ──commands──▶ worker × N (a loop each)
//!                               │      ◀──events, published──       protocol, schedule, failure
//!                               ▼
//!                report (build ▶ text, json)      target (URL, own server) ──▶ serve (child process)
//! campaign: several runs, each a child process; compare: two reports; threshold: gates on one
//! doctor: what a run would find, from the same pre-flight check and the same drivers
//! ```
//!
//! What it claims, and where the claim is kept:
//!
//! * Every message has one fate and every latency one message: `worker::Accounts::check`, at the end
//!   of every run.
//! * A closed loop is called one; its figures are service times: the header of `report`.
//! * Connections count when they were *served*, and every reply is compared with what was sent.
//! * The display costs the workers nothing: `published`.
//! * When the generator is the bottleneck, the report says so: `report::Generator`.

// They panic when the reader has closed its end; `print` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod address;
mod campaign;
mod chunked;
mod cli;
mod compare;
mod conductor;
mod config;
mod control;
mod doctor;
mod driver;
mod errno;
mod evidence;
mod exit;
mod failure;
mod load;
mod outage;
mod preflight;
mod print;
mod procfs;
mod progress;
mod protocol;
mod published;
mod random;
mod report;
mod schedule;
#[cfg(test)]
mod schema;
mod serve;
mod service;
mod signals;
mod sources;
mod stats;
mod stream;
mod sys;
mod target;
mod threshold;
mod timeline;
mod tls;
mod units;
mod websocket;
mod worker;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{Cli, Command, DoctorArgs, DoctorFormat, ReportArgs};
use crate::compare::CompareArgs;
use crate::config::RunConfig;
use crate::exit::{Exit, Stop};
use crate::print::{Failures, to_stderr, to_stdout};
use crate::report::log::IntervalLog;
use crate::report::outputs::{Format, OutputArgs, Outputs};
use crate::report::{Aborted, Report};

fn main() -> ExitCode {
    let result = match cli::parse() {
        Ok(None) => Ok(0),
        Ok(Some(Cli { command: Some(Command::Serve(args)), .. })) => serve::run(&args).map(|()| 0),
        Ok(Some(Cli { command: Some(Command::Doctor(args)), .. })) => examine(&args),
        Ok(Some(Cli { command: Some(Command::Compare(args)), .. })) => compare(&args),
        Ok(Some(Cli { command: Some(Command::Ab(args)), .. })) => tell(campaign::ab(&args)),
        Ok(Some(Cli { command: Some(Command::Report(args)), .. })) => show(&args),
        Ok(Some(Cli { command: None, run })) => {
            RunConfig::new(run).and_then(|config| test(&config))
        }
        Err(stop) => Err(stop),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            if !stop.line.is_empty() {
                to_stderr(format_args!("loadtest: {stop}"));
            }
            ExitCode::from(stop.exit.code())
        }
    }
}

fn test(config: &RunConfig) -> Result<u8, Stop> {
    if config.campaign.as_part {
        let report = conductor::run(config)?;
        to_stdout(&report.to_json())?;
        return Ok(report.exit_code);
    }
    let outputs = Outputs::open(&config.outputs)?;
    let baseline = match &config.campaign.baseline {
        Some(path) => Some((path, compare::read(path)?)),
        None => None,
    };
    let mut report = match &config.campaign {
        campaign if campaign.find_max => campaign::find_max(config)?,
        campaign if campaign.reps > 1 => campaign::repeat(config)?,
        _ => conductor::run(config)?,
    };
    if let Some((path, baseline)) = baseline {
        compare::settle(path, &baseline, &config.campaign.max_regression, &mut report);
    }
    let failures = publish(&config.outputs, outputs, &report);
    for error in &report.internal_errors {
        to_stderr(format_args!("loadtest: internal error: {error}"));
    }
    let aborted = report.aborted.as_ref().map(Aborted::describe);
    let lost = report.unreachable().or_else(|| report.lost_target());
    for line in aborted.into_iter().chain(lost) {
        to_stderr(format_args!("loadtest: {line}"));
    }
    Ok(failures.settle(report.exit_code))
}

fn examine(args: &DoctorArgs) -> Result<u8, Stop> {
    let checkup = doctor::examine(args)?;
    match args.format {
        DoctorFormat::Text => to_stdout(&checkup.to_text())?,
        DoctorFormat::Json => to_stdout(&checkup.to_json())?,
        DoctorFormat::Quiet => {}
    }
    Ok(checkup.exit_code)
}

/// Prints what was found out.
fn tell(found: Result<(String, Exit), Stop>) -> Result<u8, Stop> {
    let (text, exit) = found?;
    to_stdout(&text)?;
    Ok(exit.code())
}

fn compare(args: &CompareArgs) -> Result<u8, Stop> {
    let (text, exit, page) = compare::run(args)?;
    let mut failures = Failures::default();
    failures.note(to_stdout(&text));
    if let Some((file, page)) = page {
        failures.note(file.write(&page));
    }
    Ok(failures.settle(exit.code()))
}

/// A report of an earlier run, in other forms.
fn show(args: &ReportArgs) -> Result<u8, Stop> {
    args.outputs.check()?;
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "hlog");
    match &args.runs[..] {
        [path] if is_log(path) => return show_log(path, &args.outputs),
        [_] => {}
        paths if paths.iter().any(is_log) => {
            let line = "an interval log is shown alone: several reports are compared as RUN.json";
            return Err(Stop::new(Exit::Usage, line));
        }
        _ => args.outputs.check_several()?,
    }
    let mut reports = Vec::new();
    for path in &args.runs {
        let failed = |why: String| Stop::could_not_run(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        reports.push(Report::from_json(&text).map_err(failed)?);
    }
    let outputs = Outputs::open(&args.outputs)?;
    match &reports[..] {
        [report] => Ok(publish(&args.outputs, outputs, report).settle(Exit::Ok.code())),
        reports => outputs.compare(reports).map(|()| Exit::Ok.code()),
    }
}

fn show_log(path: &Path, outputs: &OutputArgs) -> Result<u8, Stop> {
    outputs.check_log()?;
    let failed = |why: String| Stop::could_not_run(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let mut failures = Failures::default();
    let log = IntervalLog::parse(&text).map_err(failed)?;
    let (output, hgrm) = outputs.open_log()?;
    failures.note(match output {
        Some(file) => file.write(&log.to_text()),
        None => to_stdout(&log.to_text()),
    });
    if let Some(file) = hgrm {
        failures.note(file.write(&log.to_hgrm()));
    }
    Ok(failures.settle(Exit::Ok.code()))
}

/// Prints, then fills the files; what fails is noted, and keeps nothing else from being written. Stdout
/// carries one document: when that is JSON by `--json -`, whatever else would be printed moves to
/// stderr.
fn publish(args: &OutputArgs, outputs: Outputs, report: &Report) -> Failures {
    let mut failures = Failures::default();
    let Outputs { files, instead_of_stdout } = outputs;
    // With no connection at all there is nothing to tabulate; the one line on stderr says it.
    let has_figures = report.connections.opened > 0 || report.interrupted;
    let printed = match args.format {
        Format::Text if has_figures => Some(report.to_text()),
        Format::Json if args.json_on_stdout() && instead_of_stdout.is_none() => None, // once is enough
        Format::Json => Some(report.to_json()),
        Format::Csv if has_figures => Some(report.to_csv()),
        Format::Text | Format::Csv | Format::Quiet => None,
    };
    if let Some(text) = printed {
        // What cannot be written where it was to be goes where it can: it may be all there is of the run.
        let is_in_file = instead_of_stdout.is_some_and(|file| failures.note(file.write(&text)));
        let is_written = is_in_file || (!args.json_on_stdout() && failures.note(to_stdout(&text)));
        if !is_written {
            to_stderr(text.trim_end());
        }
    }
    if args.json_on_stdout() {
        failures.note(to_stdout(&report.to_json()));
    }
    for (render, file) in files {
        failures.note(file.write(&render(report)));
    }
    failures
}
