//! Sums of all workers' results, and the check that the counters are consistent.

use hdrhistogram::Histogram;

use crate::measure::counters::{IdleCounts, MessageCounters, Traffic};
use crate::measure::failure::FailureTable;
use crate::measure::recorder::Counts;
use crate::measure::stats;
use crate::run::timeline::IntervalTotals;
use crate::worker::result::WorkerResult;
use crate::worker::unhandled::Reports;

/// The sum of the workers' results.
#[derive(Debug)]
pub(crate) struct RunTotals {
    pub(crate) counters: MessageCounters,
    pub(crate) traffic: Traffic,
    /// Sums of the intervals, to be compared with the counters.
    pub(crate) counts: Counts,
    pub(crate) failures: FailureTable,
    /// `None` in a closed loop.
    pub(crate) response: Option<Histogram<u64>>,
    pub(crate) service: Histogram<u64>,
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    pub(crate) tls: Histogram<u64>,
    pub(crate) handshake: Histogram<u64>,
    pub(crate) loop_lag: Histogram<u64>,
    /// Measured replies of each connection that opened.
    pub(crate) replies: Vec<u64>,
    pub(crate) reconnects: u64,
    pub(crate) idle: IdleCounts,
    pub(crate) reports: Reports,
}

impl RunTotals {
    pub(crate) fn of(
        results: &[WorkerResult],
        totals: IntervalTotals,
        is_open_loop: bool,
    ) -> RunTotals {
        let IntervalTotals { latency, send_lag, counts } = totals;
        let (response, service) = match is_open_loop {
            true => (Some(latency), stats::new_histogram()),
            false => (None, latency),
        };
        let mut total = RunTotals {
            counters: MessageCounters { scheduled: counts.scheduled, ..MessageCounters::default() },
            traffic: Traffic::default(),
            counts,
            failures: FailureTable::default(),
            response,
            service,
            send_lag,
            connect: stats::new_histogram(),
            tls: stats::new_histogram(),
            handshake: stats::new_histogram(),
            loop_lag: stats::new_lag_histogram(),
            replies: Vec::new(),
            reconnects: 0,
            idle: IdleCounts::default(),
            reports: Reports::default(),
        };
        for result in results {
            total.counters.merge(&result.counters);
            total.traffic.merge(result.traffic);
            total.failures.merge(&result.failures);
            stats::merge(&mut total.service, &result.service);
            stats::merge(&mut total.connect, &result.connect);
            stats::merge(&mut total.tls, &result.tls);
            stats::merge(&mut total.handshake, &result.handshake);
            stats::merge(&mut total.loop_lag, &result.loop_lag);
            total.replies.extend_from_slice(&result.replies);
            total.reconnects += result.reconnects;
            total.idle.opened += result.idle.opened;
            total.idle.lost += result.idle.lost;
            total.reports.merge(&result.reports);
        }
        total
    }

    /// Checks the invariants that hold for any behaviour of the target. Each line is a bug of
    /// loadtest.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let replies = self.replies.iter().sum();
        let responses = self.response.as_ref().map(Histogram::len);
        if let Err(line) = self.counters.check(replies, self.service.len(), responses) {
            errors.push(line);
        }
        let MessageCounters { scheduled, completed, errors: failed, timed_out, .. } = self.counters;
        let counters = Counts { scheduled, completed, errors: failed, timed_out };
        if self.counts != counters {
            errors.push(format!("the intervals add up to {:?}, not to {counters:?}", self.counts));
        }
        let rows: u64 = self.failures.rows().iter().map(|row| row.measured).sum();
        let counted = self.counters.errors + self.counters.timed_out;
        if rows != counted {
            errors.push(format!("{rows} failures listed, {counted} counted"));
        }
        let opened = self.replies.len() as u64 + self.reconnects + u64::from(self.idle.opened);
        let timed = self.connect.len();
        if opened != timed {
            errors.push(format!("{opened} connections opened, {timed} timed"));
        }
        errors.extend(self.reports.error());
        errors
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::measure::failure::{Class, Example, Failure, Stage};

    fn count(total: &mut RunTotals, failure: Failure, is_measured: bool) {
        total.failures.count(failure, is_measured, Instant::now(), Example::default());
    }

    const GOOD: MessageCounters = MessageCounters {
        scheduled: 21,
        sent: 16,
        completed: 7,
        errors: 4,
        timed_out: 2,
        in_flight: 3,
        never_sent: 5,
        shed: 1,
        answered_early: 3,
        warmup_completed: 99,
    };

    /// Goal: a message that is lost or counted twice is detected, with any outcome.
    ///
    /// Method: consistent counters pass. With any figure off by one they fail, even when the
    /// numbers of replies and samples are adjusted.
    ///
    /// Kills: a sum without one of the outcomes; one that includes the warm-up.
    #[test]
    fn every_message_has_one_outcome() {
        let check = |counters: MessageCounters| {
            let (services, responses) =
                (counters.censored_services(), counters.censored_responses());
            let completed = counters.completed;
            counters.check(completed, completed + services, Some(completed + responses))
        };
        assert_eq!(check(GOOD), Ok(()));
        assert_eq!(check(MessageCounters { warmup_completed: 0, ..GOOD }), Ok(()));
        for counters in [
            MessageCounters { scheduled: 22, ..GOOD },
            MessageCounters { sent: 17, ..GOOD },
            MessageCounters { scheduled: 22, sent: 17, ..GOOD },
            MessageCounters { completed: 8, ..GOOD },
            MessageCounters { errors: 5, ..GOOD },
            MessageCounters { timed_out: 3, ..GOOD },
            MessageCounters { in_flight: 2, ..GOOD },
            MessageCounters { never_sent: 4, ..GOOD },
            MessageCounters { shed: 6, ..GOOD },
        ] {
            assert!(check(counters).is_err(), "{counters:?}");
        }
        assert!(GOOD.check(8, 12, Some(17)).is_err(), "a reply that no message had");
        assert!(GOOD.check(7, 11, Some(17)).is_err(), "a message without its service time");
        assert!(GOOD.check(7, 12, Some(16)).is_err(), "a message without its response time");
        assert!(GOOD.check(7, 12, None).is_err(), "a closed loop sends all that it schedules");
        let closed = MessageCounters { scheduled: 16, never_sent: 0, shed: 0, ..GOOD };
        assert_eq!(closed.check(7, 12, None), Ok(()));
    }

    /// Goal: the parts of a total are checked against each other.
    ///
    /// Method: a consistent total; then a change of each single part.
    ///
    /// Kills: a check that is not called, or compares a figure with itself.
    #[test]
    fn inconsistent_parts_are_detected() {
        let good = || {
            let mut totals = IntervalTotals::new();
            totals.latency.record_n(1_000, 17).unwrap();
            totals.counts = Counts { scheduled: 21, completed: 7, errors: 4, timed_out: 2 };
            let mut total = RunTotals::of(&[], totals, true);
            total.service.record_n(1_000, 12).unwrap();
            for _ in 0..2 {
                total.connect.saturating_record(1_000);
            }
            for _ in 0..6 {
                count(&mut total, Failure::of(Stage::Recv, Class::Eof), true);
            }
            total.counters = GOOD;
            total.replies = vec![3, 4];
            total
        };
        let errors = |change: fn(&mut RunTotals)| {
            let mut total = good();
            change(&mut total);
            total.check().len()
        };
        assert_eq!(errors(|_| ()), 0, "{:?}", good().check());
        assert_eq!(errors(|total| total.counters.sent += 1), 1);
        assert_eq!(errors(|total| total.counts.completed += 1), 1);
        assert_eq!(errors(|total| total.response = Some(stats::new_histogram())), 1);
        assert_eq!(errors(|total| total.replies[0] += 1), 1);
        assert_eq!(errors(|total| total.replies.push(0)), 1);
        assert_eq!(errors(|total| total.reconnects = 1), 1);
        assert_eq!(errors(|total| total.idle.opened = 1), 1);
        assert_eq!(errors(|total| total.reports.panics.count = 1), 1);
        assert_eq!(errors(|total| total.reports.cut_closes.count = 1), 0);
        assert_eq!(errors(|total| count(total, Failure::REPLY_TIMEOUT, true)), 1);
        let mut unmeasured = good();
        count(&mut unmeasured, Failure::of(Stage::Recv, Class::Short), false);
        assert_eq!(unmeasured.check().len(), 0, "failures outside the window are not counted");
    }
}
