//! The sections about gates, environment and settings, the command of the run, and the embedded
//! report.

use std::fmt::Write as _;

use serde_json::Value;

use crate::base::figures::value_text;
use crate::report::html::page::{Page, escape, facts, section};

pub(crate) fn panel(page: &Page<'_>) -> String {
    [thresholds(page), environment(page), repeat(page)].concat()
}

fn thresholds(page: &Page<'_>) -> String {
    let thresholds = &page.report.thresholds;
    if thresholds.is_empty() {
        return String::new();
    }
    let mut rows =
        "<table>\n<tr><th></th><th>gate</th><th class=\"n\">value</th></tr>\n".to_owned();
    for (index, threshold) in thresholds.iter().enumerate() {
        let (class, word) = if threshold.ok { ("good", "ok") } else { ("bad", "FAILED") };
        let place = format!("/thresholds/{index}/value");
        let value = page.figure(&place, |value| value_text(value, &threshold.unit));
        let _ = writeln!(
            rows,
            "<tr><td class=\"{class}\">{word}</td><td>{}</td><td class=\"n\">{value}</td></tr>",
            escape(&threshold.expr)
        );
    }
    section(
        "Gates",
        "A gate without a value has failed, because the run has no such figure.",
        &(rows + "</table>\n"),
    )
}

fn environment(page: &Page<'_>) -> String {
    let report = page.report;
    let text = |value: &Option<String>| escape(value.as_deref().unwrap_or("unknown"));
    let phases: Vec<String> = (0..report.phases.len())
        .map(|index| {
            let seconds = page.seconds(&format!("/phases/{index}/seconds"));
            format!("{} {seconds}", escape(&report.phases[index].name))
        })
        .collect();
    let rows = [
        ("target", format!("{} ({})", escape(&report.target.url), escape(&report.target.address))),
        ("kernel", text(&report.env.kernel)),
        ("processor", format!("{}, cores: {}", text(&report.env.cpu), page.count("/env/cores"))),
        (
            "descriptors",
            format!(
                "{} of {}",
                page.count("/env/limits/files_needed"),
                page.count("/env/limits/files_limit")
            ),
        ),
        (
            "ports",
            match report.target.is_unix() {
                true => "none: a Unix socket".to_owned(),
                false => format!(
                    "{} of {}",
                    page.count("/env/limits/ports_needed"),
                    page.count("/env/limits/ports_available")
                ),
            },
        ),
        ("phases", phases.join(", ")),
        ("started", escape(&report.started_at)),
        ("program", format!("{} {}", escape(&report.tool.name), escape(&report.tool.version))),
    ];
    section("Environment", "Machine and phases of the run.", &(facts(&rows) + &settings(page)))
}

/// Every setting, by its JSON name.
fn settings(page: &Page<'_>) -> String {
    let mut text = "<details><summary>every setting</summary>\n<table>\n".to_owned();
    let settings = page.json["config"].as_object().into_iter().flatten();
    for (name, value) in settings {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null => "–".to_owned(),
            other => other.to_string(),
        };
        let _ = writeln!(text, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&value));
    }
    text + "</table></details>\n"
}

fn repeat(page: &Page<'_>) -> String {
    let words: Vec<String> = page.report.command.iter().map(|word| quoted(word)).collect();
    let mut content = format!("<pre>{}</pre>\n", escape(&words.join(" ")));
    content += "<details><summary>the whole report as JSON</summary>\n<pre>";
    // Without the histograms, which are most of the text; the data below contains them.
    let mut shown = page.json.clone();
    without_histograms(&mut shown);
    let pretty = serde_json::to_string_pretty(&shown).expect("all keys are strings");
    let _ = write!(content, "{}</pre>\n</details>\n", escape(&pretty));
    // In a string these are escapes of JSON; outside of strings the characters do not occur.
    let data = page.json.to_string();
    let data = data.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let _ = writeln!(content, "<script type=\"application/json\" class=\"report\">{data}</script>");
    let sentence = "The command of this run. The file also contains the report with its \
                    histograms as data for programs.";
    section("Repeat", sentence, &content)
}

fn without_histograms(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("hdr_v2");
            fields.values_mut().for_each(without_histograms);
        }
        Value::Array(items) => items.iter_mut().for_each(without_histograms),
        _ => {}
    }
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
