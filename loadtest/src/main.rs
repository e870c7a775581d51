//! `loadtest`: an honest load tester for TCP servers, built on ringloop.
//!
//! ```text
//! cli ▶ config ▶ preflight ▶ conductor (main thread) ──commands──▶ worker × N (a loop each)
//!                               │      ◀──events, published──       protocol, schedule, failure
//!                               ▼
//!                report (build ▶ text, json)      target (URL, own server) ──▶ serve (child process)
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

mod cli;
mod conductor;
mod config;
mod control;
mod doctor;
mod driver;
mod errno;
mod exit;
mod failure;
mod load;
mod preflight;
mod procfs;
mod progress;
mod protocol;
mod published;
mod report;
mod schedule;
mod serve;
mod signals;
mod stats;
mod sys;
mod target;
mod threshold;
mod timeline;
mod units;
mod worker;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{Cli, Command, DoctorArgs, Format};
use crate::config::{JsonTarget, RunConfig};
use crate::exit::Stop;
use crate::report::{JsonFile, Report};

fn main() -> ExitCode {
    let result = match cli::parse() {
        Ok(None) => Ok(0),
        Ok(Some(Cli { command: Some(Command::Serve(args)), .. })) => serve::run(&args).map(|()| 0),
        Ok(Some(Cli { command: Some(Command::Doctor(args)), .. })) => examine(&args),
        Ok(Some(Cli { command: None, run })) => {
            RunConfig::new(run).and_then(|config| test(&config))
        }
        Err(stop) => Err(stop),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            eprintln!("loadtest: {stop}");
            ExitCode::from(stop.exit.code())
        }
    }
}

fn test(config: &RunConfig) -> Result<u8, Stop> {
    let json_file = match &config.json {
        Some(JsonTarget::File(path)) => Some(JsonFile::open(path)?),
        Some(JsonTarget::Stdout) | None => None,
    };
    let report = conductor::run(config)?;
    if let Some(file) = json_file {
        file.write(&report.to_json())?;
    }
    print(config, &report)?;
    for error in &report.internal_errors {
        eprintln!("loadtest: internal error: {error}");
    }
    if let Some(line) = report.unreachable() {
        eprintln!("loadtest: {line}");
    }
    Ok(report.exit_code)
}

fn examine(args: &DoctorArgs) -> Result<u8, Stop> {
    let checkup = doctor::examine(args)?;
    match args.format {
        Format::Text => to_stdout(&checkup.to_text())?,
        Format::Json => to_stdout(&checkup.to_json())?,
        Format::Quiet => {}
    }
    Ok(checkup.exit_code)
}

/// Stdout carries one document. When that is JSON by `--json -`, the text moves to stderr.
fn print(config: &RunConfig, report: &Report) -> Result<(), Stop> {
    let json_on_stdout = config.format == Format::Json || config.json == Some(JsonTarget::Stdout);
    // With no connection at all there is nothing to tabulate; the one line on stderr says it.
    let has_figures = report.connections.opened > 0 || report.interrupted;
    let text_wanted = config.format == Format::Text && has_figures;
    match (json_on_stdout, text_wanted) {
        (true, true) => {
            eprint!("{}", report.to_text());
            to_stdout(&report.to_json())
        }
        (true, false) => to_stdout(&report.to_json()),
        (false, true) => to_stdout(&report.to_text()),
        (false, false) => Ok(()),
    }
}

fn to_stdout(text: &str) -> Result<(), Stop> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `loadtest | head` has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Stop::could_not_run(format!("cannot print the report: {error}"))),
        Ok(()) => Ok(()),
    }
}
