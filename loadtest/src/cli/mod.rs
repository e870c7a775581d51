//! The command line: arguments, their checks, and one function per command.

pub(crate) mod args;
pub(crate) mod config;
pub(crate) mod report;
pub(crate) mod run;

use std::process::ExitCode;

use crate::analysis::compare::{self, CompareArgs};
use crate::base::exit::Error;
use crate::base::print::{Failures, to_stderr, to_stdout};
use crate::cli::args::{Cli, Command, DoctorArgs, DoctorFormat};
use crate::run::config::RunConfig;
use crate::series::ab::AbArgs;
use crate::serve::args::ServeArgs;

/// Runs the command that the arguments name, and returns the exit code of the process.
pub fn main() -> ExitCode {
    let result = match args::parse() {
        Ok(None) => Ok(0),
        Ok(Some(Cli { command: Some(Command::Serve(args)), .. })) => serve(&args),
        Ok(Some(Cli { command: Some(Command::Doctor(args)), .. })) => doctor(&args),
        Ok(Some(Cli { command: Some(Command::Compare(args)), .. })) => compare(&args),
        Ok(Some(Cli { command: Some(Command::Ab(args)), .. })) => ab(&args),
        Ok(Some(Cli { command: Some(Command::Report(args)), .. })) => report::report(&args),
        Ok(Some(Cli { command: None, run })) => {
            RunConfig::new(run).and_then(|config| run::run(&config))
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !error.line.is_empty() {
                to_stderr(format_args!("loadtest: {error}"));
            }
            ExitCode::from(error.exit.code())
        }
    }
}

fn serve(args: &ServeArgs) -> Result<u8, Error> {
    crate::serve::run(args).map(|()| 0)
}

fn doctor(args: &DoctorArgs) -> Result<u8, Error> {
    let checkup = crate::doctor::examine(args)?;
    match args.format {
        DoctorFormat::Text => to_stdout(&checkup.to_text())?,
        DoctorFormat::Json => to_stdout(&checkup.to_json())?,
        DoctorFormat::Quiet => {}
    }
    Ok(checkup.exit_code)
}

fn ab(args: &AbArgs) -> Result<u8, Error> {
    let (text, exit) = crate::series::ab::run(args)?;
    to_stdout(&text)?;
    Ok(exit.code())
}

fn compare(args: &CompareArgs) -> Result<u8, Error> {
    let (text, exit, page) = compare::run(args)?;
    let mut failures = Failures::default();
    failures.note(to_stdout(&text));
    if let Some((file, page)) = page {
        failures.note(file.write(&page));
    }
    Ok(failures.exit_code(exit.code()))
}
