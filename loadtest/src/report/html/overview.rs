//! The head of a page: target, main results and condition of the generator; and the comparison of
//! several runs.

use std::fmt::Write as _;

use crate::report::html::latency;
use crate::report::html::page::{Page, escape, figure, section};
use crate::report::model::generator::GeneratorVerdict;
use crate::report::text::lines;

pub(super) fn strip(page: &Page<'_>) -> String {
    let report = page.report;
    let mut text = format!("<header>\n<h1>{}</h1>\n", escape(&page.title()));
    let config = &report.config;
    let mut about = vec![
        escape(&report.target.url),
        escape(&report.target.protocol),
        escape(&config.mode),
        escape(&report.started_at),
    ];
    if report.name.is_none() {
        about.remove(0); // the URL is the title
    }
    let _ = writeln!(text, "<p class=\"sub\">{}<br/>{}</p>", about.join(" · "), load(page));
    if !report.labels.is_empty() {
        text += "<p class=\"sub\">";
        for (key, value) in &report.labels {
            let _ = write!(text, "<span class=\"chip\">{}={}</span>", escape(key), escape(value));
        }
        text += "</p>\n";
    }
    text += "<div class=\"cards\">\n";
    text += &result_cards(page);
    text += &trust_cards(page);
    text += "</div>\n";
    if report.interrupted {
        text += "<p class=\"alert\">The run was interrupted: it is shorter than planned, and no \
                 gate was checked.</p>\n";
    }
    if let Some(aborted) = &report.aborted {
        let _ = writeln!(text, "<p class=\"alert\">{}</p>", escape(&lines::aborted(aborted)));
    }
    for line in &report.internal_errors {
        let _ = writeln!(text, "<p class=\"alert\">internal error: {}</p>", escape(line));
    }
    for note in &report.notes {
        let _ = writeln!(text, "<p class=\"alert\">{}</p>", escape(note));
    }
    text + "</header>\n"
}

/// The load on the target.
fn load(page: &Page<'_>) -> String {
    let config = &page.report.config;
    let mut parts = vec![
        format!("{} connections", page.count("/config/connections")),
        format!("workers: {}", page.count("/config/threads")),
        match config.message_bytes_min {
            None => format!("messages of {}", page.bytes("/config/message_bytes")),
            Some(_) => format!(
                "messages of {} to {}",
                page.bytes("/config/message_bytes_min"),
                page.bytes("/config/message_bytes")
            ),
        },
        format!("pipeline {}", page.count("/config/pipeline")),
    ];
    if let Some(index) = page.report.phases.iter().position(|phase| phase.name == "measured") {
        parts.push(format!("measured for {}", page.seconds(&format!("/phases/{index}/seconds"))));
    }
    if let Some(rate) = &config.rate {
        let arrivals = config.arrivals.as_deref().unwrap_or_default();
        let dispatch = config.dispatch.as_deref().unwrap_or_default();
        let open = format!("{rate}, {arrivals}, dispatch {dispatch}");
        parts.insert(0, escape(&open));
    }
    parts.join(" · ")
}

fn result_cards(page: &Page<'_>) -> String {
    let report = page.report;
    let load = &report.load;
    let offered = match load.offered_rate {
        Some(_) => format!("of {} offered", page.rate("/load/offered_rate")),
        None => "as fast as replies came: nothing is offered".to_owned(),
    };
    let mut text = card("", &page.rate("/load/achieved_rate"), &["achieved".to_owned(), offered]);
    match report.headline() {
        Some((kind, _)) => {
            let place = |name: &str| format!("/latency_us/{kind}/{name}");
            text += &card(
                "",
                &page.time(&place("percentiles/p99")),
                &[
                    format!("p99 {kind} time"),
                    format!(
                        "p50 {}, max {}",
                        page.time(&place("percentiles/p50")),
                        page.time(&place("max"))
                    ),
                ],
            );
        }
        None => text += &card("bad", "no reply", &["nothing was measured".to_owned()]),
    }
    let failed = load.errors.total + load.timed_out;
    let class = match (failed, load.never_sent + load.in_flight) {
        (0, 0) => "good",
        (0, _) => "warn",
        _ => "bad",
    };
    text + &card(
        class,
        &page.count("/load/errors/total"),
        &[
            "errors".to_owned(),
            format!(
                "{} timed out, {} never sent",
                page.count("/load/timed_out"),
                page.count("/load/never_sent")
            ),
        ],
    )
}

fn trust_cards(page: &Page<'_>) -> String {
    let report = page.report;
    let connections = &report.connections;
    let class = if connections.served == connections.asked { "good" } else { "warn" };
    let mut text = card(
        class,
        &page.count("/connections/served"),
        &[
            "connections served".to_owned(),
            format!(
                "of {} requested, {} lost",
                page.count("/connections/asked"),
                page.count("/connections/lost")
            ),
        ],
    );
    let (class, meaning) = match report.generator.verdict {
        GeneratorVerdict::Healthy => ("good", "it kept up, so the figures describe the target"),
        GeneratorVerdict::Marginal => ("warn", "it was busy: read the tail with care"),
        GeneratorVerdict::Saturated => {
            ("bad", "the figures describe the generator, not the target")
        }
        GeneratorVerdict::Unknown => ("warn", "its processor time could not be read"),
    };
    text += &card(
        class,
        report.generator.verdict.name(),
        &["generator".to_owned(), meaning.to_owned()],
    );
    let failed = report.thresholds.iter().filter(|threshold| !threshold.ok).count();
    let of = report.thresholds.len();
    text += &match (of, failed) {
        (0, _) => card("", "no gates", &["the run has no --threshold".to_owned()]),
        (_, 0) => card("good", "passed", &[format!("{of} of {of} gates")]),
        _ => card("bad", "FAILED", &[format!("{failed} of {of} gates, exit {}", report.exit_code)]),
    };
    text
}

/// A card with a figure and its description. All arguments are HTML.
fn card(class: &str, value: &str, lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("<span>{line}</span>")).collect();
    format!("<div class=\"card {class}\"><b>{value}</b>{}</div>\n", lines.concat())
}

/// The comparison of several runs: a table and a chart of their latencies.
pub(super) fn several(pages: &[Page<'_>]) -> String {
    let mut text = format!(
        "<header>\n<h1>{} runs</h1>\n</header>\n<div class=\"scroll\"><table>\n\
         <tr><th>run</th><th>load</th><th class=\"n\">achieved</th><th class=\"n\">p50</th>\
         <th class=\"n\">p99</th><th class=\"n\">max</th><th class=\"n\">errors</th>\
         <th>generator</th></tr>\n",
        pages.len()
    );
    for page in pages {
        let kind = page.report.headline().map_or("service", |(kind, _)| kind);
        let time = |name: &str| page.time(&format!("/latency_us/{kind}/{name}"));
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(&page.title()),
            escape(&page.report.config.mode),
            page.rate("/load/achieved_rate"),
            time("percentiles/p50"),
            time("percentiles/p99"),
            time("max"),
            page.count("/load/errors/total"),
            page.report.generator.verdict.name()
        );
    }
    text += "</table></div>\n";
    let curves: Vec<latency::Curve> = pages
        .iter()
        .filter_map(|page| {
            let (_, distribution) = page.report.headline()?;
            latency::Curve::new(&page.title(), distribution, &page.report.config.percentiles)
        })
        .collect();
    let sentence = "Response times of each run; service times of a closed loop.";
    text + &section("Latency of all", sentence, &figure(&latency::plot(&curves), ""))
}
