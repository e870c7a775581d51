//! Single lines about parts of a report, for the summary, the HTML page and stderr.

use crate::base::figures::{grouped, seconds, value_text};
use crate::base::units;
use crate::measure::failure::Stage;
use crate::report::model::Report;
use crate::report::model::early_end::{Aborted, GaveUp, Outage};
use crate::report::model::failures::{FailureExample, FailureRow};
use crate::report::model::generator::GeneratorVerdict;
use crate::report::model::series::FindStep;

/// The reason why no message succeeded; `None` if one did.
pub(crate) fn unreachable(report: &Report) -> Option<String> {
    let connections = &report.connections;
    if connections.served > 0 || report.interrupted || report.aborted.is_some() {
        return None;
    }
    let failures: Vec<String> = report.failures.iter().map(failure).collect();
    let failures = failures.join(", ");
    let url = &report.target.url;
    Some(if connections.opened == 0 {
        let (failed, attempted) = (connections.failed, connections.attempted);
        let is_tls = |row: &FailureRow| row.stage == Stage::Tls.name();
        match report.failures.iter().all(is_tls) && !failures.is_empty() {
            true => format!("no TLS with {url}: {failed} of {attempted} failed ({failures})"),
            false => format!(
                "no answer from {url}: {failed} of {attempted} connects failed ({failures})"
            ),
        }
    } else if failures.is_empty() {
        format!("{url}: no reply within {} s", report.config.duration_s)
    } else {
        format!("{url}: no successful reply ({failures})")
    })
}

/// The line about a lost target; `None` if it was not lost.
pub(crate) fn lost_target(report: &Report) -> Option<String> {
    if let Some(early) = &report.gave_up {
        return Some(gave_up(early, report.config.duration_s));
    }
    let outage = report.outages.last().filter(|_| report.target_lost)?;
    Some(format!(
        "the target was lost at {} and did not come back: the last {} were without service",
        seconds(outage.first_failure_s),
        seconds(outage.length_s)
    ))
}

/// The time and the reason of giving up, such as `gave up at 1.82 s: no connection was left`.
fn gave_up(early: &GaveUp, duration_s: f64) -> String {
    // A run with `--requests` alone has no planned duration.
    let has_end = duration_s < units::DURATION_MAX.as_secs_f64();
    let of = if has_end { format!(" of {}", seconds(duration_s)) } else { String::new() };
    let at = seconds(early.at_s);
    format!("gave up at {at}{of}: {}; no gate was checked", early.reason)
}

/// The gate that ended the run early, such as `aborted after 3.00 s: errors rate<1% does not hold:
/// 12 %`.
pub(crate) fn aborted(early: &Aborted) -> String {
    format!(
        "aborted after {}: {} does not hold: {}",
        seconds(early.at_s),
        early.expr,
        value_text(early.value, &early.unit)
    )
}

/// The length and the times of an outage, such as `2.31 s without a reply: last reply at 1.50 s,
/// first failure at 1.50 s, recovered at 3.81 s`.
pub(crate) fn outage(outage: &Outage) -> String {
    let recovered = match outage.recovered_s {
        Some(recovered_s) => format!("recovered at {}", seconds(recovered_s)),
        None => "not recovered".to_owned(),
    };
    format!(
        "{} without a reply: last reply at {}, first failure at {}, {recovered}",
        seconds(outage.length_s),
        seconds(outage.from_s),
        seconds(outage.first_failure_s)
    )
}

/// The kind of failure and its count, such as `recv reset ECONNRESET 12`, `recv status 503: 12` or
/// `tls: certificate has expired: 12`.
pub(crate) fn failure(row: &FailureRow) -> String {
    if let Some(reason) = &row.reason {
        let stage = if row.stage == row.class { "" } else { &format!("{} ", row.stage) };
        return format!("{stage}{}: {reason}: {}", row.class, row.count);
    }
    let errno = row.errno.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    let status = row.status.map(|status| format!(" {status}:")).unwrap_or_default();
    format!("{} {}{errno}{status} {}", row.stage, row.class, grouped(row.count))
}

/// The times and the example of a kind of failure, if the report has them, such as `first at 0.52
/// s, last at 9.81 s: connection 7`.
pub(crate) fn failure_details(row: &FailureRow) -> Option<String> {
    let when = row.first_s.zip(row.last_s).map(|(first, last)| {
        let (first, last) = (seconds(first), seconds(last));
        if row.count == 1 {
            format!("at {first}")
        } else {
            format!("first at {first}, last at {last}")
        }
    });
    let example = row.example.as_ref().map(failure_example);
    match (when, example) {
        (Some(when), Some(example)) => Some(format!("{when}: {example}")),
        (when, example) => when.or(example),
    }
}

/// The connection and the bytes that it received, such as `connection 7 from 127.0.0.1:40312 got
/// "abc" at byte 3`.
pub(crate) fn failure_example(example: &FailureExample) -> String {
    let local = example.local.as_ref().map(|local| format!(" from {local}")).unwrap_or_default();
    let got = example.got.as_ref().map(|got| format!(" got {got}")).unwrap_or_default();
    format!("connection {}{local}{got}", example.connection)
}

/// One rate of a search, such as `  20 000/s  ok    achieved 19 998/s`.
pub(crate) fn find_step(step: &FindStep) -> String {
    let rate = |rate: f64| format!("{}/s", grouped(rate.round() as u64));
    let value =
        step.value.map_or_else(|| "no such figure".to_owned(), |v| value_text(v, &step.unit));
    let generator = match step.generator {
        GeneratorVerdict::Saturated => "   generator SATURATED",
        GeneratorVerdict::Healthy | GeneratorVerdict::Marginal | GeneratorVerdict::Unknown => "",
    };
    format!(
        "{:>12}  {:<4}  achieved {:>12}   {value}{generator}",
        rate(step.rate),
        if step.ok { "ok" } else { "FAIL" },
        rate(step.achieved_rate)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the details of a failure show its times and its example, if they are known.
    ///
    /// Method: several failures and one, with and without times, with a full example, an empty one
    /// and none.
    ///
    /// Kills: two times for one failure; the connection of a missing example.
    #[test]
    fn details_show_known_times_and_examples() {
        let bare = FailureExample { connection: 0, local: None, got: None };
        let full = FailureExample {
            connection: 7,
            local: Some("127.0.0.1:40312".to_owned()),
            got: Some("\"abc\" at byte 3".to_owned()),
        };
        let row = |count, first_s, last_s, example| FailureRow {
            stage: "recv".to_owned(),
            class: "mismatch".to_owned(),
            errno: None,
            status: None,
            reason: None,
            count,
            measured: 0,
            first_s,
            last_s,
            example,
        };
        let details = |row: &FailureRow| failure_details(row).unwrap();
        assert_eq!(
            details(&row(2, Some(-0.5), Some(2.5), Some(full))),
            "first at -0.50 s, last at 2.50 s: connection 7 from 127.0.0.1:40312 got \"abc\" at \
             byte 3"
        );
        let once = row(1, Some(0.5), Some(0.5), Some(bare));
        assert_eq!(details(&once), "at 0.50 s: connection 0");
        let without_times = FailureRow { first_s: None, last_s: None, ..once };
        assert_eq!(details(&without_times), "connection 0");
        assert_eq!(failure_details(&FailureRow { example: None, ..without_times }), None);
    }
}
