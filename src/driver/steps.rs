//! The steps of opening a driver, written down as they are taken.
//!
//! What lives here: the list that opening a driver fills in ([`Steps`]), and its public form
//! ([`Candidate`]). **Absent on purpose.** A step of its own: all are in `choose` and
//! `uring::setup`.

use std::fmt;
use std::io;

use super::info::DriverKind;
use super::setup_error::{SetupError, SetupStep};

/// A driver, and how it was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    kind: DriverKind,
    steps: Vec<Step>,
    untried: Option<String>,
    failure: Option<String>,
    advice: Option<&'static str>,
}

impl Candidate {
    /// The kind of the driver.
    pub fn kind(&self) -> DriverKind {
        self.kind
    }

    /// The steps that were tried, in order, up to the one that failed.
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

/// One step of opening a driver.
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

    /// The outcome of the step.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { name, outcome } = self;
        // The outcome is the first column, because its four forms are short.
        write!(f, "{:<9}{name}", outcome.word())?;
        match outcome {
            Outcome::Failed(why) => write!(f, ": {why}"),
            Outcome::Works | Outcome::Present | Outcome::Absent => Ok(()),
        }
    }
}

/// The outcome of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was tried, and worked.
    Works,
    /// The kernel reports that it has this.
    Present,
    /// The kernel does not have this.
    Absent,
    /// It was tried and failed, with this error. Where there is a fallback, more steps follow.
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

/// The list that opening a driver fills in.
pub(crate) struct Steps {
    candidate: Candidate,
}

impl Steps {
    pub(super) fn new(kind: DriverKind) -> Steps {
        let steps = Vec::new();
        Steps { candidate: Candidate { kind, steps, untried: None, failure: None, advice: None } }
    }

    /// Writes down a step that does not end the attempt, whatever its outcome.
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

    /// Notes that the driver is not tried.
    pub(super) fn skip(&mut self, why: impl Into<String>) {
        assert!(self.is_untouched(), "{:?} was tried", self.candidate);
        self.candidate.untried = Some(why.into());
    }

    pub(super) fn has_failed(&self) -> bool {
        self.candidate.failure.is_some()
    }

    pub(super) fn into_candidate(self) -> Candidate {
        self.candidate
    }

    #[cfg(test)]
    pub(super) fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    pub(super) fn is_untouched(&self) -> bool {
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
