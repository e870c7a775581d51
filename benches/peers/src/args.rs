//! Command lines and exit codes.
//!
//! Options are taken one by one. An invalid one prints the usage and ends the process.

use std::fmt::Display;
use std::io;
use std::process::{ExitCode, exit};
use std::str::FromStr;

/// The remaining arguments.
#[derive(Debug)]
pub struct Args {
    rest: std::vec::IntoIter<String>,
    usage: &'static str,
}

impl Args {
    /// The arguments of this process, without its name.
    pub fn new(usage: &'static str) -> Self {
        let rest: Vec<String> = std::env::args().skip(1).collect();
        Self {
            rest: rest.into_iter(),
            usage,
        }
    }

    /// Takes the next argument. `--help` prints the usage and ends the process.
    pub fn take(&mut self) -> Option<String> {
        let arg = self.rest.next()?;
        if arg == "--help" || arg == "-h" {
            println!("{}", self.usage);
            exit(0);
        }
        Some(arg)
    }

    /// Takes the value of `option`.
    pub fn value<T>(&mut self, option: &str) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.rest.next() else {
            self.reject(&format!("{option} needs a value"));
        };
        text.parse()
            .unwrap_or_else(|error| self.reject(&format!("{option} {text}: {error}")))
    }

    /// Prints the problem and the usage, and ends the process.
    pub fn reject(&self, what: &str) -> ! {
        eprintln!("{what}\n{}", self.usage);
        exit(2);
    }
}

/// The exit code of the process. Prints an error as text; `main` would print its `Debug` form.
pub fn exit_code(result: io::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
