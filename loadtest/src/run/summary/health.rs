//! Verdict on the generator. The figures describe the target only if the generator kept up.
//!
//! Two signs are needed, because neither is sufficient:
//!
//! * **Lag.** The send lag is the delay of messages that were due while a connection was free. The
//!   loop lag is the delay of a timer in the event loop, which replies may have waited as well
//!   (`worker::heartbeat`).
//! * **Processor time.** In a closed loop, a faster generator would have sent more if no processor
//!   time was left. An open loop differs: the fewer messages are due at a time, the more each one
//!   costs (a wake-up, a timer, a system call). So a worker can be fully busy at half of its
//!   maximum rate and still be punctual. Only if messages also waited for free connections, the
//!   cause is ambiguous, and a busy generator counts as saturated.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::base::figures::time_us;
use crate::host::procfs::CpuTime;
use crate::report::model::generator::GeneratorVerdict;
use crate::run::summary::totals::RunTotals;

/// Limits of the share of time in which a worker ran or waited for a processor.
const BUSY_MARGINAL_PERCENT: f64 = 75.0;
const BUSY_SATURATED_PERCENT: f64 = 90.0;

/// Limits of the 99th percentile of the lag.
const LAG_MARGINAL: Duration = Duration::from_micros(200);
const LAG_SATURATED: Duration = Duration::from_millis(2);

/// The time in which a worker was working or waiting for a processor, without its busy-waiting.
pub(crate) fn busy_ns(time: CpuTime, spin_ns: u64) -> u64 {
    // `spin_ns` is wall time, which includes any time without the processor in between.
    (time.ran_ns + time.waited_ns).saturating_sub(spin_ns)
}

/// The signs of a generator. Times are 99th percentiles; zero if not measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HealthInputs {
    /// In percent of one processor, the busiest worker: working or waiting to run, without
    /// busy-waiting. Its connections are the ones that are measured late.
    pub(crate) busy_percent: Option<f64>,
    pub(crate) is_open_loop: bool,
    pub(crate) send_lag: Duration,
    pub(crate) loop_lag: Duration,
    /// Response time; in a closed loop the same as `service`.
    pub(crate) response: Duration,
    pub(crate) service: Duration,
}

impl HealthInputs {
    pub(crate) fn of(total: &RunTotals, busy_percent: impl Iterator<Item = f64>) -> HealthInputs {
        let p99 =
            |histogram: &Histogram<u64>| Duration::from_nanos(histogram.value_at_percentile(99.0));
        HealthInputs {
            busy_percent: busy_percent
                .fold(None, |most, busy| Some(most.map_or(busy, |most: f64| most.max(busy)))),
            is_open_loop: total.response.is_some(),
            send_lag: p99(&total.send_lag),
            loop_lag: p99(&total.loop_lag),
            response: p99(total.response.as_ref().unwrap_or(&total.service)),
            service: p99(&total.service),
        }
    }

    /// The verdict and its reason.
    pub(crate) fn verdict(self) -> (GeneratorVerdict, Option<String>) {
        let busy = self.busy_percent.unwrap_or(0.0);
        let is_full = busy >= BUSY_SATURATED_PERCENT;
        let busy_line = format!("it was busy {busy:.0} % of the time");
        let (verdict, line) = if self.is_late(LAG_SATURATED, 2) {
            (GeneratorVerdict::Saturated, self.lag_line())
        } else if is_full && !self.is_open_loop {
            (GeneratorVerdict::Saturated, busy_line)
        } else if is_full && self.response >= self.service * 2 {
            (
                GeneratorVerdict::Saturated,
                format!("{busy_line}, and messages waited for free connections"),
            )
        } else if self.is_late(LAG_MARGINAL, 10) {
            (GeneratorVerdict::Marginal, self.lag_line())
        } else if is_full {
            (GeneratorVerdict::Marginal, format!("{busy_line}, though punctual"))
        } else if busy >= BUSY_MARGINAL_PERCENT {
            (GeneratorVerdict::Marginal, busy_line)
        } else if self.busy_percent.is_none() && !self.is_open_loop {
            (GeneratorVerdict::Unknown, "its processor time could not be read".to_owned())
        } else {
            return (GeneratorVerdict::Healthy, None);
        };
        (verdict, Some(line))
    }

    fn lag(self) -> Duration {
        self.send_lag.max(self.loop_lag)
    }

    /// Whether the lag is significant: at least `least`, and at least 1/`share` of the measured
    /// times.
    fn is_late(self, least: Duration, share: u32) -> bool {
        self.lag() >= least && self.lag() >= self.response / share
    }

    fn lag_line(self) -> String {
        let us = |time: Duration| time_us(time.as_secs_f64() * 1e6);
        let kind = if self.is_open_loop { "response" } else { "service" };
        let (lag, measured) = (us(self.lag()), us(self.response));
        format!("its lag was {lag} or more in 1 % of cases; the {kind} time's p99 is {measured}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::timeline::IntervalTotals;

    const US: Duration = Duration::from_micros(1);

    fn closed(busy_percent: Option<f64>, loop_lag: u32, service: u32) -> HealthInputs {
        let (loop_lag, service) = (US * loop_lag, US * service);
        HealthInputs {
            busy_percent,
            loop_lag,
            response: service,
            service,
            ..HealthInputs::default()
        }
    }

    fn open(busy_percent: Option<f64>, [lag, response, service]: [u32; 3]) -> HealthInputs {
        let (send_lag, response, service) = (US * lag, US * response, US * service);
        let loop_lag = Duration::ZERO;
        HealthInputs { busy_percent, is_open_loop: true, send_lag, loop_lag, response, service }
    }

    /// Goal: in a closed loop the verdict follows the busiest worker and its loop lag.
    ///
    /// Method: rows of busy share, loop lag and service time; and the signs of a total.
    ///
    /// Kills: averaging over workers; a healthy verdict without a reading; a busy loop that passes;
    /// lag that counts only in an open loop.
    #[test]
    fn a_closed_loop_is_limited_by_its_busiest_worker() {
        for (inputs, expected) in [
            (closed(None, 0, 100), GeneratorVerdict::Unknown),
            (closed(Some(20.0), 10, 100), GeneratorVerdict::Healthy),
            (closed(Some(80.0), 10, 100), GeneratorVerdict::Marginal),
            (closed(Some(99.0), 10, 100), GeneratorVerdict::Saturated),
            (closed(Some(20.0), 200, 2_000), GeneratorVerdict::Marginal),
            (closed(Some(20.0), 2_000, 4_000), GeneratorVerdict::Saturated),
            (closed(Some(20.0), 2_000, 20_001), GeneratorVerdict::Healthy),
        ] {
            assert_eq!(inputs.verdict().0, expected, "{inputs:?}");
        }
        let mut total = RunTotals::of(&[], IntervalTotals::new(), false);
        assert_eq!(HealthInputs::of(&total, std::iter::empty()).busy_percent, None);
        total.service.record(5_000).unwrap();
        total.loop_lag.record(1_000).unwrap();
        let inputs = HealthInputs::of(&total, [1.0, 99.0, 2.0].into_iter());
        assert_eq!((inputs.busy_percent, inputs.is_open_loop), (Some(99.0), false));
        assert_eq!(inputs.response, inputs.service);
        assert!(inputs.service > inputs.loop_lag && inputs.loop_lag > Duration::ZERO, "{inputs:?}");
    }

    /// Goal: in an open loop the verdict follows the send lag.
    ///
    /// Method: rows of busy share, send lag, response and service time, each next to a limit.
    ///
    /// Kills: a saturated verdict for a busy but punctual loop; lag that counts although response
    /// times are far longer, or does not count although they are short; a healthy verdict for a
    /// busy loop whose messages wait for connections.
    #[test]
    fn an_open_loop_is_limited_by_its_send_lag() {
        for (inputs, expected) in [
            (open(Some(40.0), [199, 200, 200]), GeneratorVerdict::Healthy),
            (open(Some(40.0), [200, 2_000, 1_800]), GeneratorVerdict::Marginal),
            (open(Some(40.0), [200, 2_001, 1_800]), GeneratorVerdict::Healthy),
            (open(Some(40.0), [1_999, 2_000, 10]), GeneratorVerdict::Marginal),
            (open(Some(40.0), [2_000, 4_000, 10]), GeneratorVerdict::Saturated),
            (open(Some(40.0), [2_000, 4_001, 10]), GeneratorVerdict::Marginal),
            (open(Some(40.0), [2_000, 20_001, 10]), GeneratorVerdict::Healthy),
            (open(None, [10, 100, 100]), GeneratorVerdict::Healthy),
            (open(Some(80.0), [10, 100, 100]), GeneratorVerdict::Marginal),
            (open(Some(99.0), [10, 199, 100]), GeneratorVerdict::Marginal),
            (open(Some(99.0), [10, 200, 100]), GeneratorVerdict::Saturated),
        ] {
            assert_eq!(inputs.verdict().0, expected, "{inputs:?}");
        }
    }

    /// Goal: the busy time includes waiting for a processor and excludes busy-waiting.
    ///
    /// Method: a worker that ran and waited; one whose busy-waiting exceeds its run time.
    ///
    /// Kills: a worker that counts as busy while it busy-waits; an underflow.
    #[test]
    fn busy_time_excludes_busy_waiting() {
        let time = CpuTime { ran_ns: 70, waited_ns: 20 };
        assert_eq!(busy_ns(time, 40), 50);
        assert_eq!(busy_ns(time, 91), 0);
    }

    /// Goal: every verdict except healthy has a reason with its figures.
    ///
    /// Method: each branch of the verdict.
    ///
    /// Kills: a reason without its figures; a reason for a healthy verdict.
    #[test]
    fn reasons_have_figures() {
        for (inputs, expected) in [
            (open(Some(10.0), [3_000, 5_000, 5_000]), "its lag was 3.00 ms or more"),
            (closed(Some(10.0), 3_000, 5_000), "the service time's p99 is 5.00 ms"),
            (open(Some(97.0), [1, 5_000, 5_000]), "97 %"),
            (open(Some(97.0), [1, 5_000, 1_000]), "waited for free connections"),
            (closed(Some(97.0), 1, 5_000), "97 %"),
            (closed(None, 1, 5_000), "could not be read"),
        ] {
            let reason = inputs.verdict().1.unwrap();
            assert!(reason.contains(expected), "{reason}");
        }
        assert_eq!(
            open(Some(10.0), [1, 5_000, 5_000]).verdict(),
            (GeneratorVerdict::Healthy, None)
        );
    }
}
