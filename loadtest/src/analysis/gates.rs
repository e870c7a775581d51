//! Check of gates on a report, or on the results of a run so far.

use hdrhistogram::Histogram;

use crate::base::exit::Exit;
use crate::plan::gate::{Failed, Gate, GateFigure, GateLimit, Latency, Statistic};
use crate::report::model::conclusions::Threshold;
use crate::report::model::distribution::Distribution;
use crate::report::model::{Latencies, Report};

/// Source of the figures of gates.
pub(crate) trait Figures {
    /// In microseconds.
    fn latency(&self, latency: Latency, statistic: Statistic) -> Option<f64>;
    /// Messages per second.
    fn rate(&self) -> Option<f64>;
    fn scheduled(&self) -> u64;
    /// Errors without timeouts.
    fn errors(&self) -> u64;
    fn timed_out(&self) -> u64;
    fn served(&self) -> u64;
    fn connections(&self) -> u32;
}

impl Gate {
    /// Checks the gate. A gate without its figure fails.
    pub(crate) fn judge(&self, report: &Report) -> Threshold {
        let value = self.figure.of(report);
        Threshold {
            expr: self.text.clone(),
            value,
            unit: self.figure.unit().to_owned(),
            ok: value.is_some_and(|value| self.holds(value, report)),
        }
    }

    /// The value that breaks the gate; `None` if it holds or its figure is not known yet.
    pub(crate) fn broken_by(&self, figures: &impl Figures) -> Option<f64> {
        self.figure.of(figures).filter(|value| !self.holds(*value, figures))
    }

    fn holds(&self, value: f64, figures: &impl Figures) -> bool {
        let limit = match self.limit {
            GateLimit::Value(limit) => limit,
            GateLimit::Connections => f64::from(figures.connections()),
        };
        self.relation.holds(value, limit)
    }
}

impl Figures for Report {
    fn latency(&self, latency: Latency, statistic: Statistic) -> Option<f64> {
        statistic.of(latency.distribution(&self.latency_us)?)
    }

    fn rate(&self) -> Option<f64> {
        Some(self.load.achieved_rate)
    }

    fn scheduled(&self) -> u64 {
        self.load.scheduled
    }

    fn errors(&self) -> u64 {
        self.load.errors.total
    }

    fn timed_out(&self) -> u64 {
        self.load.timed_out
    }

    fn served(&self) -> u64 {
        self.connections.served.into()
    }

    fn connections(&self) -> u32 {
        self.config.connections
    }
}

impl GateFigure {
    fn of(self, figures: &impl Figures) -> Option<f64> {
        match self {
            GateFigure::Latency(latency, statistic) => figures.latency(latency, statistic),
            GateFigure::Rate => figures.rate(),
            GateFigure::Share(failed) if figures.scheduled() > 0 => {
                Some(failed.count(figures) as f64 * 100.0 / figures.scheduled() as f64)
            }
            GateFigure::Share(_) => None,
            GateFigure::Count(failed) => Some(failed.count(figures) as f64),
            GateFigure::Served => Some(figures.served() as f64),
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            GateFigure::Latency(..) => "us",
            GateFigure::Rate => "msg/s",
            GateFigure::Share(_) => "%",
            GateFigure::Count(_) => "messages",
            GateFigure::Served => "connections",
        }
    }
}

impl Latency {
    fn distribution(self, latencies: &Latencies) -> Option<&Distribution> {
        let Latencies { response, service, connect, tls: _, handshake: _ } = latencies;
        match self {
            Latency::Main => latencies.main(),
            Latency::Response => response.as_ref(),
            Latency::Service => service.as_ref(),
            Latency::Connect => connect.as_ref(),
        }
    }
}

impl Statistic {
    fn of(self, distribution: &Distribution) -> Option<f64> {
        match self {
            Statistic::Min => Some(distribution.min),
            Statistic::Mean => Some(distribution.mean),
            Statistic::Max => Some(distribution.max),
            Statistic::Percentile(percentile) => {
                let histogram: Histogram<u64> = distribution.histogram()?;
                Some(histogram.value_at_percentile(percentile) as f64 / 1e3)
            }
        }
    }
}

impl Failed {
    fn count(self, figures: &impl Figures) -> u64 {
        match self {
            Failed::Any => figures.errors() + figures.timed_out(),
            Failed::Timeouts => figures.timed_out(),
        }
    }
}

/// Checks the gates of a run. A failed gate decides the exit code of a run that was otherwise
/// successful.
pub(crate) fn apply_gates(gates: &[Gate], report: &mut Report) {
    // The figures of a run that ended early are not conclusive.
    if report.ended_early() {
        return;
    }
    report.thresholds = gates.iter().map(|gate| gate.judge(report)).collect();
    let is_met = report.thresholds.iter().all(|row| row.ok);
    if !is_met && report.exit_code == Exit::Ok.code() {
        report.exit_code = Exit::Breached.code();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn judged(report: &Report, text: &str) -> Threshold {
        Gate::parse(text).unwrap().judge(report)
    }

    /// A report of 1 … 1 000 µs, once each, and a few failures.
    fn report() -> Report {
        let mut report = fixture::report(&(1..=1_000).collect::<Vec<_>>());
        report.load.scheduled = 1_250;
        report.load.errors.total = 2;
        report.load.timed_out = 3;
        report.connections.served = 9;
        report
    }

    /// Goal: every figure has the right value and unit.
    ///
    /// Method: a report whose figures all differ; compare each value.
    ///
    /// Kills: nanoseconds for microseconds; shares of the completed messages in place of the
    /// scheduled ones; timeouts that do not count as errors.
    #[test]
    fn values_come_from_their_figures() {
        let report = report();
        for (text, expected, unit) in [
            ("min<1s", 1.0, "us"),
            ("avg<1s", 500.5, "us"),
            ("med<1s", 500.0, "us"),
            ("service p(99)<1s", 990.0, "us"),
            ("p(99.5)<1s", 995.0, "us"),
            ("p(12.5)<1s", 125.0, "us"),
            ("service max<1s", 1_000.0, "us"),
            ("rate>1", 100.0, "msg/s"),
            ("errors rate<1", 0.4, "%"),
            ("timeouts rate<1", 0.24, "%"),
            ("errors count<10", 5.0, "messages"),
            ("timeouts count<10", 3.0, "messages"),
            ("served>1", 9.0, "connections"),
        ] {
            let row = judged(&report, text);
            let value = row.value.unwrap();
            assert!((value / expected - 1.0).abs() < 0.001, "{text}: {value}");
            assert_eq!((row.expr.as_str(), row.unit.as_str()), (text, unit));
        }
    }

    /// Goal: each relation holds on the right side of the limit.
    ///
    /// Method: all six against limits below, at and above the value.
    ///
    /// Kills: two swapped relations.
    #[test]
    fn relations_hold_on_their_side() {
        let report = report();
        for (relation, below, at, above) in [
            ("<", false, false, true),
            ("<=", false, true, true),
            (">", true, false, false),
            (">=", true, true, false),
            ("==", false, true, false),
            ("!=", true, false, true),
        ] {
            for (limit, ok) in [("8", below), ("9", at), ("10", above)] {
                let text = format!("served{relation}{limit}");
                assert_eq!(judged(&report, &text).ok, ok, "{text}");
            }
        }
        assert!(!judged(&report, "served==connections").ok, "9 of 10 were served");
    }

    /// Goal: a statistic without a prefix is that of the response time, if there is one.
    ///
    /// Method: a report with response times of ten times its service times.
    ///
    /// Kills: a gate on the service times of an open loop, which exclude the waits.
    #[test]
    fn response_times_come_first() {
        let mut report = report();
        report.latency_us.response = fixture::report(&[9_000; 10]).latency_us.service;
        assert!(judged(&report, "med>8ms").ok);
        assert!(judged(&report, "response med>8ms").ok);
        assert!(judged(&report, "service med<1ms").ok);
    }

    /// Goal: a gate whose figure is missing fails.
    ///
    /// Method: response times of a closed loop, shares without messages, a broken histogram; with
    /// gates that any value meets.
    ///
    /// Kills: treating a missing figure as zero.
    #[test]
    fn a_gate_without_its_figure_fails() {
        let mut report = report();
        "edited".clone_into(&mut report.latency_us.service.as_mut().unwrap().hdr_v2);
        report.load.scheduled = 0;
        for text in ["response max>=0", "connect max>=0", "p(99)>=0", "errors rate>=0%"] {
            let row = judged(&report, text);
            assert_eq!((row.value, row.ok), (None, false), "{text}");
        }
    }
}
