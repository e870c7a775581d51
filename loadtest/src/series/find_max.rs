//! `--find-max`: search for the highest rate that meets an SLO.
//!
//! The rate is doubled until it misses the SLO. Then the gap is halved (in the geometric mean,
//! because the ratio matters) until it is narrow. The search starts at the low end, because an
//! overloaded server may stay slow for a while.

use std::time::Duration;

use crate::base::exit::{Error, Exit};
use crate::base::print::to_stderr;
use crate::host::signals;
use crate::plan::gate::Gate;
use crate::report::model::Report;
use crate::report::model::generator::GeneratorVerdict;
use crate::report::model::series::{FindMax, FindStep};
use crate::report::text::lines;
use crate::series::{Runner, own_command, own_options};

/// Ratio of the lowest rate that missed to the highest one that passed at which the search ends.
const RATIO_ENOUGH: f64 = 1.03;

/// Limit of tried rates.
const STEPS_MAX: usize = 60;

/// Share of the offered rate that must be achieved. Below it the rate misses, even if the SLO
/// holds.
const ACHIEVED_MIN: f64 = 0.98;

/// The search for the highest rate.
#[derive(Debug)]
pub(crate) struct FindMaxOptions {
    /// Condition that a rate has to meet.
    pub(crate) slo: Gate,
    /// The lowest rate, which is tried first.
    pub(crate) from: f64,
    /// The highest rate.
    pub(crate) to: f64,
    /// Duration of each tried rate.
    pub(crate) step: Duration,
    pub(crate) seed: u64,
}

/// Runs the search and returns the report of the best rate.
pub(crate) fn run(options: &FindMaxOptions) -> Result<Report, Error> {
    let FindMaxOptions { slo, from, to, step: duration, seed } = options;
    let runner = Runner::new(own_options())?;
    let mut search = Search::new(*from, *to);
    let mut steps: Vec<FindStep> = Vec::new();
    let (mut best, mut last) = (None, None);
    while let Some(rate) = search.next() {
        let duration = format!("{}us", duration.as_micros());
        let report = match runner.once(&[
            format!("--rate={rate}"),
            format!("--duration={duration}"),
            format!("--seed={}", seed),
        ]) {
            Err(_) if runner.interrupted().is_some() && !steps.is_empty() => break,
            report => report?,
        };
        if runner.interrupted().is_some() {
            // An interrupted run does not count for its rate, but it is the result if there is no
            // other.
            last = last.or(Some(report));
            break;
        }
        // A rate whose run --abort-on ended has missed.
        if report.exit_code != Exit::Ok.code() && report.aborted.is_none() {
            return Ok(report);
        }
        let step = judge(slo, rate, search.saturated + 1, &report);
        to_stderr(lines::find_step(&step));
        let tried = tried(&step, &report);
        search.tried(rate, tried);
        steps.pop_if(|last| last.rate == rate);
        if step.ok {
            best = Some(report);
        } else {
            last = Some(report);
        }
        steps.push(step);
    }
    let rate = search.passed;
    let missed = rate.is_none();
    let signal = runner.interrupted();
    let mut report = best.or(last).expect("at least one rate was tried");
    report.command = own_command();
    report.find_max = Some(FindMax {
        slo: slo.text.clone(),
        rate,
        limited_by: limited_by(&search, &steps, signal.is_some()).to_owned(),
        steps,
    });
    if let Some(signal) = signal {
        report.interrupted = true;
        report.exit_code = signals::exit_of(signal).code();
    } else if missed {
        report.exit_code = Exit::Breached.code();
    }
    Ok(report)
}

/// The row of one rate.
fn judge(slo: &Gate, rate: f64, tries: u32, report: &Report) -> FindStep {
    let row = slo.judge(report);
    let achieved_rate = report.load.achieved_rate;
    let offered = report.load.offered_rate.unwrap_or(rate);
    FindStep {
        rate,
        achieved_rate,
        value: row.value,
        unit: row.unit,
        generator: report.generator.verdict,
        ok: row.ok && report.aborted.is_none() && achieved_rate >= offered * ACHIEVED_MIN,
        tries,
    }
}

fn tried(step: &FindStep, report: &Report) -> Tried {
    match step.generator {
        _ if step.ok => Tried::Passed,
        // The run measured the generator, not the target.
        GeneratorVerdict::Saturated if report.aborted.is_none() => Tried::Saturated,
        _ => Tried::Missed,
    }
}

/// What ended the search: `limited_by` of the report.
fn limited_by(search: &Search, steps: &[FindStep], is_interrupted: bool) -> &'static str {
    // The lowest rate that missed ended the search.
    let is_saturated = search.missed.is_some_and(|missed| {
        let of_missed = |step: &&FindStep| step.rate == missed && !step.ok;
        steps.iter().filter(of_missed).all(|step| step.generator == GeneratorVerdict::Saturated)
    });
    match (search.passed, search.missed) {
        _ if is_interrupted => "interrupted",
        (Some(_), None) => "range",
        _ if is_saturated => "generator",
        _ => "slo",
    }
}

/// Retries of a rate at which the generator was saturated, because a disturbance may be the cause.
const SATURATED_RETRIES: u32 = 2;

/// Result of a tried rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Passed,
    Missed,
    /// Missed with a saturated generator, so the target was not measured.
    Saturated,
}

/// State of the search.
#[derive(Debug)]
struct Search {
    to: f64,
    next: Option<f64>,
    steps: usize,
    /// The highest rate that met the SLO.
    passed: Option<f64>,
    /// The lowest rate that missed it.
    missed: Option<f64>,
    /// Number of tries of the last rate with a saturated generator.
    saturated: u32,
}

impl Search {
    fn new(from: f64, to: f64) -> Search {
        Search { to, next: Some(from), steps: 0, passed: None, missed: None, saturated: 0 }
    }

    fn next(&self) -> Option<f64> {
        self.next
    }

    fn tried(&mut self, rate: f64, tried: Tried) {
        self.steps += 1;
        match tried {
            Tried::Saturated if self.saturated < SATURATED_RETRIES && self.steps < STEPS_MAX => {
                self.saturated += 1;
                self.next = Some(rate);
                return;
            }
            Tried::Passed => self.passed = Some(rate),
            Tried::Missed | Tried::Saturated => self.missed = Some(rate),
        }
        self.saturated = 0;
        self.next = match (self.passed, self.missed) {
            _ if self.steps >= STEPS_MAX => None,
            // Even the lowest rate missed.
            (None, _) => None,
            (Some(passed), None) if passed >= self.to => None,
            (Some(passed), None) => Some((passed * 2.0).min(self.to)),
            (Some(passed), Some(missed)) if missed / passed <= RATIO_ENOUGH => None,
            (Some(passed), Some(missed)) => Some((passed * missed).sqrt().round())
                .filter(|rate| *rate > passed && *rate < missed),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(from: f64, to: f64, capacity: f64) -> (Option<f64>, Option<f64>, Vec<f64>) {
        let mut search = Search::new(from, to);
        let mut tried = Vec::new();
        while let Some(rate) = search.next() {
            tried.push(rate);
            search.tried(rate, if rate <= capacity { Tried::Passed } else { Tried::Missed });
        }
        (search.passed, search.missed, tried)
    }

    /// Goal: the search ends slightly below the capacity, in few steps, and never tries more than
    /// twice a rate that passed.
    ///
    /// Method: servers of known capacities, from the lowest rate to far above it.
    ///
    /// Kills: reporting the rate that missed; a gap that is not halved; overloading the server at
    /// the start.
    #[test]
    fn the_search_ends_slightly_below_the_capacity() {
        for capacity in [1_000.0, 1_001.0, 1_999.0, 2_000.0, 48_700.0, 999_999.0] {
            let (passed, _, tried) = search(1_000.0, 1e6, capacity);
            let passed = passed.unwrap();
            assert!(
                passed <= capacity && passed >= capacity / RATIO_ENOUGH,
                "{capacity}: {passed}"
            );
            assert!(tried.len() <= 18, "{capacity}: {tried:?}");
            assert!(tried.iter().all(|rate| *rate <= capacity * 2.0), "{capacity}: {tried:?}");
        }
    }

    /// Goal: a disturbed generator does not limit the search, and a saturated one ends it.
    ///
    /// Method: a server without a limit, and a generator that is disturbed once at every rate or in
    /// two of three tries; then one that is saturated above some rate.
    ///
    /// Kills: the first saturated step treated as the capacity; retries without end.
    #[test]
    fn saturated_steps_are_tried_again() {
        for disturbed in 1..=SATURATED_RETRIES {
            let mut search = Search::new(1_000.0, 100_000.0);
            let mut tries = 0;
            while let Some(rate) = search.next() {
                tries += 1;
                let is_disturbed = tries % (disturbed + 1) != 0;
                search.tried(rate, if is_disturbed { Tried::Saturated } else { Tried::Passed });
            }
            assert_eq!((search.passed, search.missed), (Some(100_000.0), None), "{disturbed}");
        }
        let mut search = Search::new(1_000.0, 100_000.0);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            tries += 1;
            search.tried(rate, if rate > 5_000.0 { Tried::Saturated } else { Tried::Passed });
        }
        let passed = search.passed.unwrap();
        assert!((4_800.0..=5_000.0).contains(&passed), "{passed}");
        assert!(tries <= STEPS_MAX, "{tries}");
    }

    /// Goal: the search stays in its range if the capacity is outside.
    ///
    /// Method: capacities below and above the range, and rates so low that halving ends at once.
    ///
    /// Kills: an endless search; a rate outside of the range.
    #[test]
    fn the_search_stays_in_its_range() {
        assert_eq!(search(1_000.0, 8_000.0, 10.0), (None, Some(1_000.0), vec![1_000.0]));
        let (passed, missed, tried) = search(1_000.0, 5_000.0, 1e9);
        assert_eq!((passed, missed), (Some(5_000.0), None));
        assert_eq!(tried, [1_000.0, 2_000.0, 4_000.0, 5_000.0]);
        assert_eq!(search(1.0, 3.0, 1.0), (Some(1.0), Some(2.0), vec![1.0, 2.0]));
    }
}
