//! Gates: what a run has to fulfil, as `p(99)<5ms`, and whether it did.
//!
//! [`Gate::parse`] knows the language and no report; [`Gate::judge`] knows the report and no text.
//! [`Watch`] judges a run that is not over.

pub(crate) mod grammar;

/// One expression of the command line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gate {
    /// As it was typed.
    pub(crate) text: String,
    pub(crate) figure: GateFigure,
    pub(crate) relation: Relation,
    pub(crate) limit: GateLimit,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum GateFigure {
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
pub(crate) enum Latency {
    /// Response times of an open loop, service times of a closed one.
    Main,
    Response,
    Service,
    Connect,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistic {
    Min,
    Mean,
    Max,
    Percentile(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Errors and timeouts.
    Any,
    Timeouts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum GateLimit {
    /// In the unit of the figure: µs, messages per second, percent or a count.
    Value(f64),
    /// As many as the run has.
    Connections,
}

impl Gate {
    /// Whether only an open loop has the figure.
    pub(crate) fn is_of_responses(&self) -> bool {
        matches!(self.figure, GateFigure::Latency(Latency::Response, _))
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

    pub(crate) fn holds(self, value: f64, limit: f64) -> bool {
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
