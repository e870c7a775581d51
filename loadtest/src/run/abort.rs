//! Gates that end a run early (`--abort-on`). The main thread checks them at the end of each
//! interval, on all results so far.
//!
//! **Invariant.** A figure equals that of a report of the run if it ended now, except for the
//! replies in the drain.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::analysis::gates::Figures;
use crate::measure::recorder::Counts;
use crate::plan::gate::{Gate, GateFigure, Latency, Statistic};
use crate::report::model::distribution::us;
use crate::report::model::early_end::Aborted;

/// The gates of `--abort-on`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    gates: Vec<Gate>,
    /// Time from the start of the measured window before the first check.
    delay: Duration,
}

/// The results of the run so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoFar<'a> {
    /// Complete part of the measured window.
    pub(crate) elapsed: Duration,
    pub(crate) counts: &'a Counts,
    /// Response times in an open loop, service times in a closed one.
    pub(crate) latency: &'a Histogram<u64>,
    /// Connections with at least one reply.
    pub(crate) served: u64,
    pub(crate) connections: u32,
}

impl Watch {
    /// The error is the reason why a gate cannot be checked during the run.
    pub(crate) fn new(
        gates: Vec<Gate>,
        delay: Duration,
        is_open_loop: bool,
    ) -> Result<Watch, String> {
        for gate in &gates {
            if let Some(why) = gate.is_known_late(is_open_loop) {
                return Err(format!("--abort-on '{}': {why}", gate.text));
            }
        }
        Ok(Watch { gates, delay })
    }

    /// Returns the first gate that does not hold.
    pub(crate) fn check(&self, so_far: &SoFar<'_>) -> Option<Aborted> {
        if so_far.elapsed < self.delay {
            return None;
        }
        self.gates.iter().find_map(|gate| {
            let value = gate.broken_by(so_far)?;
            Some(Aborted {
                expr: gate.text.clone(),
                value,
                unit: gate.figure.unit().to_owned(),
                at_s: so_far.elapsed.as_secs_f64(),
            })
        })
    }
}

impl Gate {
    /// The reason why the gate's figure is not known during the run; `None` if it is known.
    fn is_known_late(&self, is_open_loop: bool) -> Option<&'static str> {
        let GateFigure::Latency(latency, _) = self.figure else { return None };
        match latency {
            Latency::Main => None,
            Latency::Response if is_open_loop => None,
            Latency::Service if !is_open_loop => None,
            Latency::Response => {
                Some("a closed loop has no response times (no --rate): use service")
            }
            Latency::Service => {
                Some("service times of an open loop are merged at its end: use response")
            }
            Latency::Connect => Some("connect times are merged at the end of the run"),
        }
    }
}

impl Figures for SoFar<'_> {
    fn latency(&self, _: Latency, statistic: Statistic) -> Option<f64> {
        // Gates on other latencies were refused (`is_known_late`).
        let latency = self.latency;
        if latency.is_empty() {
            return None;
        }
        Some(match statistic {
            Statistic::Min => us(latency.min()),
            Statistic::Mean => latency.mean() / 1e3,
            Statistic::Max => us(latency.max()),
            Statistic::Percentile(percentile) => us(latency.value_at_percentile(percentile)),
        })
    }

    fn rate(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0).then(|| self.counts.completed as f64 / seconds)
    }

    fn scheduled(&self) -> u64 {
        self.counts.scheduled
    }

    fn errors(&self) -> u64 {
        self.counts.errors
    }

    fn timed_out(&self) -> u64 {
        self.counts.timed_out
    }

    fn served(&self) -> u64 {
        self.served
    }

    fn connections(&self) -> u32 {
        self.connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::stats;

    fn watch(texts: &[&str], delay_s: u64) -> Watch {
        let gates = texts.iter().map(|text| Gate::parse(text).unwrap()).collect();
        Watch::new(gates, Duration::from_secs(delay_s), false).unwrap()
    }

    fn checked(watch: &Watch, elapsed_s: u64, replies: u64) -> Option<(String, f64)> {
        let mut latency = stats::new_histogram();
        latency.record_n(2_000_000, replies).unwrap();
        let counts = Counts { scheduled: 200, completed: replies, errors: 5, timed_out: 3 };
        let so_far = SoFar {
            elapsed: Duration::from_secs(elapsed_s),
            counts: &counts,
            latency: &latency,
            served: 9,
            connections: 10,
        };
        let aborted = watch.check(&so_far)?;
        assert_eq!(aborted.at_s, elapsed_s as f64);
        Some((aborted.expr, aborted.value))
    }

    /// Goal: every figure that is known during a run has the right value.
    ///
    /// Method: for each figure, a gate that its value breaks and one that it meets.
    ///
    /// Kills: aborting on gates that hold; a rate over the whole planned window; timeouts that do
    /// not count as errors.
    #[test]
    fn gates_are_checked_on_the_results_so_far() {
        for (figure, value, limits) in [
            ("errors rate", 4.0, ["4.1%", "4%"]),
            ("errors count", 8.0, ["9", "8"]),
            ("timeouts rate", 1.5, ["1.6%", "1.5%"]),
            ("timeouts count", 3.0, ["4", "3"]),
            ("rate", 96.0, ["97", "96"]),
            ("served", 9.0, ["connections", "9"]),
            ("max", 2_000.0, ["2.1ms", "1.9ms"]),
            ("service p(99)", 2_000.0, ["2.1ms", "1.9ms"]),
            ("min", 2_000.0, ["2.1ms", "1.9ms"]),
            ("avg", 2_000.0, ["2.1ms", "1.9ms"]),
        ] {
            let [holds, breaks] = limits.map(|limit| format!("{figure}<{limit}"));
            assert_eq!(checked(&watch(&[&holds], 0), 2, 192), None, "{holds}");
            let (expr, found) = checked(&watch(&["served>0", &breaks], 0), 2, 192).unwrap();
            assert_eq!(expr, breaks);
            assert!((found / value - 1.0).abs() < 0.001, "{breaks}: {found}");
        }
    }

    /// Goal: no gate is checked before the delay, or without its figure.
    ///
    /// Method: moments before and at the delay; a latency without a reply.
    ///
    /// Kills: a delay that is ignored or off by an interval; a missing latency treated as zero.
    #[test]
    fn gates_wait_for_the_delay_and_their_figure() {
        let rate = watch(&["rate>1m"], 3);
        assert_eq!(checked(&rate, 2, 10), None);
        assert!(checked(&rate, 3, 10).is_some());
        assert_eq!(checked(&watch(&["min>5s"], 0), 2, 0), None);
        assert!(checked(&watch(&["min>5s"], 0), 2, 1).is_some());
    }

    /// Goal: a gate whose figure is known only at the end of the run is refused.
    ///
    /// Method: each latency in both kinds of loop.
    ///
    /// Kills: a gate that can never be checked; checking another figure in its place.
    #[test]
    fn gates_on_late_figures_are_refused() {
        for (text, in_closed_loop, in_open_loop) in [
            ("max<1s", true, true),
            ("rate>1", true, true),
            ("service max<1s", true, false),
            ("response max<1s", false, true),
            ("connect max<1s", false, false),
        ] {
            let is_taken = |is_open_loop| {
                Watch::new(vec![Gate::parse(text).unwrap()], Duration::ZERO, is_open_loop).is_ok()
            };
            assert_eq!((is_taken(false), is_taken(true)), (in_closed_loop, in_open_loop), "{text}");
        }
    }
}
