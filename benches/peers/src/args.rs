//! Command lines: options are taken one by one; a wrong one prints the usage and ends the process.
//! And the other end of a process: its exit code.

use std::fmt::Display;
use std::io;
use std::process::{ExitCode, exit};
use std::str::FromStr;

/// The arguments that have not been taken yet.
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

    /// The next argument, whatever it is. `--help` is answered here.
    pub fn take(&mut self) -> Option<String> {
        let arg = self.rest.next()?;
        if arg == "--help" || arg == "-h" {
            println!("{}", self.usage);
            exit(0);
        }
        Some(arg)
    }

    /// The value that must follow `option`.
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

    /// Says what is wrong, and how it is meant; ends the process.
    pub fn reject(&self, what: &str) -> ! {
        eprintln!("{what}\n{}", self.usage);
        exit(2);
    }
}

/// How the process ends. An error is told in words; returned from `main` it would be told as Rust.
pub fn exit_code(result: io::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
