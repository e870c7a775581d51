//! Driver of an event loop and the reason for its choice, as the report shows them.
//!
//! The built-in server prints the text form, and `run::own_server` parses it.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DriverUsed {
    /// `io_uring` or `epoll`.
    pub(crate) kind: String,
    /// Features of the kernel in use, and the sizes of the rings.
    pub(crate) detail: String,
    pub(crate) reason: String,
}

impl DriverUsed {
    /// `asked` is the choice of the command line. `Auto` leaves it to the environment and then to
    /// the machine.
    pub(crate) fn new(info: &ringloop::DriverInfo, asked: Driver) -> DriverUsed {
        let reason = match (asked, info.reason()) {
            (Driver::Uring | Driver::Epoll, _) => format!("--driver {}", asked.name()),
            (Driver::Auto, Some(reason)) => reason.to_owned(),
            (Driver::Auto, None) => match std::env::var("RINGLOOP_DRIVER") {
                Ok(value) if value == "uring" => "RINGLOOP_DRIVER=uring".to_owned(),
                _ => "it works here".to_owned(),
            },
        };
        let text = info.to_string();
        let (kind, detail, _) = split(&text).unwrap_or((&text, "", ""));
        DriverUsed { kind: kind.to_owned(), detail: detail.to_owned(), reason }
    }

    /// Without the detail, as in a headline.
    pub(crate) fn headline(&self) -> String {
        format!("{}, because {}", self.kind, self.reason)
    }

    /// Without the reason.
    pub(crate) fn with_detail(&self) -> String {
        format!("{} ({})", self.kind, self.detail)
    }
}

impl fmt::Display for DriverUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), because {}", self.kind, self.detail, self.reason)
    }
}

impl FromStr for DriverUsed {
    type Err = ();

    fn from_str(text: &str) -> Result<DriverUsed, ()> {
        let (kind, detail, rest) = split(text).ok_or(())?;
        let reason = rest.strip_prefix(", because ").ok_or(())?;
        Ok(DriverUsed { kind: kind.into(), detail: detail.into(), reason: reason.into() })
    }
}

/// `KIND (DETAIL)REST`. A detail has no parentheses; a reason may.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = text.split_once(" (")?;
    let (detail, rest) = rest.split_once(')')?;
    Some((kind, detail, rest))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// The best one this machine allows
    Auto,
    /// io_uring, or an error that names what is missing
    Uring,
    /// epoll, without trying io_uring
    Epoll,
}

impl Driver {
    pub(crate) fn choice(self) -> ringloop::DriverChoice {
        match self {
            Driver::Auto => ringloop::DriverChoice::Auto,
            Driver::Uring => ringloop::DriverChoice::Uring,
            Driver::Epoll => ringloop::DriverChoice::Epoll,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Driver::Auto => "auto",
            Driver::Uring => "uring",
            Driver::Epoll => "epoll",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the driver that the built-in server prints is the one that the report shows.
    ///
    /// Method: print and parse, with parentheses and commas where they occur; parse broken texts.
    ///
    /// Kills: ending the detail at the reason's parenthesis; accepting half a text.
    #[test]
    fn it_survives_a_round_trip() {
        let used = DriverUsed {
            kind: "epoll".to_owned(),
            detail: "epoll_pwait2, a".to_owned(),
            reason: "io_uring: failed: Operation not permitted (os error 1), because".to_owned(),
        };
        assert_eq!(used.to_string().parse(), Ok(used.clone()));
        assert_eq!("epoll (epoll_pwait2)".parse::<DriverUsed>(), Err(()));
        assert_eq!("epoll".parse::<DriverUsed>(), Err(()));
    }
}
