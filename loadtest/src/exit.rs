//! Exit codes, and the ways a run ends without a report.
//!
//! The codes are part of the interface: scripts branch on them.

use std::fmt;

/// What the process tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    /// Could not run: I/O, set-up, or a bug of our own.
    CouldNotRun = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Nobody answered.
    Unreachable = 3,
    /// The machine's limits are too low for what was asked.
    Preflight = 4,
    /// A gate was not met; the code is k6's.
    Breached = 99,
    /// SIGINT; the report was written.
    Interrupted = 130,
    /// SIGTERM; the report was written.
    Terminated = 143,
}

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

/// A reason to stop before there is anything to report.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) exit: Exit,
    /// One line, without the program's name and without a full stop. Empty if somebody has said it.
    pub(crate) line: String,
}

impl Stop {
    pub(crate) fn new(exit: Exit, line: impl Into<String>) -> Stop {
        Stop { exit, line: line.into() }
    }

    pub(crate) fn could_not_run(line: impl Into<String>) -> Stop {
        Stop::new(Exit::CouldNotRun, line)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}
