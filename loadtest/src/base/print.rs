//! Printing to stdout and stderr, and the record of failed outputs.
//!
//! **Invariant.** A failed output does not affect the others: they are still written, and each
//! failure becomes a line on stderr (`Failures`). Nothing here panics when stderr is closed, as
//! `eprintln!` would.

use std::fmt::Display;
use std::io::{self, Write};

use crate::base::exit::{Error, Exit};

/// Prints a line on stderr. A closed stderr is ignored.
pub(crate) fn to_stderr(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints the whole text on stdout.
pub(crate) fn to_stdout(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader closed the pipe, as in `loadtest | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::could_not_run(format!("cannot print the report: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Outputs that could not be written.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<Error>);

impl Failures {
    /// Records the result of an output. Returns whether it was written.
    pub(crate) fn note(&mut self, written: Result<(), Error>) -> bool {
        match written {
            Ok(()) => true,
            Err(error) => {
                self.0.push(error);
                false
            }
        }
    }

    /// Prints a line for each failure. Returns the exit code of the process: `code`, or the code of
    /// a failed output.
    pub(crate) fn exit_code(self, code: u8) -> u8 {
        for error in &self.0 {
            to_stderr(format_args!("loadtest: {error}"));
        }
        if self.0.is_empty() { code } else { Exit::CouldNotRun.code() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: one failed output decides the exit code, for any code of the run.
    ///
    /// Method: none and one failure, with codes of successful and failed runs.
    ///
    /// Kills: a code of the run that hides a lost output; a code that changes without a failure.
    #[test]
    fn a_lost_output_decides_the_exit_code() {
        for code in [0, 3, 99, 130] {
            let mut failures = Failures::default();
            assert!(failures.note(Ok(())));
            assert_eq!(failures.exit_code(code), code);
            let mut failures = Failures::default();
            assert!(!failures.note(Err(Error::could_not_run("x"))));
            assert_eq!(failures.exit_code(code), 1);
        }
    }
}
