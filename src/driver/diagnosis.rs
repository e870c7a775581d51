//! How each driver fares on this machine, step by step: what
//! [`Builder::diagnose`](crate::Builder::diagnose) returns.
//!
//! The steps are those of opening a driver: a diagnosis opens drivers as a runtime does, so it
//! cannot say anything else than what a runtime would meet. Where io_uring was ruled out
//! (`RINGLOOP_DRIVER=epoll`, or the program's choice), a diagnosis makes no call of it either,
//! because some sandboxes kill for one.
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

// What lives here: the list that opening a driver fills in (`Steps`), and what is made of it for
// people. What must not: a step of its own. They are all in `super` and `uring::setup`. That no
// call of io_uring is made where it was ruled out is
// `tests/diagnosis.rs::a_sandbox_that_kills_is_survived`.

use std::fmt;
use std::io;
use std::rc::Rc;

pub use super::environment::Environment;
use super::{DriverChoice, DriverInfo, DriverKind, RingSizes, SetupError, SetupStep};
use crate::buf::Pool;

/// How each driver fares here, and which one a runtime would get. Made by
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

    /// What surrounds this process: time namespace, sandbox, forks.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// For when there is not even memory to try with.
    pub(crate) fn impossible(error: SetupError) -> Diagnosis {
        let untried = |kind| {
            let mut steps = Steps::new(kind);
            steps.skip(error.to_string());
            steps.candidate
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

/// A driver that was tried, or was not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    kind: DriverKind,
    steps: Vec<Step>,
    untried: Option<String>,
    failure: Option<String>,
    advice: Option<&'static str>,
}

impl Candidate {
    /// Which driver.
    pub fn kind(&self) -> DriverKind {
        self.kind
    }

    /// What was tried, in order, up to the step that ended it.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether it was tried and can be used.
    pub fn works(&self) -> bool {
        self.failure.is_none() && self.untried.is_none()
    }

    /// Why it was not tried, if it was not.
    pub fn untried(&self) -> Option<&str> {
        self.untried.as_deref()
    }

    /// Why it cannot be used, if it was tried and cannot.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// What usually helps where it was tried and cannot be used.
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate { kind, steps, untried, failure: _, advice: _ } = self;
        match untried {
            Some(why) => writeln!(f, "{kind}: not tried, {why}")?,
            None if self.works() => writeln!(f, "{kind}: works")?,
            None => writeln!(f, "{kind}: cannot be used")?,
        }
        steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

/// One thing that was tried or looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    name: String,
    outcome: Outcome,
}

impl Step {
    /// What was tried.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it went.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { name, outcome } = self;
        // The outcome comes first: it has four forms, so the column is narrow.
        write!(f, "{:<9}{name}", outcome.word())?;
        match outcome {
            Outcome::Failed(why) => write!(f, ": {why}"),
            Outcome::Works | Outcome::Present | Outcome::Absent => Ok(()),
        }
    }
}

/// How a step went.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was done, and did what it should.
    Works,
    /// The kernel says that it has this.
    Present,
    /// The kernel does not have this.
    Absent,
    /// It was tried, and this is the error. Not the end where there is something else to try.
    Failed(String),
}

impl Outcome {
    /// `works`, `present`, `absent` or `failed`.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Works => "works",
            Outcome::Present => "present",
            Outcome::Absent => "absent",
            Outcome::Failed(_) => "failed",
        }
    }
}

/// What opening a driver writes down as it goes.
pub(crate) struct Steps {
    candidate: Candidate,
}

impl Steps {
    pub(super) fn new(kind: DriverKind) -> Steps {
        let steps = Vec::new();
        Steps { candidate: Candidate { kind, steps, untried: None, failure: None, advice: None } }
    }

    /// Writes down a step that does not end the attempt, however it went.
    pub(super) fn note(&mut self, name: impl Into<String>, outcome: Outcome) {
        self.candidate.steps.push(Step { name: name.into(), outcome });
    }

    /// Writes down a step that has to succeed.
    pub(super) fn need<T>(
        &mut self,
        step: SetupStep,
        outcome: io::Result<T>,
    ) -> Result<T, SetupError> {
        match outcome {
            Ok(value) => {
                self.note(step.name(), Outcome::Works);
                Ok(value)
            }
            Err(cause) => {
                self.note(step.name(), Outcome::Failed(cause.to_string()));
                Err(self.fail(step, cause))
            }
        }
    }

    /// Ends the attempt. The steps that led there are written down already.
    pub(super) fn fail(&mut self, step: SetupStep, cause: io::Error) -> SetupError {
        let error = SetupError::new(self.candidate.kind, step, cause);
        self.candidate.failure = Some(error.summary());
        self.candidate.advice = error.advice();
        error
    }

    /// There is no attempt.
    pub(super) fn skip(&mut self, why: impl Into<String>) {
        assert!(self.is_untouched(), "{:?} was tried", self.candidate);
        self.candidate.untried = Some(why.into());
    }

    pub(super) fn has_failed(&self) -> bool {
        self.candidate.failure.is_some()
    }

    #[cfg(test)]
    pub(super) fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    fn is_untouched(&self) -> bool {
        let Candidate { kind: _, steps, untried, failure, advice: _ } = &self.candidate;
        steps.is_empty() && untried.is_none() && failure.is_none()
    }
}

/// The steps of both drivers.
pub(crate) struct Trail {
    pub(super) uring: Steps,
    pub(super) epoll: Steps,
}

impl Trail {
    pub(super) fn new() -> Trail {
        Trail { uring: Steps::new(DriverKind::Uring), epoll: Steps::new(DriverKind::Epoll) }
    }
}

/// Does what opening does, then tries what that did not come to.
pub(crate) fn diagnose(choice: DriverChoice, sizes: RingSizes, pool: &Rc<Pool>) -> Diagnosis {
    let mut trail = Trail::new();
    let verdict =
        super::choose::choose(choice, sizes, pool, &mut trail).map(super::Opened::close_untouched);
    if trail.uring.is_untouched() {
        // It was not ruled out, and not reached: the choice itself is an error, so
        // what it was meant to be is not known, and it may have been meant to prevent a kill.
        trail.uring.skip("the choice of a driver is not clear");
    }
    if trail.epoll.is_untouched() {
        let opened = super::choose::open_epoll(pool, String::new(), &mut trail.epoll);
        drop(opened.map(super::Opened::close_untouched));
    }
    Diagnosis {
        uring: trail.uring.candidate,
        epoll: trail.epoll.candidate,
        environment: Environment::read(),
        verdict,
    }
}
