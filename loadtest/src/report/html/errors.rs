//! The section about messages and errors: outcomes, failures and outages.

use std::fmt::Write as _;

use crate::report::html::page::{Page, escape, section};
use crate::report::model::failures::FailureRow;
use crate::report::text::lines;

pub(super) fn panel(page: &Page<'_>) -> String {
    let sentence = "Messages of the measured window. Each message has exactly one outcome.";
    section("Messages and errors", sentence, &(outcomes(page) + &failures(page) + &outages(page)))
}

fn outcomes(page: &Page<'_>) -> String {
    let is_open = page.report.load.offered_rate.is_some();
    let mut rows = vec![("completed", "/load/completed", "got the correct reply")];
    rows.push(("errors", "/load/errors/total", "failed, as listed below"));
    rows.push(("timed out", "/load/timed_out", "got no reply within --timeout"));
    rows.push(("in flight", "/load/in_flight", "sent, without a reply when the run ended"));
    if is_open {
        rows.push(("never sent", "/load/never_sent", "due, but no connection was free"));
        if page.report.config.deadline_s.is_some() {
            rows.push(("… of these shed", "/load/shed", "late by more than --deadline"));
        }
    }
    let mut text = "<table>\n".to_owned();
    for (name, place, meaning) in rows {
        let _ = writeln!(
            text,
            "<tr><th>{name}</th><td class=\"n\">{}</td><td>{meaning}</td></tr>",
            page.count(place)
        );
    }
    let (name, meaning) = if is_open {
        ("scheduled", "sum: due in the measured window")
    } else {
        ("sent", "sum: sent in the measured window")
    };
    let _ = writeln!(
        text,
        "<tr><th>{name}</th><td class=\"n\"><b>{}</b></td><td>{meaning}</td></tr></table>",
        page.count("/load/scheduled")
    );
    let _ = writeln!(
        text,
        "<p class=\"note\">Payload out {}, in {}. {} replies before the window are not included in \
         the figures.</p>",
        page.bytes("/load/bytes_sent"),
        page.bytes("/load/bytes_received"),
        page.count("/load/warmup_completed")
    );
    text
}

fn outages(page: &Page<'_>) -> String {
    let rows = page
        .report
        .outages
        .iter()
        .map(|outage| format!("<p class=\"bad\">{}</p>\n", lines::outage(outage)));
    rows.collect()
}

fn failures(page: &Page<'_>) -> String {
    let rows = &page.report.failures;
    if rows.is_empty() {
        return "<p>No failure of any kind in the whole run.</p>\n".to_owned();
    }
    let mut text = "<table>\n<tr><th>class</th><th>while</th><th>errno, status or reason</th>\
                    <th class=\"n\">whole run</th><th class=\"n\">measured window</th>\
                    <th class=\"n\">first</th><th class=\"n\">last</th>\
                    <th>first example</th></tr>\n"
        .to_owned();
    for (index, row) in rows.iter().enumerate() {
        // Without `..`, so that a new field is a compile error here.
        let FailureRow {
            stage,
            class,
            errno,
            status,
            reason,
            count: _,
            measured: _,
            first_s: _,
            last_s: _,
            example,
        } = row;
        let detail = errno.clone().or(status.map(|status| status.to_string())).or(reason.clone());
        let _ = writeln!(
            text,
            "<tr><td class=\"bad\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(class),
            escape(stage),
            escape(detail.as_deref().unwrap_or("–")),
            page.count(&format!("/failures/{index}/count")),
            page.count(&format!("/failures/{index}/measured")),
            page.seconds(&format!("/failures/{index}/first_s")),
            page.seconds(&format!("/failures/{index}/last_s")),
            escape(&example.as_ref().map_or_else(|| "–".to_owned(), lines::failure_example))
        );
    }
    text += "</table>\n<p class=\"note\">First and last are counted from the start of the measured \
             window, negative before it. Connections are numbered from 0.</p>\n";
    text
}
