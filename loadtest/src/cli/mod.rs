//! The command line: arguments, their checks, and one function per command.

pub(crate) mod ab;
pub(crate) mod args;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod outputs;
pub(crate) mod report;
pub(crate) mod run;

use std::process::ExitCode;

use crate::base::exit::Error;
use crate::base::print::{to_stderr, to_stdout};
use crate::cli::args::serve::ServeArgs;
use crate::cli::args::{Cli, Command, DoctorArgs, DoctorFormat};
use crate::doctor::DoctorOptions;

/// Runs the command that the arguments name, and returns the exit code of the process.
pub fn main() -> ExitCode {
    let result = match args::parse() {
        Ok(None) => Ok(0),
        Ok(Some(Cli { command: Some(Command::Serve(args)), .. })) => serve(args),
        Ok(Some(Cli { command: Some(Command::Doctor(args)), .. })) => doctor(args),
        Ok(Some(Cli { command: Some(Command::Compare(args)), .. })) => compare::compare(&args),
        Ok(Some(Cli { command: Some(Command::Ab(args)), .. })) => ab::ab(args),
        Ok(Some(Cli { command: Some(Command::Report(args)), .. })) => report::report(&args),
        Ok(Some(Cli { command: None, run })) => {
            config::check(run).and_then(|config| run::run(&config))
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

fn serve(args: ServeArgs) -> Result<u8, Error> {
    crate::serve::run(&args.checked()?).map(|()| 0)
}

fn doctor(args: DoctorArgs) -> Result<u8, Error> {
    let DoctorArgs { url, connections, driver, format } = args;
    let checkup = crate::doctor::examine(&DoctorOptions { url, connections, driver })?;
    match format {
        DoctorFormat::Text => to_stdout(&checkup.to_text())?,
        DoctorFormat::Json => to_stdout(&checkup.to_json())?,
        DoctorFormat::Quiet => {}
    }
    Ok(checkup.exit_code)
}
