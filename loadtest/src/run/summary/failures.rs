//! Builds the failures of the report from the table of failures.

use std::time::Instant;

use crate::measure::failure::{Example, FailureTable};
use crate::measure::stats;
use crate::report::model::failures::{FailureExample, FailureRow};

/// One row per kind of failure. Times are in seconds from the start of the measured window.
pub(super) fn failures(table: &FailureTable, measured_from: Option<Instant>) -> Vec<FailureRow> {
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
        example: Some(example(&row.example)),
    });
    rows.collect()
}

fn example(example: &Example) -> FailureExample {
    FailureExample {
        connection: example.connection,
        local: example.local.map(|local| local.to_string()),
        got: example.unexpected.map(|unexpected| unexpected.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::failure::{Class, Failure, Local, Stage, UnexpectedBytes};

    /// Goal: a row has the times of its failures, from the start of the measured window, and the
    /// example of the first one.
    ///
    /// Method: one kind before and in the window, another one once, with and without a window; an
    /// example with all fields and an empty one.
    ///
    /// Kills: times from another origin; a missing time before the window; the example of another
    /// failure.
    #[test]
    fn rows_have_times_and_places() {
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
        let [first, second] = &failures(&table, Some(zero))[..] else { panic!("two kinds") };
        assert_eq!((first.count, first.first_s, first.last_s), (2, Some(-0.5), Some(2.5)));
        let place = FailureExample {
            connection: 7,
            local: Some("127.0.0.1:40312".to_owned()),
            got: Some("\"abc\" at byte 3".to_owned()),
        };
        assert_eq!(first.example, Some(place));
        assert_eq!((second.count, second.first_s, second.last_s), (1, Some(0.5), Some(0.5)));
        let nothing = FailureExample { connection: 0, local: None, got: None };
        assert_eq!(second.example, Some(nothing));
        let without = &failures(&table, None)[1];
        assert_eq!((without.first_s, without.last_s), (None, None));
    }
}
