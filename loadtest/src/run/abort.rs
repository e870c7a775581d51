//! Gates that end a run early (`--abort-on`): judged while it takes place, by the main thread, at the
//! end of each interval, over everything that was measured until then.
//!
//! **Invariant.** A figure is the one that the report of a run ended at this moment would have, apart
//! from the replies that its drain brings.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::analysis::gates::Figures;
use crate::measure::recorder::Counts;
use crate::plan::gate::{Gate, GateFigure, Latency, Statistic};
use crate::report::model::distribution::us;
use crate::report::model::verdicts::Aborted;

/// What ends a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    gates: Vec<Gate>,
    /// From the begin of the measured window on, nothing is judged for so long.
    delay: Duration,
}

/// What was measured so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoFar<'a> {
    /// Of the measured window.
    pub(crate) elapsed: Duration,
    pub(crate) counts: &'a Counts,
    /// Response times in an open loop, service times in a closed one.
    pub(crate) latency: &'a Histogram<u64>,
    /// Connections with at least one reply.
    pub(crate) served: u64,
    pub(crate) connections: u32,
}

impl Watch {
    /// Or why that cannot be watched.
    pub(crate) fn new(
        gates: Vec<Gate>,
        delay: Duration,
        is_open_loop: bool,
    ) -> Result<Watch, String> {
        for gate in &gates {
            if let Some(why) = gate.is_seen_late(is_open_loop) {
                return Err(format!("--abort-on '{}': {why}", gate.text));
            }
        }
        Ok(Watch { gates, delay })
    }

    /// The first gate that does not hold.
    pub(crate) fn judge(&self, so_far: &SoFar<'_>) -> Option<Aborted> {
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
    /// Why its figure is not known before the end of the run, if it is not.
    fn is_seen_late(&self, is_open_loop: bool) -> Option<&'static str> {
        let GateFigure::Latency(latency, _) = self.figure else { return None };
        match latency {
            Latency::Main => None,
            Latency::Response if is_open_loop => None,
            Latency::Service if !is_open_loop => None,
            Latency::Response => {
                Some("a closed loop has no response times (no --rate): use service")
            }
            Latency::Service => {
                Some("service times of an open loop are added up at its end: use response")
            }
            Latency::Connect => Some("connect times are added up at the end of the run"),
        }
    }
}

impl Figures for SoFar<'_> {
    fn latency(&self, _: Latency, statistic: Statistic) -> Option<f64> {
        // Other latencies than these were refused (`is_seen_late`).
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

    fn judged(watch: &Watch, elapsed_s: u64, replies: u64) -> Option<(String, f64)> {
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
        let aborted = watch.judge(&so_far)?;
        assert_eq!(aborted.at_s, elapsed_s as f64);
        Some((aborted.expr, aborted.value))
    }

    /// Goal: every figure that is known during a run is the one that its name says.
    ///
    /// Method: a gate on each that its value breaks, and one that it does not.
    ///
    /// Kills: aborting on gates that hold; a rate over the whole of the planned window; timeouts that
    /// are no errors.
    #[test]
    fn gates_are_judged_on_what_there_is() {
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
            assert_eq!(judged(&watch(&[&holds], 0), 2, 192), None, "{holds}");
            let (expr, found) = judged(&watch(&["served>0", &breaks], 0), 2, 192).unwrap();
            assert_eq!(expr, breaks);
            assert!((found / value - 1.0).abs() < 0.001, "{breaks}: {found}");
        }
    }

    /// Goal: nothing is judged before its time, nor by a figure that is not there yet.
    ///
    /// Method: moments before and at the delay; a latency without a reply.
    ///
    /// Kills: a delay that is ignored or off by an interval; an absent latency taken for zero.
    #[test]
    fn some_gates_have_to_wait() {
        let rate = watch(&["rate>1m"], 3);
        assert_eq!(judged(&rate, 2, 10), None);
        assert!(judged(&rate, 3, 10).is_some());
        assert_eq!(judged(&watch(&["min>5s"], 0), 2, 0), None);
        assert!(judged(&watch(&["min>5s"], 0), 2, 1).is_some());
    }

    /// Goal: a figure that nobody has before the end of the run is refused.
    ///
    /// Method: each latency in both kinds of loop.
    ///
    /// Kills: a gate that never can be judged; judging another figure in its place.
    #[test]
    fn what_is_seen_late() {
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
