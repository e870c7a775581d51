//! The conclusions: confidence, gates, and series of runs.

use std::fmt::Write as _;

use crate::base::figures::{grouped, time_us, value_text};
use crate::measure::student::Repeated;
use crate::report::model::Report;
use crate::report::model::conclusions::Threshold;
use crate::report::model::series::{FindMax, Rep};
use crate::report::text::lines;

/// Confidence intervals in the summary; the JSON report has all of them.
const CONFIDENCE_SHOWN: [&str; 2] = ["p50", "p99"];

/// The confidence intervals, or the reason why there are none.
pub(crate) fn confidence(report: &Report) -> String {
    let confidence = &report.confidence;
    if let Some(reason) = &confidence.missing {
        return format!("  no confidence intervals: {reason}\n");
    }
    let Some(main) = report.latency_us.main() else { return String::new() };
    let mut parts: Vec<String> = CONFIDENCE_SHOWN
        .iter()
        .filter_map(|name| Some((name, main.ci.get(*name)?)))
        .map(|(name, bounds)| format!("{name} {}", bounds_us(*bounds)))
        .collect();
    if let Some([low, high]) = report.load.achieved_rate_ci {
        let [low, high] = [low, high].map(|rate| grouped(rate.round() as u64));
        parts.push(format!("rate [{low}, {high}] msg/s"));
    }
    format!(
        "  95 % CI  {}   ({} × {} s block bootstrap)\n",
        parts.join("   "),
        confidence.blocks,
        confidence.block_s
    )
}

/// An interval with its unit, such as `[301, 339] µs`.
fn bounds_us([low, high]: [f64; 2]) -> String {
    let (low, high) = (time_us(low), time_us(high));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((low, low_unit)), Some((high, high_unit))) if low_unit == high_unit => {
            format!("[{low}, {high}] {high_unit}")
        }
        _ => format!("[{low}, {high}]"),
    }
}

pub(crate) fn reps(reps: &[Rep]) -> String {
    let mut text = String::new();
    for (index, rep) in reps.iter().enumerate() {
        let label = if index == 0 { "Runs" } else { "" };
        let rate = grouped(rep.achieved_rate.round() as u64);
        let _ = write!(text, "{label:<13}{rate}/s");
        for name in CONFIDENCE_SHOWN {
            if let Some(us) = rep.percentiles.get(name) {
                let _ = write!(text, "   {name} {}", time_us(*us));
            }
        }
        let _ = writeln!(text, "   errors {}", grouped(rep.errors + rep.timed_out));
    }
    let mut parts = Vec::new();
    for name in CONFIDENCE_SHOWN {
        let values: Vec<f64> =
            reps.iter().filter_map(|rep| rep.percentiles.get(name).copied()).collect();
        if let Some(repeated) = Repeated::of(&values) {
            // The interval may begin below zero, but a time is not negative.
            let bounds = bounds_us(repeated.interval().map(|bound| bound.max(0.0)));
            parts.push(format!("{name} {} {bounds}", time_us(repeated.mean)));
        }
    }
    let _ = writeln!(text, "  mean and 95 % CI from run to run: {}", parts.join("   "));
    text
}

pub(crate) fn find_max(found: &FindMax, exit_code: u8) -> String {
    let mut text = String::new();
    for (index, step) in found.steps.iter().enumerate() {
        let label = if index == 0 { "Find max" } else { "" };
        let _ = writeln!(text, "{label:<13}{}", lines::find_step(step).trim_start());
    }
    let slo = &found.slo;
    let _ = match found.rate {
        Some(rate) => {
            let why = match found.limited_by.as_str() {
                "interrupted" => " so far",
                "range" => ", the end of --find-range: the target may handle more",
                "generator" => {
                    ": the generator was saturated above it, and the target may handle more"
                }
                _ => "",
            };
            writeln!(text, "{}/s is the highest rate with {slo}{why}", grouped(rate as u64))
        }
        None if found.limited_by == "interrupted" => {
            writeln!(text, "no tried rate met {slo} so far")
        }
        None if found.limited_by == "generator" => writeln!(
            text,
            "the generator was saturated at the lowest rate: the target was not measured (exit \
             {exit_code})"
        ),
        None => writeln!(text, "no rate of --find-range meets {slo} (exit {exit_code})"),
    };
    text
}

pub(crate) fn thresholds(rows: &[Threshold], exit_code: u8) -> String {
    let expr_width = rows.iter().map(|row| row.expr.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let label = if index == 0 { "Thresholds" } else { "" };
        let verdict = if row.ok { "ok" } else { "FAIL" };
        let value =
            row.value.map_or_else(|| "no such figure".to_owned(), |v| value_text(v, &row.unit));
        let _ = writeln!(text, "{label:<13}{verdict:<6}{:<expr_width$}   {value}", row.expr);
    }
    let failed = rows.iter().filter(|row| !row.ok).count();
    if failed > 0 {
        let _ = writeln!(text, "{failed} of {} thresholds failed (exit {exit_code})", rows.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::model::conclusions::Confidence;
    use crate::report::model::generator::GeneratorVerdict;
    use crate::report::model::series::FindStep;

    /// Goal: the line of confidence intervals shows its figures in the best unit, or the reason why
    /// there are none.
    ///
    /// Method: bounds of one unit and of two; a run that is too short.
    ///
    /// Kills: one unit for two bounds; an empty line.
    #[test]
    fn confidence_is_shown_in_the_best_unit() {
        assert_eq!(bounds_us([301.2, 339.4]), "[301, 339] µs");
        assert_eq!(bounds_us([950.0, 1_100.0]), "[950 µs, 1.10 ms]");
        let mut report = fixture::report(&[100, 200]);
        report.confidence = Confidence { blocks: 30, block_s: 1.0, missing: None };
        report.load.achieved_rate_ci = Some([49_000.4, 51_000.0]);
        let service = report.latency_us.service.as_mut().unwrap();
        service.ci.insert("p50".into(), [90.0, 110.0]);
        service.ci.insert("p99".into(), [301.2, 1_500.0]);
        assert_eq!(
            confidence(&report),
            "  95 % CI  p50 [90.0, 110] µs   p99 [301 µs, 1.50 ms]   rate [49 000, 51 000] msg/s   \
             (30 × 1 s block bootstrap)\n"
        );
        report.confidence.missing = Some("1 interval was measured".into());
        let line = "  no confidence intervals: 1 interval was measured\n";
        assert_eq!(confidence(&report), line);
    }

    /// Goal: a gate's row shows the verdict and the value in the unit of its figure, and the
    /// section shows how many gates failed.
    ///
    /// Method: a row of each unit, one of them failed, one without a value; then no failed row.
    ///
    /// Kills: a share rounded to its limit; a verdict of the wrong row; a count of the passed rows.
    #[test]
    fn gates_show_their_values() {
        let row = |expr: &str, value, unit: &str, ok| Threshold {
            expr: expr.to_owned(),
            value,
            unit: unit.to_owned(),
            ok,
        };
        let rows = [
            row("p(99)<1ms", Some(318.2), "us", true),
            row("errors rate<0.1%", Some(0.1004), "%", false),
            row("rate>=49k", Some(49_998.4), "msg/s", true),
            row("errors rate<1%", Some(0.0), "%", true),
            row("response max<1s", None, "us", false),
        ];
        assert_eq!(
            thresholds(&rows, 99),
            "Thresholds   ok    p(99)<1ms          318 µs\n             \
             FAIL  errors rate<0.1%   0.1004 %\n             \
             ok    rate>=49k          49 998 msg/s\n             \
             ok    errors rate<1%     0 %\n             \
             FAIL  response max<1s    no such figure\n\
             2 of 5 thresholds failed (exit 99)\n"
        );
        assert!(!thresholds(&rows[..1], 0).contains("failed"));
    }

    /// Goal: the runs of a series are listed, with their mean and confidence interval.
    ///
    /// Method: three runs with known figures, one of them without percentiles.
    ///
    /// Kills: the mean of another percentile; a negative time; timeouts that do not count as
    /// errors.
    #[test]
    fn runs_are_listed_with_their_mean() {
        let rep = |p99: Option<f64>| Rep {
            started_at: String::new(),
            achieved_rate: 1_234.4,
            percentiles: p99.map(|us| ("p99".to_owned(), us)).into_iter().collect(),
            completed: 9,
            errors: 1,
            timed_out: 2,
            never_sent: 0,
            verdict: GeneratorVerdict::Healthy,
            server_cpu_us_per_message: None,
        };
        assert_eq!(
            reps(&[rep(Some(10.0)), rep(Some(14.0)), rep(None)]),
            "Runs         1 234/s   p99 10.0 µs   errors 3\n             \
             1 234/s   p99 14.0 µs   errors 3\n             \
             1 234/s   errors 3\n  \
             mean and 95 % CI from run to run: p99 12.0 µs [0 ns, 37.4 µs]\n"
        );
    }

    /// Goal: the text of a search shows the rate and what limited it.
    ///
    /// Method: searches limited by the SLO, by the generator and by the range, one without a rate,
    /// and two interrupted ones.
    ///
    /// Kills: the generator's limit attributed to the target; a rate where there is none.
    #[test]
    fn searches_end_with_a_sentence() {
        let found = |rate, limited_by: &str| FindMax {
            slo: "p(99)<1ms".to_owned(),
            rate,
            limited_by: limited_by.to_owned(),
            steps: vec![FindStep {
                rate: 20_000.0,
                achieved_rate: 19_998.2,
                value: Some(318.0),
                unit: "us".to_owned(),
                generator: GeneratorVerdict::Saturated,
                ok: true,
                tries: 1,
            }],
        };
        let text = find_max(&found(Some(20_000.0), "slo"), 0);
        assert_eq!(
            text,
            "Find max     20 000/s  ok    achieved     19 998/s   318 µs   generator SATURATED\n\
             20 000/s is the highest rate with p(99)<1ms\n"
        );
        for (rate, limited_by, expected) in [
            (Some(5.0), "range", "the end of --find-range: the target may handle more"),
            (Some(5.0), "generator", "saturated above it, and the target may handle more"),
            (None, "slo", "no rate of --find-range meets p(99)<1ms (exit 99)"),
            (Some(5.0), "interrupted", "5/s is the highest rate with p(99)<1ms so far"),
            (None, "generator", "the target was not measured (exit 99)"),
            (None, "interrupted", "no tried rate met p(99)<1ms so far"),
        ] {
            let text = find_max(&found(rate, limited_by), 99);
            assert!(text.contains(expected), "{text}");
        }
    }
}
