//! What is printed, and what could not be.
//!
//! **Invariant.** An output that fails takes nothing with it: the others are written all the same, and
//! each that failed is a line on stderr (`Failures`). Nothing here panics when stderr is closed, as
//! `eprintln!` would.

use std::fmt::Display;
use std::io::{self, Write};

use crate::base::exit::{Error, Exit};

/// Prints a line on stderr, if it still is open.
pub(crate) fn to_stderr(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints on stdout, to the last byte.
pub(crate) fn to_stdout(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // `loadtest | head` has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::could_not_run(format!("cannot print the report: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Outputs that could not be written.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<Error>);

impl Failures {
    /// Takes note of how an output fared. Says whether it was written.
    pub(crate) fn note(&mut self, written: Result<(), Error>) -> bool {
        match written {
            Ok(()) => true,
            Err(error) => {
                self.0.push(error);
                false
            }
        }
    }

    /// Prints a line for each, and says how the process ends that would have ended with `code`.
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

    /// Goal: one output that failed decides the exit code, whatever the run's own was.
    ///
    /// Method: none and one failure, with codes of runs that fared well and not.
    ///
    /// Kills: a code of the run that hides a lost output; a code changed for nothing.
    #[test]
    fn a_lost_output_decides() {
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
