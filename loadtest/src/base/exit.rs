//! Exit codes, and errors that end a run without a report.
//!
//! The codes are part of the public interface, because scripts branch on them.

use std::fmt;

/// Exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    /// The run failed: I/O, set-up, or a bug in loadtest.
    CouldNotRun = 1,
    /// The command line is invalid.
    Usage = 2,
    /// The target did not answer.
    Unreachable = 3,
    /// The machine's limits are too low for the requested run.
    Preflight = 4,
    /// A gate was not met; the code is k6's.
    Breached = 99,
    /// SIGINT; the report was written.
    Interrupted = 130,
    /// SIGTERM; the report was written.
    Terminated = 143,
}

/// The exit codes in `--help`.
pub(crate) const HELP: &str = "\
Exit codes: 0 ok, 1 could not run, 2 usage, 3 target unreachable, 4 limits too low,
99 a gate was not met, 130 and 143 interrupted by SIGINT and SIGTERM";

impl Exit {
    /// The inverse of [`Exit::code`].
    pub(crate) fn of_code(code: u8) -> Option<Exit> {
        let all = [
            Exit::Ok,
            Exit::CouldNotRun,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Preflight,
            Exit::Breached,
            Exit::Interrupted,
            Exit::Terminated,
        ];
        all.into_iter().find(|exit| exit.code() == code)
    }

    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// Error that ends the process without a report.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) exit: Exit,
    /// One line, without the program's name and without a full stop. Empty if the error was already
    /// printed.
    pub(crate) line: String,
}

impl Error {
    pub(crate) fn new(exit: Exit, line: impl Into<String>) -> Error {
        Error { exit, line: line.into() }
    }

    pub(crate) fn could_not_run(line: impl Into<String>) -> Error {
        Error::new(Exit::CouldNotRun, line)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the help and the documentation list each exit code and no other.
    ///
    /// Method: the numbers in both texts.
    ///
    /// Kills: a code that is added or removed without its documentation.
    #[test]
    fn exit_codes_are_documented() {
        let codes: Vec<u8> = (0..=255).filter(|code| Exit::of_code(*code).is_some()).collect();
        let numbers = |text: &str| -> Vec<u8> {
            let words = text.split(|c: char| !c.is_ascii_digit());
            words.filter_map(|word| word.parse().ok()).collect()
        };
        assert_eq!(numbers(HELP), codes);
        let outputs = include_str!("../../OUTPUTS.md");
        let (_, section) = outputs.split_once("## Exit codes\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
        let cells: String = rows.map(|row| row.split('|').next().unwrap()).collect();
        assert_eq!(numbers(&cells), codes);
    }
}
