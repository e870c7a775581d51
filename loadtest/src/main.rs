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
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{Cli, Command, DoctorArgs, DoctorFormat, ReportArgs};
use crate::config::RunConfig;
use crate::exit::{Exit, Stop};
use crate::report::Report;
use crate::report::log::IntervalLog;
use crate::report::outputs::{Format, OutputArgs, Outputs};

fn main() -> ExitCode {
    let result = match cli::parse() {
        Ok(None) => Ok(0),
        Ok(Some(Cli { command: Some(Command::Serve(args)), .. })) => serve::run(&args).map(|()| 0),
        Ok(Some(Cli { command: Some(Command::Doctor(args)), .. })) => examine(&args),
        Ok(Some(Cli { command: Some(Command::Compare(args)), .. })) => tell(compare::run(&args)),
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
                eprintln!("loadtest: {stop}");
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
    publish(&config.outputs, outputs, &report)?;
    for error in &report.internal_errors {
        eprintln!("loadtest: internal error: {error}");
    }
    if let Some(aborted) = &report.aborted {
        eprintln!("loadtest: {}", aborted.describe());
    }
    if let Some(line) = report.unreachable().or_else(|| report.lost_target()) {
        eprintln!("loadtest: {line}");
    }
    Ok(report.exit_code)
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
        [report] => publish(&args.outputs, outputs, report)?,
        reports => outputs.compare(reports)?,
    }
    Ok(Exit::Ok.code())
}

fn show_log(path: &Path, outputs: &OutputArgs) -> Result<u8, Stop> {
    outputs.check_log()?;
    let failed = |why: String| Stop::could_not_run(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    if let Some(text) = outputs.write_log(&IntervalLog::parse(&text).map_err(failed)?)? {
        to_stdout(&text)?;
    }
    Ok(Exit::Ok.code())
}

/// Fills the files and prints. Stdout carries one document: when that is JSON by `--json -`, whatever
/// else would be printed moves to stderr.
fn publish(args: &OutputArgs, outputs: Outputs, report: &Report) -> Result<(), Stop> {
    let instead_of_stdout = outputs.write(report)?;
    // With no connection at all there is nothing to tabulate; the one line on stderr says it.
    let has_figures = report.connections.opened > 0 || report.interrupted;
    let printed = match args.format {
        Format::Text if has_figures => Some(report.to_text()),
        Format::Json if args.json_on_stdout() && instead_of_stdout.is_none() => None, // once is enough
        Format::Json => Some(report.to_json()),
        Format::Csv if has_figures => Some(report.to_csv()),
        Format::Text | Format::Csv | Format::Quiet => None,
    };
    match (printed, instead_of_stdout) {
        (Some(text), Some(file)) => file.write(&text)?,
        (Some(text), None) if args.json_on_stdout() => eprint!("{text}"),
        (Some(text), None) => to_stdout(&text)?,
        (None, _) => {}
    }
    if args.json_on_stdout() { to_stdout(&report.to_json()) } else { Ok(()) }
}

fn to_stdout(text: &str) -> Result<(), Stop> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `loadtest | head` has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Stop::could_not_run(format!("cannot print the report: {error}"))),
        Ok(()) => Ok(()),
    }
}
