//! `--reps`: repetitions of a run.

use crate::analysis::gates::apply_gates;
use crate::base::exit::{Error, Exit};
use crate::base::figures::{grouped, time_us};
use crate::base::print::to_stderr;
use crate::host::signals;
use crate::plan::gate::Gate;
use crate::report::model::Report;
use crate::report::model::series::Rep;
use crate::report::text::lines;
use crate::series::{Runner, own_command, own_options};

/// Runs `count` times and checks `gates` on the combined report.
pub(crate) fn run(count: u32, gates: &[Gate]) -> Result<Report, Error> {
    let runner = Runner::new(own_options())?;
    let mut reports = Vec::new();
    let mut stopped = None;
    for number in 1..=count {
        let report = match runner.once(&[]) {
            Err(_) if runner.interrupted().is_some() && number > 1 => break,
            // The earlier runs are still reported.
            Err(error) if number > 1 => {
                stopped = Some((number, error));
                break;
            }
            report => report?,
        };
        if lines::unreachable(&report).is_none() {
            to_stderr(format_args!("run {number} of {count}: {}", line(&report)));
        }
        let is_last = report.exit_code != Exit::Ok.code() || runner.interrupted().is_some();
        reports.push(report);
        if is_last {
            break;
        }
    }
    let mut report = combine(reports);
    report.command = own_command();
    if let Some(signal) = runner.interrupted() {
        report.interrupted = true;
        report.exit_code = signals::exit_of(signal).code();
    }
    apply_gates(gates, &mut report);
    if let Some((number, error)) = stopped {
        report.notes.push(format!("run {number} of {count} failed: {error}"));
        report.exit_code = error.exit.code();
        to_stderr(format_args!("loadtest: run {number} of {count}: {error}"));
    }
    Ok(report)
}

/// The main figures of a run, in one line.
pub(super) fn line(report: &Report) -> String {
    let mut text = format!("{}/s", grouped(report.load.achieved_rate.round() as u64));
    if let Some((_, latency)) = report.headline() {
        for name in ["p50", "p99"] {
            if let Some(us) = latency.percentiles.get(name) {
                text += &format!("   {name} {}", time_us(*us));
            }
        }
    }
    let load = &report.load;
    let failed = load.errors.total + load.timed_out;
    if failed > 0 {
        text += &format!("   {} errors", grouped(failed));
    }
    text
}

/// Combines the reports: the report of the median run, which is robust to single disturbances, with
/// the figures of all runs. If a run failed, its report is used instead.
pub(super) fn combine(mut reports: Vec<Report>) -> Report {
    assert!(!reports.is_empty(), "there is at least one run");
    let reps: Vec<Rep> = reports.iter().map(Rep::of).collect();
    let count = reports.len();
    let failed = reports.iter().position(|report| report.exit_code != Exit::Ok.code());
    let (shown, why) = match failed {
        Some(failed) => (failed, "which failed"),
        None => (median(&reps), "the median by p99"),
    };
    let mut report = reports.swap_remove(shown);
    if count > 1 {
        report
            .notes
            .push(format!("{count} runs; the figures above are those of run {}, {why}", shown + 1));
        report.reps = reps;
    }
    report
}

/// The index of the run whose p99 is the median.
fn median(reps: &[Rep]) -> usize {
    let p99 = |place: &usize| reps[*place].percentiles.get("p99").copied().unwrap_or(f64::MAX);
    let mut places: Vec<usize> = (0..reps.len()).collect();
    places.sort_by(|a, b| p99(a).total_cmp(&p99(b)));
    places[(places.len() - 1) / 2]
}

impl Rep {
    fn of(report: &Report) -> Rep {
        let load = &report.load;
        let percentiles = report.headline().map(|(_, latency)| latency.percentiles.clone());
        Rep {
            started_at: report.started_at.clone(),
            achieved_rate: load.achieved_rate,
            percentiles: percentiles.unwrap_or_default(),
            completed: load.completed,
            errors: load.errors.total,
            timed_out: load.timed_out,
            never_sent: load.never_sent,
            verdict: report.generator.verdict,
            server_cpu_us_per_message: report
                .server
                .as_ref()
                .and_then(|server| server.cpu_us_per_message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Goal: the median run is shown, and every run is listed in order.
    ///
    /// Method: runs of five, then four levels out of order.
    ///
    /// Kills: showing the best, the first or the last run; rows in the order of their p99.
    #[test]
    fn the_median_run_is_shown() {
        let runs = |levels: &[u64]| {
            combine(levels.iter().map(|level| fixture::report(&[*level; 10])).collect())
        };
        let p99s = |report: &Report| -> Vec<f64> {
            report.reps.iter().map(|rep| rep.percentiles["p99"].round()).collect()
        };
        let five = runs(&[50, 10, 30, 20, 40]);
        assert_eq!(five.headline().unwrap().1.max.round(), 30.0);
        assert_eq!(p99s(&five), [50.0, 10.0, 30.0, 20.0, 40.0]);
        assert!(
            five.notes.last().unwrap().contains("5 runs; the figures above are those of run 3")
        );
        assert_eq!(runs(&[40, 20, 30, 10]).headline().unwrap().1.max.round(), 20.0);
        let one = runs(&[7]);
        assert_eq!((one.reps.len(), one.notes.len()), (0, 0));
    }

    /// Goal: a failed run is shown, even if the median run succeeded.
    ///
    /// Method: the third of three runs fails.
    ///
    /// Kills: exit 0 because the median run succeeded; a note that calls the failed run the median.
    #[test]
    fn a_failed_run_is_shown() {
        let mut runs = [10, 20, 30].map(|level| fixture::report(&[level; 10]));
        runs[2].exit_code = Exit::Unreachable.code();
        let report = combine(runs.into());
        assert_eq!(report.exit_code, Exit::Unreachable.code());
        assert_eq!(report.reps.len(), 3);
        let note = report.notes.last().unwrap();
        assert!(note.ends_with("those of run 3, which failed"), "{note}");
    }
}
