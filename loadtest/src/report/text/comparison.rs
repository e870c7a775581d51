//! Comparisons as tables.

use crate::base::figures::{grouped, time_us};
use crate::report::model::comparison::Baseline;
use crate::report::model::comparison::{
    ChangeVerdict, ComparedWithBase, Comparison, ComparisonReport, Row,
};

/// All comparisons with a base, and why the command fails if it does.
pub(crate) fn render(report: &ComparisonReport) -> String {
    let mut sections: Vec<String> =
        report.compared.iter().map(|one| section(&report.base, one)).collect();
    if report.interrupted {
        sections.push(format!("interrupted (exit {})\n", report.exit_code));
    }
    sections.join("\n")
}

fn section(base: &str, one: &ComparedWithBase) -> String {
    let ComparedWithBase { new, comparison, breaches } = one;
    let table = table(comparison, [base, new]);
    if breaches.is_empty() { table } else { format!("{table}\n{}", breach_lines(breaches)) }
}

/// The part of a run's report that compares the run with its baseline.
pub(super) fn baseline(baseline: &Baseline) -> String {
    let table = table(&baseline.comparison, [&baseline.file, "this run"]);
    if baseline.breaches.is_empty() { table } else { table + &breach_lines(&baseline.breaches) }
}

/// The figures of both runs in columns, and what limits their comparison.
pub(crate) fn table(comparison: &Comparison, [base, new]: [&str; 2]) -> String {
    let header = ["metric", "base", "new", "change", "verdict"].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        [header].into_iter().chain(comparison.rows.iter().map(cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3, 4].map(|column| width(column).unwrap_or_default());
    let mut text = format!("base  {base}\nnew   {new}\n\n");
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
        verdict(row.verdict).to_owned(),
    ]
}

fn verdict(verdict: ChangeVerdict) -> &'static str {
    match verdict {
        ChangeVerdict::Faster => "faster",
        ChangeVerdict::Slower => "slower",
        ChangeVerdict::NotSignificant => "not significant",
        ChangeVerdict::Incomparable => "incomparable",
        ChangeVerdict::Unknown => "no interval",
    }
}

fn breach_lines(breaches: &[String]) -> String {
    let lines: Vec<String> = breaches.iter().map(|line| format!("FAIL  {line}\n")).collect();
    format!("{}(exit 99)\n", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the table has every figure with its unit and bounds, in columns.
    ///
    /// Method: a comparison of known rows; the cell of a processor time.
    ///
    /// Kills: base and new exchanged; a reason that is not printed; a time without its unit.
    #[test]
    fn figures_are_in_columns_with_units_and_bounds() {
        let row = |metric: &str, base, new| Row {
            metric: metric.to_owned(),
            base,
            base_ci: None,
            new,
            new_ci: new.map(|value| [value - 1.0, value + 1.0]),
            change_percent: Some(-12.34),
            change_ci: Some([-20.0, 3.04]),
            verdict: ChangeVerdict::NotSignificant,
        };
        let comparison = Comparison {
            rows: vec![row("rate", Some(50_000.0), Some(49_000.0)), row("p99", Some(150.0), None)],
            basis: "from somewhere".to_owned(),
            incomparable: vec!["another moon".to_owned()],
            differences: vec!["tide: low and high".to_owned()],
        };
        assert_eq!(
            table(&comparison, ["a.json", "b.json"]),
            "base  a.json\nnew   b.json\n\n\
             metric   base       new                             change                  verdict\n\
             rate     50 000/s   49 000/s [48 999/s, 49 001/s]   -12.3 % [-20.0, +3.0]   \
             not significant\n\
             p99      150 µs     none                            -12.3 % [-20.0, +3.0]   \
             not significant\n\
             from somewhere\nincomparable: another moon\nnot the same: tide: low and high\n"
        );
        assert_eq!(cells(&row("server-cpu", Some(4.0), None))[1], "4.00 µs");
    }
}
