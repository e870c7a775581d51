//! Parts that all sections of a page use: the report with its JSON, tables, ticks.

use std::fmt::Write as _;

use serde_json::Value;

use crate::base::figures::{self, grouped, time_us};
use crate::report::model::Report;
use crate::report::model::interval::Interval;

/// A report with its JSON, from which the figures are read.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) report: &'a Report,
    pub(crate) json: Value,
}

impl<'a> Page<'a> {
    pub(crate) fn new(report: &'a Report) -> Page<'a> {
        Page { report, json: serde_json::to_value(report).expect("all keys are strings") }
    }

    /// Name of the run, or else the URL of the target.
    pub(crate) fn title(&self) -> String {
        self.report.name.clone().unwrap_or_else(|| self.report.target.url.clone())
    }

    /// The figure at `place` (a JSON pointer), formatted by `show` and marked with its pointer and
    /// its exact value. A dash if the run does not have it.
    pub(crate) fn figure(&self, place: &str, show: impl Fn(f64) -> String) -> String {
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

    pub(crate) fn count(&self, place: &str) -> String {
        self.figure(place, |value| grouped(value as u64))
    }

    pub(crate) fn time(&self, place: &str) -> String {
        self.figure(place, time_us)
    }

    pub(crate) fn percent(&self, place: &str) -> String {
        self.figure(place, |value| format!("{value:.1} %"))
    }

    pub(crate) fn bytes(&self, place: &str) -> String {
        self.figure(place, |value| figures::bytes(value as u64))
    }

    pub(crate) fn seconds(&self, place: &str) -> String {
        self.figure(place, figures::seconds)
    }

    /// A figure per second.
    pub(crate) fn rate(&self, place: &str) -> String {
        self.figure(place, |value| format!("{}/s", grouped(value.round() as u64)))
    }

    /// The lengths of the phases, from the start of the ramp to the end of the drain.
    pub(crate) fn span(&self) -> Span {
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

/// Lengths of the phases in seconds; zero is the start of the measured window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) ramp: f64,
    pub(crate) warmup: f64,
    pub(crate) measured: f64,
    /// End of the drain, or of the last interval.
    pub(crate) end: f64,
}

/// A section: a heading, a sentence about its content, and the content.
pub(crate) fn section(title: &str, sentence: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p class=\"note\">{sentence}</p>\n{content}</section>\n")
}

pub(crate) fn figure(drawing: &str, caption: &str) -> String {
    format!("<figure>{drawing}<figcaption>{caption}</figcaption></figure>\n")
}

/// A table of names and values. The values are HTML.
pub(crate) fn facts(rows: &[(&str, String)]) -> String {
    let mut text = "<table>\n".to_owned();
    for (name, value) in rows {
        let _ = writeln!(text, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    text + "</table>\n"
}

/// Escapes a text for HTML, as content or in an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML does not allow control characters.
            '\0'..='\u{1f}' if !['\t', '\n', '\r'].contains(&next) => escaped.push('\u{fffd}'),
            _ => escaped.push(next),
        }
    }
    escaped
}

/// A round time on an axis, given in microseconds: `500 ns`, `20 µs`, `1 s`.
pub(crate) fn tick_time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 0.999 => (us * 1e3, "ns"),
        us if us < 999.0 => (us, "µs"),
        us if us < 999_000.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", (value * 1e3).round() / 1e3)
}

/// A round number on an axis.
pub(crate) fn tick_number(value: f64) -> String {
    if value.fract().abs() < 1e-9 { grouped(value.round() as u64) } else { format!("{value:.1}") }
}

/// Seconds on an axis.
pub(crate) fn tick_seconds(value: f64) -> String {
    let rounded = (value * 1e3).round() / 1e3;
    if rounded < 0.0 { format!("−{}", -rounded) } else { format!("{rounded}") }
}
