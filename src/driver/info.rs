//! The kinds of drivers, the choice of one, and the description of the one in use.

use std::fmt;

/// Which driver a runtime should use. See [`Builder::driver`](crate::Builder::driver).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DriverChoice {
    /// The driver that the environment variable `RINGLOOP_DRIVER` names (`auto`, `uring` or
    /// `epoll`), else the best driver that works here.
    #[default]
    Auto,
    /// io_uring or nothing: building the runtime fails where it cannot be used.
    Uring,
    /// epoll, without a call of io_uring.
    Epoll,
}

/// A kind of driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum DriverKind {
    /// Completions through io_uring.
    Uring,
    /// Readiness through epoll, and non-blocking calls.
    Epoll,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverKind::Uring => f.write_str("io_uring"),
            DriverKind::Epoll => f.write_str("epoll"),
        }
    }
}

/// The driver of a runtime, and how it was set up. `Display` prints it on one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriverInfo {
    pub(crate) kind: DriverKind,
    pub(crate) features: Vec<&'static str>,
    /// The sizes of the rings, if the driver has any.
    pub(crate) sizes: Option<RingSizes>,
    /// Why it is not the first choice.
    pub(crate) reason: Option<String>,
    /// What usually makes the first choice work.
    pub(crate) advice: Option<&'static str>,
}

impl DriverInfo {
    /// The kind of the driver.
    pub fn kind(&self) -> DriverKind {
        self.kind
    }

    /// The optional kernel features in use.
    pub fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// Why it is not io_uring, if it is not: what was asked for, or what went wrong.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// What usually helps where io_uring was tried and cannot be used.
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }
}

impl fmt::Display for DriverInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DriverInfo { kind, features, sizes, reason, advice } = self;
        write!(f, "{kind} ({}", features.join(", "))?;
        if let Some(sizes) = sizes {
            write!(f, ", sq {}, cq {}", sizes.sq_entries, sizes.cq_entries)?;
        }
        f.write_str(")")?;
        if let Some(reason) = reason {
            write!(f, ", because {reason}")?;
        }
        match advice {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

/// Entries of the submission and the completion queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingSizes {
    pub(crate) sq_entries: u32,
    pub(crate) cq_entries: u32,
}

impl RingSizes {
    pub(crate) fn halved(self) -> RingSizes {
        RingSizes { sq_entries: self.sq_entries / 2, cq_entries: self.cq_entries / 2 }
    }
}
