//! [`SignalKind`].

use std::fmt;
use std::io;

use crate::sys::signal::{self, FAULTS, NAMES, NUMBER_MAX, UNCATCHABLE};

/// A kind of signal, by its number.
///
/// ```
/// use ringloop::signal::SignalKind;
///
/// assert_eq!(SignalKind::terminate().as_raw(), 15);
/// assert_eq!(SignalKind::from_raw(1), SignalKind::hangup());
/// assert_eq!(SignalKind::interrupt().to_string(), "SIGINT");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalKind(i32);

impl SignalKind {
    /// The signal of this number. Whether it can be listened for is checked there.
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// The number of the signal.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// SIGINT, which Ctrl-C sends. By default it ends the process.
    pub const fn interrupt() -> SignalKind {
        SignalKind(signal::SIGINT)
    }

    /// SIGTERM, which supervisors send to end a process.
    pub const fn terminate() -> SignalKind {
        SignalKind(signal::SIGTERM)
    }

    /// SIGHUP: the terminal was closed. To servers it means: read the configuration again. By
    /// default it ends the process.
    pub const fn hangup() -> SignalKind {
        SignalKind(signal::SIGHUP)
    }

    /// SIGQUIT, which Ctrl-\ sends. By default it ends the process with a core dump.
    pub const fn quit() -> SignalKind {
        SignalKind(signal::SIGQUIT)
    }

    /// SIGUSR1, for any use. By default it ends the process.
    pub const fn user_defined1() -> SignalKind {
        SignalKind(signal::SIGUSR1)
    }

    /// SIGUSR2, for any use. By default it ends the process.
    pub const fn user_defined2() -> SignalKind {
        SignalKind(signal::SIGUSR2)
    }

    /// SIGPIPE. Rust programs ignore it, and so receive `EPIPE`.
    pub const fn pipe() -> SignalKind {
        SignalKind(signal::SIGPIPE)
    }

    /// SIGALRM: a timer of `alarm(2)` or `setitimer(2)` has expired. By default it ends the
    /// process.
    pub const fn alarm() -> SignalKind {
        SignalKind(signal::SIGALRM)
    }

    /// SIGCHLD: a child has ended or stopped. Ignored by default.
    pub const fn child() -> SignalKind {
        SignalKind(signal::SIGCHLD)
    }

    /// SIGWINCH: the terminal has another size. Ignored by default.
    pub const fn window_change() -> SignalKind {
        SignalKind(signal::SIGWINCH)
    }

    /// The number, if a handler for the signal may be installed and may return.
    pub(super) fn check(self) -> io::Result<i32> {
        let reason = match self.0 {
            number if UNCATCHABLE.contains(&number) => "the kernel lets no process handle it",
            number if FAULTS.contains(&number) => {
                "it reports a fault of the instruction that runs, which would be repeated"
            }
            number if !(1..=NUMBER_MAX).contains(&number) => "signals have the numbers 1 to 64",
            number => return Ok(number),
        };
        let text = format!("cannot listen for {self}: {reason}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalKind({self})")
    }
}
