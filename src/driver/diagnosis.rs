//! The result of trying each driver on this machine, step by step:
//! [`Builder::diagnose`](crate::Builder::diagnose) returns it.
//!
//! The steps are those of opening a driver: a diagnosis opens drivers as a runtime does, so it
//! finds what a runtime would find. Where io_uring was ruled out (`RINGLOOP_DRIVER=epoll`, or the
//! program's choice), a diagnosis makes no call of it either, because some sandboxes kill for one.
//!
//! ```text
//! io_uring: cannot be used
//!   works    eventfd
//!   failed   io_uring_setup (sq 256, cq 4096; single_issuer, …): Operation not permitted …
//! epoll: works
//!   works    eventfd
//!   works    epoll_create1
//!   works    epoll_pwait2
//! environment
//!   time namespace: clocks of the machine
//!   sandbox: seccomp filter
//!   fork: this process has not forked; a child cannot use its parent's runtime
//!   killed process: on io_uring the kernel frees its ports some milliseconds later
//! a runtime gets epoll (epoll_pwait2), because io_uring: io_uring_setup failed: Operation …
//! ```

// The steps are in `choose` and `uring::setup`. No call of io_uring is made where it was ruled out:
// `tests/diagnosis.rs::a_sandbox_that_kills_is_survived`.

use std::fmt;
use std::rc::Rc;

use super::Opened;
use super::choose::{choose, open_epoll};
pub use super::environment::Environment;
use super::info::{DriverChoice, DriverInfo, DriverKind, RingSizes};
use super::setup_error::SetupError;
pub use super::steps::{Candidate, Outcome, Step};
use super::steps::{Steps, Trail};
use crate::buf::Pool;

/// The result of trying each driver here, and the one that a runtime would get. Made by
/// [`Builder::diagnose`](crate::Builder::diagnose); `Display` prints all of it, one line a step.
#[derive(Debug)]
pub struct Diagnosis {
    uring: Candidate,
    epoll: Candidate,
    environment: Environment,
    verdict: Result<DriverInfo, SetupError>,
}

impl Diagnosis {
    /// Both drivers, the preferred one first.
    pub fn candidates(&self) -> [&Candidate; 2] {
        [&self.uring, &self.epoll]
    }

    /// The driver that [`Builder::build`](crate::Builder::build) gets with the same settings, and
    /// why it is not io_uring if it is not; or why there is none.
    pub fn verdict(&self) -> Result<&DriverInfo, &SetupError> {
        self.verdict.as_ref()
    }

    /// The surroundings of this process: time namespace, sandbox, forks.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The diagnosis where there is no memory to try a driver with.
    pub(crate) fn impossible(error: SetupError) -> Diagnosis {
        let untried = |kind| {
            let mut steps = Steps::new(kind);
            steps.skip(error.to_string());
            steps.into_candidate()
        };
        Diagnosis {
            uring: untried(DriverKind::Uring),
            epoll: untried(DriverKind::Epoll),
            environment: Environment::read(),
            verdict: Err(error),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for candidate in self.candidates() {
            write!(f, "{candidate}")?;
        }
        write!(f, "{}", self.environment)?;
        match &self.verdict {
            Ok(info) => writeln!(f, "a runtime gets {info}"),
            Err(error) => writeln!(f, "a runtime cannot start: {error}"),
        }
    }
}

/// Opens a driver as a runtime does, then tries the drivers that this has not reached.
pub(crate) fn diagnose(choice: DriverChoice, sizes: RingSizes, pool: &Rc<Pool>) -> Diagnosis {
    let mut trail = Trail::new();
    let verdict = choose(choice, sizes, pool, &mut trail).map(Opened::close_untouched);
    if trail.uring.is_untouched() {
        // It was not ruled out, and not reached: the choice itself is an error. What was meant is
        // not known, and may have been to prevent a kill.
        trail.uring.skip("the choice of a driver is not clear");
    }
    if trail.epoll.is_untouched() {
        let opened = open_epoll(pool, String::new(), &mut trail.epoll);
        drop(opened.map(Opened::close_untouched));
    }
    Diagnosis {
        uring: trail.uring.into_candidate(),
        epoll: trail.epoll.into_candidate(),
        environment: Environment::read(),
        verdict,
    }
}
