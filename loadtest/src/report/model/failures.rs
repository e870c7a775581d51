//! The part of the report's schema that says what failed, when, and where to look for it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::base::figures;
use crate::measure::failure::{Example, FailureTable};
use crate::measure::stats;

/// A kind of failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureRow {
    pub(crate) stage: String,
    pub(crate) class: String,
    pub(crate) errno: Option<String>,
    /// What an HTTP reply said, of the class `status`.
    pub(crate) status: Option<u16>,
    /// Why TLS has failed, of the class `tls`.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    pub(crate) count: u64,
    /// Of these, messages sent in the measured window.
    pub(crate) measured: u64,
    /// When the first one was noticed, in seconds from the beginning of the measured window:
    /// negative before it. `null` if there was none.
    #[serde(default)]
    pub(crate) first_s: Option<f64>,
    #[serde(default)]
    pub(crate) last_s: Option<f64>,
    /// The first one.
    #[serde(default)]
    pub(crate) example: Option<FailureExample>,
}

/// One failure, for whoever looks for it in the target's log or in a trace of packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureExample {
    /// The connection's number among all of the run, from 0.
    pub(crate) connection: u64,
    /// Our end of it, with its port if it was open.
    pub(crate) local: Option<String>,
    /// The first bytes that were not expected, and their place in the reply.
    pub(crate) got: Option<String>,
}

pub(crate) fn rows(table: &FailureTable, measured_from: Option<Instant>) -> Vec<FailureRow> {
    let seconds = |at: Instant| Some(stats::seconds_from(measured_from?, at));
    let rows = table.rows().iter().map(|row| FailureRow {
        stage: row.failure.stage.name().into(),
        class: row.failure.class.name().into(),
        errno: row.failure.errno_name(),
        status: row.failure.status,
        reason: row.failure.reason.map(str::to_owned),
        count: row.total,
        measured: row.measured,
        first_s: seconds(row.first_at),
        last_s: seconds(row.last_at),
        example: Some(FailureExample::of(&row.example)),
    });
    rows.collect()
}

impl FailureExample {
    fn of(example: &Example) -> FailureExample {
        FailureExample {
            connection: example.connection,
            local: example.local.map(|local| local.to_string()),
            got: example.unexpected.map(|unexpected| unexpected.to_string()),
        }
    }

    /// The connection and what came, such as `connection 7 from 127.0.0.1:40312 got "abc" at byte
    /// 3`.
    pub(crate) fn describe(&self) -> String {
        let local = self.local.as_ref().map(|local| format!(" from {local}")).unwrap_or_default();
        let got = self.got.as_ref().map(|got| format!(" got {got}")).unwrap_or_default();
        format!("connection {}{local}{got}", self.connection)
    }
}

impl FailureRow {
    /// The kind of failure and its count, such as `recv reset ECONNRESET 12`, `recv status 503:
    /// 12`, `tls: certificate has expired: 12`.
    pub(crate) fn describe(&self) -> String {
        if let Some(reason) = &self.reason {
            let stage = if self.stage == self.class { "" } else { &format!("{} ", self.stage) };
            return format!("{stage}{}: {reason}: {}", self.class, self.count);
        }
        let errno = self.errno.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let status = self.status.map(|status| format!(" {status}:")).unwrap_or_default();
        let count = figures::grouped(self.count);
        format!("{} {}{errno}{status} {count}", self.stage, self.class)
    }

    /// When and where, as far as the report has it, such as `first at 0.52 s, last at 9.81 s:
    /// connection 7`.
    pub(crate) fn details(&self) -> Option<String> {
        let when = self.first_s.zip(self.last_s).map(|(first, last)| {
            let (first, last) = (figures::seconds(first), figures::seconds(last));
            if self.count == 1 {
                format!("at {first}")
            } else {
                format!("first at {first}, last at {last}")
            }
        });
        let example = self.example.as_ref().map(FailureExample::describe);
        match (when, example) {
            (Some(when), Some(example)) => Some(format!("{when}: {example}")),
            (when, example) => when.or(example),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::failure::{Class, Failure, Local, Stage, UnexpectedBytes};

    /// Goal: a row says when its failures were, from the beginning of the measured window, and
    /// where.
    ///
    /// Method: one kind before and in the window, another once, without a window and with;
    /// everything that an example may have, and nothing of it.
    ///
    /// Kills: times from another zero; a time before the window that is none; two times for one
    /// failure; a place of no example.
    #[test]
    fn rows_say_when_and_where() {
        let zero = Instant::now() + Duration::from_secs(60);
        let half = Duration::from_millis(500);
        let mut table = FailureTable::default();
        let local = Some(Local::Socket("127.0.0.1:40312".parse().unwrap()));
        let unexpected = Some(UnexpectedBytes::of(3, b"abc"));
        let full = Example { connection: 7, local, unexpected };
        let mismatch = Failure::of(Stage::Recv, Class::Mismatch);
        table.count(mismatch, false, zero - half, full);
        table.count(mismatch, true, zero + half * 5, Example::default());
        table.count(Failure::of_status(503), true, zero + half, Example::default());
        let rows = |zero| super::rows(&table, zero);
        let [first, second] = &rows(Some(zero))[..] else { panic!("two kinds") };
        assert_eq!((first.first_s, first.last_s), (Some(-0.5), Some(2.5)));
        assert_eq!(
            first.details().unwrap(),
            "first at -0.50 s, last at 2.50 s: connection 7 from 127.0.0.1:40312 got \"abc\" at byte 3"
        );
        assert_eq!(second.details().unwrap(), "at 0.50 s: connection 0");
        let without = &rows(None)[1];
        assert_eq!((without.first_s, without.last_s), (None, None));
        assert_eq!(without.details().unwrap(), "connection 0");
        assert_eq!(FailureRow { example: None, ..without.clone() }.details(), None);
    }
}
