//! Gates: what a run has to fulfil, as `p(99)<5ms`, and whether it did.
//!
//! [`Gate::parse`] knows the language and no report; [`Gate::judge`] knows the report and no text.
//! [`Watch`] judges a run that is not over.

mod abort;
mod grammar;
mod judge;

pub(crate) use self::abort::{SoFar, Watch};

use crate::exit::Exit;
use crate::report::Report;

/// Judges a run and lets a gate that is not met decide its exit code, if nothing worse has.
pub(crate) fn settle(gates: &[Gate], report: &mut Report) {
    // What a run that was ended early would have become, nobody knows.
    if report.ended_early() {
        return;
    }
    report.thresholds = gates.iter().map(|gate| gate.judge(report)).collect();
    let is_met = report.thresholds.iter().all(|row| row.ok);
    if !is_met && report.exit_code == Exit::Ok.code() {
        report.exit_code = Exit::Breached.code();
    }
}

/// One expression of the command line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gate {
    /// As it was typed.
    pub(crate) text: String,
    figure: Figure,
    relation: Relation,
    limit: Limit,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Latency(Latency, Statistic),
    /// Replies per second of the measured window.
    Rate,
    /// In percent of what was scheduled.
    Share(Failed),
    Count(Failed),
    /// Connections with at least one reply.
    Served,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latency {
    /// Response times of an open loop, service times of a closed one.
    Main,
    Response,
    Service,
    Connect,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Min,
    Mean,
    Max,
    Percentile(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// Errors and timeouts.
    Any,
    Timeouts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// In the unit of the figure: µs, messages per second, percent or a count.
    Value(f64),
    /// As many as the run has.
    Connections,
}

impl Gate {
    /// Whether only an open loop has the figure.
    pub(crate) fn is_of_responses(&self) -> bool {
        matches!(self.figure, Figure::Latency(Latency::Response, _))
    }
}

impl Relation {
    const ALL: [(&str, Relation); 6] = [
        ("<=", Relation::AtMost),
        (">=", Relation::AtLeast),
        ("==", Relation::Equal),
        ("!=", Relation::Other),
        ("<", Relation::Less),
        (">", Relation::More),
    ];

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Relation::Less => value < limit,
            Relation::AtMost => value <= limit,
            Relation::More => value > limit,
            Relation::AtLeast => value >= limit,
            Relation::Equal => value == limit,
            Relation::Other => value != limit,
        }
    }
}
