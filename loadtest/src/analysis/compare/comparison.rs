//! Compares the figures of two runs.

use crate::analysis::compare::metric::{self, ComparedRun, METRICS, Metric};
use crate::analysis::compare::same;
use crate::report::model::Report;
use crate::report::model::comparison::{ChangeVerdict, Comparison, Row};

/// Compares two runs.
pub(crate) fn compare(base: &Report, new: &Report) -> Comparison {
    let (before, after) = (ComparedRun::new(base, 0), ComparedRun::new(new, 1));
    let incomparable = same::incomparable(base, new);
    let rows = METRICS
        .iter()
        .filter(|metric| metric.is_compared([&before, &after]))
        .map(|metric| row(metric, &before, &after, !incomparable.is_empty()))
        .collect();
    Comparison {
        rows,
        basis: metric::basis(&before, &after),
        differences: same::differences(base, new),
        incomparable,
    }
}

fn row(metric: &Metric, before: &ComparedRun, after: &ComparedRun, is_incomparable: bool) -> Row {
    let (base, new) = (before.value(metric), after.value(metric));
    let change_percent = match (base, new) {
        (Some(base), Some(new)) if base > 0.0 => Some((new / base - 1.0) * 100.0),
        _ => None,
    };
    let change_ci = metric::change(metric, before, after);
    let verdict = match change_ci {
        _ if is_incomparable => ChangeVerdict::Incomparable,
        None => ChangeVerdict::Unknown,
        Some([low, high]) if low <= 0.0 && high >= 0.0 => ChangeVerdict::NotSignificant,
        Some([low, _]) if (low > 0.0) == metric.more_is_better => ChangeVerdict::Faster,
        Some(_) => ChangeVerdict::Slower,
    };
    Row {
        metric: metric.name.to_owned(),
        base,
        base_ci: before.interval(metric),
        new,
        new_ci: after.interval(metric),
        change_percent,
        change_ci,
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::compare::regression::{RegressionLimit, breaches};
    use crate::report::fixture;
    use crate::report::model::series::Rep;

    /// A run of ten seconds around a level, with differences from second to second.
    fn run(level_us: u64) -> Report {
        let wave = [0, 4, 9, 2, 7, 1, 8, 3, 6, 5];
        fixture::with_intervals(&wave.map(|step| level_us * (100 + step) / 100))
    }

    fn verdicts(base: &Report, new: &Report) -> Vec<(String, ChangeVerdict)> {
        let rows = compare(base, new).rows;
        rows.into_iter().map(|row| (row.metric, row.verdict)).collect()
    }

    /// Goal: a difference is significant only if it is larger than the noise, and its direction is
    /// right.
    ///
    /// Method: compare a level with itself, with levels of 20 % more and less, and with 1 % more,
    /// while seconds differ by up to 9 %.
    ///
    /// Kills: a verdict for every difference; faster and slower swapped; nanoseconds for
    /// microseconds on one side.
    #[test]
    fn verdicts_follow_the_intervals() {
        for (level, expected) in [
            (1_000, ChangeVerdict::NotSignificant),
            (1_010, ChangeVerdict::NotSignificant),
            (1_200, ChangeVerdict::Slower),
            (800, ChangeVerdict::Faster),
        ] {
            for (metric, verdict) in verdicts(&run(1_000), &run(level)) {
                let expected =
                    if metric == "rate" { ChangeVerdict::NotSignificant } else { expected };
                assert_eq!(verdict, expected, "{metric} at {level}");
            }
        }
        let rows = compare(&run(1_000), &run(1_200)).rows;
        let [p50, p999] = [&rows[1], &rows[4]];
        assert_eq!((p50.metric.as_str(), p999.metric.as_str()), ("p50", "p99.9"));
        assert!((p50.change_percent.unwrap() - 20.0).abs() < 0.5, "{p50:?}");
        let [low, high] = p50.change_ci.unwrap();
        assert!(10.0 < low && low < 20.0 && 20.0 < high && high < 30.0, "{low} {high}");
        let [low, high] = p50.new_ci.unwrap();
        assert!(1_150.0 < low && high < 1_350.0, "{low} {high}");
        assert!((p999.base.unwrap() / 2_100.0 - 1.0).abs() < 0.05, "{p999:?}");
    }

    /// Goal: a higher rate is better.
    ///
    /// Method: repeated runs with different rates and equal latencies.
    ///
    /// Kills: comparing a rate like a latency.
    #[test]
    fn more_rate_is_faster() {
        let slow = with_reps(run(1_000), &[100.0, 101.0, 102.0], &[9.0, 9.0, 9.0]);
        let fast = with_reps(run(1_000), &[200.0, 201.0, 202.0], &[9.0, 9.0, 9.0]);
        assert_eq!(verdicts(&slow, &fast)[0], ("rate".to_owned(), ChangeVerdict::Faster));
        assert_eq!(verdicts(&fast, &slow)[0], ("rate".to_owned(), ChangeVerdict::Slower));
    }

    /// Goal: the server's processor time per message is compared, and less is better. Without a
    /// server there is no such row, and a limit on it is breached.
    ///
    /// Method: single runs, which have one figure each and so no interval; repeated runs; runs
    /// without server figures.
    ///
    /// Kills: more processor time as the better figure; an interval of latencies for it; an empty
    /// row; a limit that passes without a figure.
    #[test]
    fn less_processor_time_of_the_server_is_better() {
        let with_server = |us: f64, reps: [f64; 3]| {
            let mut report = with_reps(run(1_000), &[100.0; 3], &[9.0; 3]);
            report.server = fixture::closed_loop().server;
            report.server.as_mut().unwrap().cpu_us_per_message = Some(us);
            for (rep, us) in report.reps.iter_mut().zip(reps) {
                rep.server_cpu_us_per_message = Some(us);
            }
            report
        };
        let limits = [RegressionLimit::parse("server-cpu=10%").unwrap()];
        let (base, new) = (with_server(7.0, [5.0, 5.1, 5.2]), with_server(7.0, [8.0, 8.1, 8.2]));
        let comparison = compare(&base, &new);
        let row = comparison.rows.last().unwrap();
        assert_eq!((row.metric.as_str(), row.verdict), ("server-cpu", ChangeVerdict::Slower));
        assert_eq!((row.base.unwrap() * 10.0).round(), 51.0);
        assert_eq!(breaches(&comparison, &limits).len(), 1);
        assert_eq!(breaches(&compare(&new, &base), &limits), [""; 0]);

        let single = |us| Report { reps: Vec::new(), ..with_server(us, [0.0; 3]) };
        let comparison = compare(&single(4.0), &single(5.0));
        let row = comparison.rows.last().unwrap();
        assert_eq!((row.change_percent, row.verdict), (Some(25.0), ChangeVerdict::Unknown));

        let comparison = compare(&run(1_000), &run(1_000));
        assert!(comparison.rows.iter().all(|row| row.metric != "server-cpu"));
        let lines = breaches(&comparison, &limits);
        assert_eq!(lines, ["server-cpu cannot be compared: a run has no such figure"]);
    }

    fn with_reps(mut report: Report, rates: &[f64], p99s: &[f64]) -> Report {
        let rep = |(rate, p99): (&f64, &f64)| Rep {
            started_at: String::new(),
            achieved_rate: *rate,
            percentiles: [("p99".to_owned(), *p99)].into(),
            completed: 1,
            errors: 0,
            timed_out: 0,
            never_sent: 0,
            verdict: crate::report::model::generator::GeneratorVerdict::Healthy,
            server_cpu_us_per_message: None,
        };
        report.reps = rates.iter().zip(p99s).map(rep).collect();
        report
    }

    /// Goal: the spread of repeated runs decides, not the spread of seconds within a run.
    ///
    /// Method: two levels that differ clearly by seconds, with repetitions that vary more than the
    /// levels; then repetitions that vary less.
    ///
    /// Kills: the intervals of one run in place of several; a mean of the wrong figures.
    #[test]
    fn the_spread_of_repetitions_decides() {
        let rates = [100.0; 3];
        let base = with_reps(run(1_000), &rates, &[1_000.0, 3_000.0, 2_000.0]);
        let new = with_reps(run(1_500), &rates, &[1_500.0, 3_500.0, 2_500.0]);
        let comparison = compare(&base, &new);
        assert!(comparison.basis.contains("3 and 3 runs"), "{}", comparison.basis);
        let p99 = &comparison.rows[3];
        assert_eq!((p99.base, p99.new), (Some(2_000.0), Some(2_500.0)));
        assert_eq!(p99.verdict, ChangeVerdict::NotSignificant);
        let base = with_reps(run(1_000), &rates, &[2_000.0, 2_001.0, 2_002.0]);
        let new = with_reps(run(1_000), &rates, &[2_500.0, 2_501.0, 2_502.0]);
        let p99 = &compare(&base, &new).rows[3];
        assert_eq!(p99.verdict, ChangeVerdict::Slower);
        let [low, high] = p99.change_ci.unwrap();
        assert!(24.0 < low && low < 25.0 && 25.0 < high && high < 26.0, "{low} {high}");
    }

    /// Goal: runs with too few intervals have figures and no verdict.
    ///
    /// Method: four intervals; none; a missing figure.
    ///
    /// Kills: a verdict on noise; a panic at an edited report.
    #[test]
    fn without_intervals_there_is_no_verdict() {
        let short = fixture::with_intervals(&[100; 4]);
        let mut edited = fixture::report(&[100; 50]);
        edited.latency_us.service.as_mut().unwrap().percentiles.clear();
        for base in [&short, &edited] {
            let comparison = compare(base, &run(1_000));
            assert!(comparison.rows.iter().all(|row| row.verdict == ChangeVerdict::Unknown));
            assert!(comparison.basis.starts_with("no confidence intervals"));
        }
        let row = &compare(&short, &run(200)).rows[1];
        assert!((row.change_percent.unwrap() - 109.0).abs() < 5.0, "{row:?}");
    }

    /// Goal: runs with different loads or a saturated generator have no verdict, and the comparison
    /// has the reason.
    ///
    /// Method: one change at a time.
    ///
    /// Kills: comparing 50 connections with 10 000; trusting a saturated generator; a silent
    /// difference.
    #[test]
    fn incomparable_runs_have_the_reason() {
        type Change = (fn(&mut Report), &'static str);
        let changes: [Change; 10] = [
            (|run| run.config.connections = 9, "connections 10 and 9"),
            (|run| run.config.message_bytes = 65, "message size 64 and 65"),
            (
                |run| run.config.nodelay = false,
                "sockets nodelay true, rcvbuf default, sndbuf default and nodelay false",
            ),
            (
                |run| run.config.sndbuf_bytes = Some(9),
                "sndbuf default and nodelay true, rcvbuf default, sndbuf 9",
            ),
            (|run| run.config.rate = Some("7".into()), "rate none and 7"),
            (|run| run.config.pipeline = 2, "pipeline 1 and 2"),
            (|run| run.config.requests_per_conn = Some(3), "churn"),
            (
                |run| {
                    run.generator.verdict =
                        crate::report::model::generator::GeneratorVerdict::Saturated
                },
                "new describe the client",
            ),
            (|run| run.env.kernel = Some("6.1".into()), "kernel: 6.18.0 and 6.1"),
            (|run| run.env.cores = None, "cores: 2 and none"),
        ];
        for (change, expected) in changes {
            let mut new = fixture::report(&[2_000; 50]);
            change(&mut new);
            let comparison = compare(&fixture::report(&[1_000; 50]), &new);
            assert!(comparison.rows.iter().all(|row| row.verdict == ChangeVerdict::Incomparable));
            let [reason] = &comparison.incomparable[..] else { panic!("{comparison:?}") };
            assert!(reason.contains(expected), "{reason}");
        }
        let mut new = fixture::report(&[1_000; 50]);
        new.config.duration_s = 20.0;
        new.load.timed_out = 3;
        let (expr, unit) = ("timeouts count<3".to_owned(), "messages".to_owned());
        new.aborted =
            Some(crate::report::model::early_end::Aborted { expr, value: 3.0, unit, at_s: 7.5 });
        let comparison = compare(&fixture::report(&[1_000; 50]), &new);
        assert_eq!(comparison.incomparable, [""; 0]);
        assert_eq!(
            comparison.differences,
            [
                "duration: 10 s and 20 s",
                "aborted: no and by timeouts count<3 after 7.5 s",
                "messages without a reply: 0 and 3"
            ]
        );
    }

    /// Goal: a limit is breached by a larger change for the worse, unless the change is noise.
    ///
    /// Method: handmade rows: within and beyond the limit, better and worse, significant and not.
    ///
    /// Kills: a limit on changes for the better; a limit that noise breaches; passing runs that
    /// cannot be compared.
    #[test]
    fn a_significant_regression_breaches_its_limit() {
        let same = compare(&fixture::report(&[100; 50]), &fixture::report(&[100; 50]));
        let judged = |metric: &str, change, verdict| {
            let mut comparison = same.clone();
            let row = comparison.rows.iter_mut().find(|row| row.metric == metric).unwrap();
            (row.change_percent, row.verdict) = (change, verdict);
            let limits = ["p99=10%", "rate=5%"].map(|text| RegressionLimit::parse(text).unwrap());
            breaches(&comparison, &limits)
        };
        for (metric, change, verdict, expected) in [
            ("p99", Some(10.5), ChangeVerdict::Slower, "p99 is 10.5 % worse, at most 10 % allowed"),
            ("p99", Some(10.5), ChangeVerdict::Unknown, "p99 is 10.5 % worse"),
            ("p99", Some(0.0), ChangeVerdict::Incomparable, "p99 cannot be compared"),
            ("p99", None, ChangeVerdict::Unknown, "p99 cannot be compared"),
            ("rate", Some(-5.5), ChangeVerdict::Slower, "rate is 5.5 % worse, at most 5 % allowed"),
        ] {
            let lines = judged(metric, change, verdict);
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
        }
        for (metric, change, verdict) in [
            ("p99", 9.5, ChangeVerdict::Slower),
            ("p99", 50.0, ChangeVerdict::NotSignificant),
            ("p99", -50.0, ChangeVerdict::Faster),
            ("p50", 50.0, ChangeVerdict::Slower),
            ("rate", 50.0, ChangeVerdict::Faster),
        ] {
            assert_eq!(judged(metric, Some(change), verdict), [""; 0], "{metric} {change}");
        }
        for (text, expected) in [
            ("p99", "has no limit"),
            ("p98=10%", "'p98' is not compared: use one of rate, p50"),
            ("p99=10", "did you mean 10%?"),
            ("p99=-1%", "'-1%' is not a percentage"),
            ("p99=ten%", "'ten%' is not a percentage"),
        ] {
            assert!(RegressionLimit::parse(text).unwrap_err().contains(expected), "{text}");
        }
    }
}
