//! Gates: conditions on the figures of a run, such as `p(99)<5ms`.
//!
//! **Absent on purpose.** Whether a gate holds: `analysis::gates` compares it with a report.

pub(crate) mod grammar;

/// One expression of the command line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gate {
    /// The text of the command line.
    pub(crate) text: String,
    pub(crate) figure: GateFigure,
    pub(crate) relation: Relation,
    pub(crate) limit: GateLimit,
}

/// The figure that is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum GateFigure {
    Latency(Latency, Statistic),
    /// Replies per second of the measured window.
    Rate,
    /// Failed messages in percent of the scheduled ones.
    Share(Failed),
    Count(Failed),
    /// Connections with at least one reply.
    Served,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latency {
    /// Response times in an open loop, service times in a closed one.
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
    /// The number of connections of the run.
    Connections,
}

impl Gate {
    /// Whether the figure exists in an open loop only.
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
