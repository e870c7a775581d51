//! What failed, and every message's fate.

use std::fmt::Write as _;

use crate::report::html::page::{Page, escape, section};
use crate::report::model::failures::FailureRow;
use crate::report::text::lines;

pub(super) fn panel(page: &Page<'_>) -> String {
    let sentence = "The messages of the measured window; the fates add up.";
    section("Messages and errors", sentence, &(fates(page) + &failures(page) + &outages(page)))
}

fn fates(page: &Page<'_>) -> String {
    let is_open = page.report.load.offered_rate.is_some();
    let mut rows = vec![("completed", "/load/completed", "answered, and the answer was right")];
    rows.push(("errors", "/load/errors/total", "failed, as listed below"));
    rows.push(("timed out", "/load/timed_out", "given up after --timeout"));
    rows.push(("in flight", "/load/in_flight", "sent, without an answer when the run ended"));
    if is_open {
        rows.push(("never sent", "/load/never_sent", "due, but no connection had a place"));
        if page.report.config.deadline_s.is_some() {
            rows.push(("… of these shed", "/load/shed", "later than --deadline at their turn"));
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
        ("scheduled", "the sum: due in the measured window")
    } else {
        ("sent", "the sum: sent in the measured window")
    };
    let _ = writeln!(
        text,
        "<tr><th>{name}</th><td class=\"n\"><b>{}</b></td><td>{meaning}</td></tr></table>",
        page.count("/load/scheduled")
    );
    let _ = writeln!(
        text,
        "<p class=\"note\">Payload out {}, in {}. Before the window {} replies, in none of the \
         figures.</p>",
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
                    <th class=\"n\">whole run</th><th class=\"n\">measured window</th><th class=\"n\">first</th>\
                    <th class=\"n\">last</th><th>the first one</th></tr>\n"
        .to_owned();
    for (index, row) in rows.iter().enumerate() {
        // Without `..`, so that whatever else a failure gets to say is shown.
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
        let said = errno.clone().or(status.map(|status| status.to_string())).or(reason.clone());
        let _ = writeln!(
            text,
            "<tr><td class=\"bad\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(class),
            escape(stage),
            escape(said.as_deref().unwrap_or("–")),
            page.count(&format!("/failures/{index}/count")),
            page.count(&format!("/failures/{index}/measured")),
            page.seconds(&format!("/failures/{index}/first_s")),
            page.seconds(&format!("/failures/{index}/last_s")),
            escape(&example.as_ref().map_or_else(|| "–".to_owned(), lines::failure_example))
        );
    }
    text += "</table>\n<p class=\"note\">First and last: from the beginning of the measured window, \
             negative before it. Connections are numbered from 0.</p>\n";
    text
}
