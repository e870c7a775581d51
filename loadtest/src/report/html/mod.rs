//! The report as one HTML file: for reading, for keeping, for printing.
//!
//! The file needs nothing but itself: no script, no font, no picture from elsewhere; charts are inline
//! SVG and colours follow the reader's scheme. It is well-formed XML as well, which a test checks.
//!
//! **Invariant.** A figure is read from the report's JSON by its place there ([`Page::figure`]) and
//! keeps that place in the file, so that what is shown and what is embedded can be compared, by a test
//! or by anybody. Only curves are drawn from histograms.

pub(crate) mod connections;
pub(crate) mod errors;
pub(crate) mod heatmap;
pub(crate) mod latency;
pub(crate) mod overview;
pub(crate) mod resources;
pub(crate) mod series;
pub(crate) mod svg;
pub(crate) mod tables;

use std::fmt::Write as _;

use serde_json::Value;

use crate::base::figures::{self, grouped, time_us};
use crate::report::model::{Interval, Report};

/// One document for a run; for several, a comparison and then each.
pub(crate) fn render(reports: &[Report]) -> String {
    let pages: Vec<Page<'_>> = reports.iter().map(Page::new).collect();
    let title = match &pages[..] {
        [page] => page.title(),
        pages => format!("{} runs", pages.len()),
    };
    let body: String = match &pages[..] {
        [page] => run(page),
        pages => {
            let runs: Vec<String> =
                pages.iter().map(|page| format!("<article>\n{}</article>\n", run(page))).collect();
            format!("{}{}", overview::several(pages), runs.concat())
        }
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>loadtest: {}</title>\n<style>\n{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(&title),
        include_str!("style.css"),
    )
}

fn run(page: &Page<'_>) -> String {
    [
        overview::strip(page),
        latency::panel(page),
        series::panel(page),
        heatmap::panel(page),
        connections::panel(page),
        errors::panel(page),
        resources::panel(page),
        tables::panel(page),
    ]
    .concat()
}

/// A report, and its JSON to look figures up in.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    report: &'a Report,
    json: Value,
}

impl<'a> Page<'a> {
    fn new(report: &'a Report) -> Page<'a> {
        Page { report, json: serde_json::to_value(report).expect("all keys are strings") }
    }

    /// What the run is called, or else what it tested.
    fn title(&self) -> String {
        self.report.name.clone().unwrap_or_else(|| self.report.target.url.clone())
    }

    /// The figure at this place (a JSON pointer) as `show` prints it, marked with its place and its
    /// exact value; a dash if the run does not have it.
    fn figure(&self, place: &str, show: impl Fn(f64) -> String) -> String {
        match self.json.pointer(place) {
            Some(Value::Number(number)) => format!(
                "<data data-json=\"{}\" value=\"{number}\">{}</data>",
                escape(place),
                escape(&show(number.as_f64().unwrap_or(f64::NAN)))
            ),
            Some(Value::Null) | None => "–".to_owned(),
            Some(other) => unreachable!("{place} is no figure: {other}"),
        }
    }

    fn count(&self, place: &str) -> String {
        self.figure(place, |value| grouped(value as u64))
    }

    fn time(&self, place: &str) -> String {
        self.figure(place, time_us)
    }

    fn percent(&self, place: &str) -> String {
        self.figure(place, |value| format!("{value:.1} %"))
    }

    fn bytes(&self, place: &str) -> String {
        self.figure(place, |value| figures::bytes(value as u64))
    }

    fn seconds(&self, place: &str) -> String {
        self.figure(place, figures::seconds)
    }

    /// Per second.
    fn rate(&self, place: &str) -> String {
        self.figure(place, |value| format!("{}/s", grouped(value.round() as u64)))
    }

    /// Where the intervals lie: from the ramp's beginning to the drain's end.
    fn span(&self) -> Span {
        let length = |name: &str| -> f64 {
            let phases = self.report.phases.iter().filter(|phase| phase.name == name);
            phases.map(|phase| phase.seconds).sum()
        };
        let measured = length("measured");
        let last = self.report.intervals.iter().map(Interval::end_s).fold(measured, f64::max);
        Span {
            ramp: length("ramp"),
            warmup: length("warm-up"),
            measured,
            end: (measured + length("drain")).max(last),
        }
    }
}

/// Lengths of the phases in seconds; zero is the beginning of the measured window.
#[derive(Clone, Copy, Debug)]
struct Span {
    ramp: f64,
    warmup: f64,
    measured: f64,
    /// Of the drain, or of the last interval.
    end: f64,
}

impl Interval {
    fn end_s(&self) -> f64 {
        self.t_s + self.length_s
    }
}

/// A heading, a sentence about what is shown, and the rest.
fn section(title: &str, sentence: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p class=\"note\">{sentence}</p>\n{content}</section>\n")
}

fn figure(drawing: &str, caption: &str) -> String {
    format!("<figure>{drawing}<figcaption>{caption}</figcaption></figure>\n")
}

/// A table of names and what belongs to them; the names are ours, the values are HTML.
fn facts(rows: &[(&str, String)]) -> String {
    let mut text = "<table>\n".to_owned();
    for (name, value) in rows {
        let _ = writeln!(text, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    text + "</table>\n"
}

/// Text of others inside HTML, as content or in an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What XML cannot have at all; no terminal shows it either.
            '\0'..='\u{1f}' if !['\t', '\n', '\r'].contains(&next) => escaped.push('\u{fffd}'),
            _ => escaped.push(next),
        }
    }
    escaped
}

/// A round time on an axis, given in microseconds: `500 ns`, `20 µs`, `1 s`.
fn tick_time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 0.999 => (us * 1e3, "ns"),
        us if us < 999.0 => (us, "µs"),
        us if us < 999_000.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", (value * 1e3).round() / 1e3)
}

/// A round number on an axis.
fn tick_number(value: f64) -> String {
    if value.fract().abs() < 1e-9 { grouped(value.round() as u64) } else { format!("{value:.1}") }
}

/// Seconds on an axis.
fn tick_seconds(value: f64) -> String {
    let rounded = (value * 1e3).round() / 1e3;
    if rounded < 0.0 { format!("−{}", -rounded) } else { format!("{rounded}") }
}

#[cfg(test)]
pub(crate) mod tests;

/// Renders the page of one run.
pub(crate) fn render_one(report: &Report) -> String {
    render(std::slice::from_ref(report))
}
