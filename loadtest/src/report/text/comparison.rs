//! A comparison as a table.

use crate::base::figures::{grouped, time_us};
use crate::report::model::comparison::{ChangeVerdict, Comparison, Row};
use crate::report::model::verdicts::Baseline;

pub(crate) fn render(comparison: &Comparison, names: &[String; 2]) -> String {
    let header = ["metric", "base", "new", "change", "verdict"].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        [header].into_iter().chain(comparison.rows.iter().map(cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3, 4].map(|column| width(column).unwrap_or_default());
    let mut text = format!("base  {}\nnew   {}\n\n", names[0], names[1]);
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("   ").trim_end();
        text.push('\n');
    }
    text += &format!("{}\n", comparison.basis);
    for reason in &comparison.incomparable {
        text += &format!("incomparable: {reason}\n");
    }
    for difference in &comparison.differences {
        text += &format!("not the same: {difference}\n");
    }
    text
}

fn cells(row: &Row) -> [String; 5] {
    let show = |value: f64| match row.metric.as_str() {
        "rate" => format!("{}/s", grouped(value.max(0.0).round() as u64)),
        _ => time_us(value.max(0.0)),
    };
    let with_bounds = |value: Option<f64>, bounds: Option<[f64; 2]>| match (value, bounds) {
        (None, _) => "none".to_owned(),
        (Some(value), None) => show(value),
        (Some(value), Some([low, high])) => {
            format!("{} [{}, {}]", show(value), show(low), show(high))
        }
    };
    let change = match (row.change_percent, row.change_ci) {
        (None, _) => String::new(),
        (Some(change), None) => format!("{change:+.1} %"),
        (Some(change), Some([low, high])) => format!("{change:+.1} % [{low:+.1}, {high:+.1}]"),
    };
    [
        row.metric.clone(),
        with_bounds(row.base, row.base_ci),
        with_bounds(row.new, row.new_ci),
        change,
        row.verdict.describe().to_owned(),
    ]
}

impl ChangeVerdict {
    fn describe(self) -> &'static str {
        match self {
            ChangeVerdict::Faster => "faster",
            ChangeVerdict::Slower => "slower",
            ChangeVerdict::NotSignificant => "not significant",
            ChangeVerdict::Incomparable => "incomparable",
            ChangeVerdict::Unknown => "no interval",
        }
    }
}

/// The baseline's part of a report.
pub(crate) fn baseline_text(baseline: &Baseline) -> String {
    let mut text = render(&baseline.comparison, &[baseline.file.clone(), "this run".to_owned()]);
    if !baseline.breaches.is_empty() {
        text += &breaches_text(&baseline.breaches);
    }
    text
}

pub(crate) fn breaches_text(breaches: &[String]) -> String {
    let lines: Vec<String> = breaches.iter().map(|line| format!("FAIL  {line}\n")).collect();
    format!("{}(exit 99)\n", lines.concat())
}
