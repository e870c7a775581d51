//! Intervals of a run, merged on the main thread from the parts of the workers.
//!
//! **Invariant.** The totals are the sums of the intervals without the warm-up, so the report's
//! figures of the whole run can be recomputed from its intervals.
//!
//! The number of due messages of an open loop does not come from the workers. It is computed here
//! from the schedules, so that a message that a worker skips is missing in the counters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::measure::recorder::{Counts, IntervalPart, IntervalPhase};
use crate::measure::stats;
use crate::measure::window::Window;
use crate::plan::schedule::arrivals::Arrivals;
use crate::report::model::distribution::{hdr_v2, us};
use crate::report::model::interval::Interval;

/// The phase after the run gave up.
const NEVER_REACHED: &str = "given-up";

#[derive(Debug)]
pub(crate) struct Timeline {
    threads: usize,
    /// Time zero of the schedules, and of the report.
    origin: Instant,
    measured_from: Instant,
    /// End of the last measured interval of each worker.
    measured_until: Vec<Instant>,
    /// Schedule of each worker. `None` in a closed loop.
    schedules: Option<Vec<WorkerSchedule>>,
    /// Intervals without the parts of some workers.
    begun: BTreeMap<(IntervalPhase, u32), Begun>,
    intervals: Vec<Interval>,
    totals: IntervalTotals,
}

/// The sums over the measured window and the drain.
#[derive(Debug)]
pub(crate) struct IntervalTotals {
    /// Response times in an open loop, service times in a closed one.
    pub(crate) latency: Histogram<u64>,
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) counts: Counts,
}

/// Schedule of one worker.
#[derive(Debug)]
pub(crate) struct WorkerSchedule {
    pub(crate) streams: Vec<Arrivals>,
    /// The rest of the worker's share of `--requests`.
    pub(crate) requests_max: Option<u64>,
}

/// Sum of the received parts of an interval.
#[derive(Debug)]
struct Begun {
    parts: usize,
    from: Instant,
    until: Instant,
    latency: Histogram<u64>,
    send_lag: Histogram<u64>,
    counts: Counts,
    open_connections: u32,
}

impl IntervalTotals {
    pub(crate) fn new() -> IntervalTotals {
        IntervalTotals {
            latency: stats::new_histogram(),
            send_lag: stats::new_lag_histogram(),
            counts: Counts::default(),
        }
    }
}

impl Timeline {
    pub(crate) fn new(
        threads: u32,
        window: Window,
        warmup: Duration,
        schedules: Option<Vec<WorkerSchedule>>,
    ) -> Timeline {
        Timeline {
            threads: threads as usize,
            origin: window.from - warmup,
            measured_from: window.from,
            measured_until: vec![window.from; threads as usize],
            schedules,
            begun: BTreeMap::new(),
            intervals: Vec::new(),
            totals: IntervalTotals::new(),
        }
    }

    pub(crate) fn measured_from(&self) -> Instant {
        self.measured_from
    }

    /// Adds a part. Returns the length of the complete part of the measured window if it grew.
    pub(crate) fn take(&mut self, worker: u32, mut part: IntervalPart) -> Option<Duration> {
        if part.phase == IntervalPhase::Measured {
            self.measured_until[worker as usize] = part.until;
        }
        if let Some(schedules) = &mut self.schedules {
            part.counts.scheduled = schedules[worker as usize].scheduled(self.origin, &part);
        }
        let key = (part.phase, part.number);
        match self.begun.get_mut(&key) {
            Some(begun) => begun.add(part),
            None => _ = self.begun.insert(key, Begun::from(part)),
        }
        if self.begun[&key].parts < self.threads {
            return None;
        }
        let begun = self.begun.remove(&key).expect("looked at above");
        self.complete(key.0, &begun);
        (key.0 == IntervalPhase::Measured).then(|| begun.until - self.measured_from)
    }

    /// The sums of the complete intervals, without the warm-up.
    pub(crate) fn so_far(&self) -> &IntervalTotals {
        &self.totals
    }

    /// The intervals and their sums. Workers that ended early may have fewer intervals than others.
    /// `never_reached` is the planned end of a window that was given up: the messages due until
    /// then are in a separate interval.
    pub(crate) fn finish(
        mut self,
        never_reached: Option<Instant>,
    ) -> (Vec<Interval>, IntervalTotals) {
        for ((phase, _), begun) in std::mem::take(&mut self.begun) {
            self.complete(phase, &begun);
        }
        self.intervals.sort_by(|a, b| a.t_s.total_cmp(&b.t_s));
        if let Some(until) = never_reached {
            self.complete_never_reached(until);
        }
        (self.intervals, self.totals)
    }

    fn complete_never_reached(&mut self, until: Instant) {
        let Some(schedules) = &mut self.schedules else { return };
        let workers = schedules.iter_mut().zip(&self.measured_until);
        let origin = self.origin;
        let scheduled =
            workers.map(|(schedule, from)| schedule.measured(origin, *from, until)).sum();
        let from = self.measured_until.iter().copied().max().unwrap_or(until);
        let counts = Counts { scheduled, ..Counts::default() };
        let (latency, send_lag) = (stats::new_histogram(), stats::new_lag_histogram());
        let parts = self.threads;
        let rest = Begun { parts, from, until, latency, send_lag, counts, open_connections: 0 };
        self.totals.counts.add(&rest.counts);
        self.push(NEVER_REACHED, &rest);
    }

    fn complete(&mut self, phase: IntervalPhase, begun: &Begun) {
        if phase != IntervalPhase::Warmup {
            stats::merge(&mut self.totals.latency, &begun.latency);
            stats::merge(&mut self.totals.send_lag, &begun.send_lag);
            self.totals.counts.add(&begun.counts);
        }
        self.push(phase.name(), begun);
    }

    fn push(&mut self, phase: &str, begun: &Begun) {
        let length = begun.until.saturating_duration_since(begun.from);
        if length.is_zero() && begun.is_empty() {
            return; // a drain without open messages, or a window cut at its start
        }
        let t_s = stats::seconds_from(self.measured_from, begun.from);
        let Counts { scheduled, completed, errors, timed_out } = begun.counts;
        let latency = Some(&begun.latency).filter(|latency| !latency.is_empty());
        let at = |percentile| latency.map(|l| us(l.value_at_percentile(percentile)));
        let lag = Some(&begun.send_lag).filter(|lag| !lag.is_empty());
        self.intervals.push(Interval {
            t_s,
            length_s: length.as_secs_f64(),
            phase: phase.to_owned(),
            scheduled,
            completed,
            errors,
            timed_out,
            open_connections: begun.open_connections,
            p50: at(50.0),
            p99: at(99.0),
            p99_9: at(99.9),
            max: latency.map(|latency| us(latency.max())),
            send_lag_p99: lag.map(|lag| us(lag.value_at_percentile(99.0))),
            hdr_v2: latency.map(hdr_v2),
        });
    }
}

impl WorkerSchedule {
    /// Number of messages due in the part.
    fn scheduled(&mut self, origin: Instant, part: &IntervalPart) -> u64 {
        match part.phase {
            IntervalPhase::Drain => 0,
            IntervalPhase::Warmup => self.due(origin, part.from, part.until),
            IntervalPhase::Measured => self.measured(origin, part.from, part.until),
        }
    }

    /// Number of messages due in a part of the measured window, limited by `--requests`.
    fn measured(&mut self, origin: Instant, from: Instant, until: Instant) -> u64 {
        let count = self.due(origin, from, until);
        let Some(left) = &mut self.requests_max else { return count };
        let count = count.min(*left);
        *left -= count;
        count
    }

    fn due(&self, origin: Instant, from: Instant, until: Instant) -> u64 {
        let since = |time: Instant| time.saturating_duration_since(origin);
        self.streams.iter().map(|stream| stream.count_between(since(from), since(until))).sum()
    }
}

impl Begun {
    fn from(part: IntervalPart) -> Begun {
        let IntervalPart { from, until, latency, send_lag, counts, open_connections, .. } = part;
        Begun { parts: 1, from, until, latency, send_lag, counts, open_connections }
    }

    fn add(&mut self, part: IntervalPart) {
        self.parts += 1;
        self.from = self.from.min(part.from);
        self.until = self.until.max(part.until);
        stats::merge(&mut self.latency, &part.latency);
        stats::merge(&mut self.send_lag, &part.send_lag);
        self.counts.add(&part.counts);
        self.open_connections += part.open_connections;
    }

    fn is_empty(&self) -> bool {
        self.latency.is_empty() && self.counts == Counts::default()
    }
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        let Counts { scheduled, completed, errors, timed_out } = other;
        self.scheduled += scheduled;
        self.completed += completed;
        self.errors += errors;
        self.timed_out += timed_out;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::schedule::arrivals::Spacing;
    use crate::plan::schedule::rate::RateCurve;

    const SECOND: Duration = Duration::from_secs(1);

    fn part(
        phase: IntervalPhase,
        number: u32,
        from: Instant,
        latency_ns: u64,
        completed: u64,
    ) -> IntervalPart {
        let mut latency = stats::new_histogram();
        latency.record_n(latency_ns, completed).unwrap();
        let mut send_lag = stats::new_lag_histogram();
        send_lag.record_n(1_000, completed).unwrap();
        let counts = Counts { scheduled: 77, completed, errors: 1, timed_out: 2 };
        let until = from + SECOND;
        IntervalPart { phase, number, from, until, latency, send_lag, counts, open_connections: 5 }
    }

    /// Goal: the parts of an interval become one row, the rows are in order, and the totals are the
    /// sums of the rows without the warm-up.
    ///
    /// Method: two workers, one of which sends an interval late and another one not at all.
    ///
    /// Kills: a row per worker; losing an incomplete interval; the warm-up in the totals.
    #[test]
    fn parts_of_an_interval_become_one_row() {
        let from = Instant::now() + SECOND;
        let window = Window { from, until: from + 2 * SECOND };
        let mut timeline = Timeline::new(2, window, SECOND, None);
        let mut take = |worker, part| timeline.take(worker, part);
        assert_eq!(take(0, part(IntervalPhase::Warmup, 0, from - SECOND, 9_000, 100)), None);
        assert_eq!(take(0, part(IntervalPhase::Measured, 0, from, 1_000_000, 10)), None);
        assert_eq!(take(0, part(IntervalPhase::Measured, 1, from + SECOND, 3_000_000, 10)), None);
        assert_eq!(take(1, part(IntervalPhase::Warmup, 0, from - SECOND, 9_000, 100)), None);
        assert_eq!(take(1, part(IntervalPhase::Measured, 0, from, 2_000_000, 30)), Some(SECOND));
        assert_eq!(timeline.so_far().counts.completed, 40, "neither warm-up nor half intervals");
        let (rows, totals) = timeline.finish(None);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.t_s, row.phase.as_str(), row.completed, row.open_connections))
            .collect();
        let expected =
            [(-1.0, "warm-up", 200, 10), (0.0, "measured", 40, 10), (1.0, "measured", 10, 5)];
        assert_eq!(seen, expected);
        let p50 = rows[1].p50.unwrap();
        assert!((p50 / 2_000.0 - 1.0).abs() < 0.001, "{p50}");
        assert_eq!((totals.latency.len(), totals.send_lag.len()), (50, 50));
        let expected = Counts { scheduled: 231, completed: 50, errors: 3, timed_out: 6 };
        assert_eq!(totals.counts, expected);
    }

    /// Goal: the number of due messages is computed from the schedule, not from the workers'
    /// counts, and is limited by `--requests`.
    ///
    /// Method: two workers at 1 000/s in total; constant, random, and with a limit of 700 each.
    ///
    /// Kills: using the parts' own count; counting the warm-up against the limit; messages due in
    /// the drain.
    #[test]
    fn due_messages_come_from_the_schedule() {
        let from = Instant::now() + SECOND;
        let window = Window { from, until: from + 2 * SECOND };
        let curve = Arc::new(RateCurve::new(1_000.0, &[]));
        let scheduled = |spacing, requests_max| {
            let schedules = (0..2).map(|worker| WorkerSchedule {
                streams: vec![Arrivals::new(Arc::clone(&curve), spacing, worker, 2)],
                requests_max,
            });
            let mut timeline = Timeline::new(2, window, SECOND, Some(schedules.collect()));
            for worker in 0..2 {
                timeline.take(worker, part(IntervalPhase::Warmup, 0, from - SECOND, 1_000, 1));
                timeline.take(worker, part(IntervalPhase::Measured, 0, from, 1_000, 1));
                timeline.take(worker, part(IntervalPhase::Measured, 1, from + SECOND, 1_000, 1));
                timeline.take(worker, part(IntervalPhase::Drain, 0, from + 2 * SECOND, 1_000, 1));
            }
            let (rows, totals) = timeline.finish(None);
            let rows: Vec<u64> = rows.iter().map(|row| row.scheduled).collect();
            assert_eq!(rows[1..].iter().sum::<u64>(), totals.counts.scheduled);
            rows
        };
        assert_eq!(scheduled(Spacing::Constant, None), [1_000, 1_000, 1_000, 0]);
        assert_eq!(scheduled(Spacing::Constant, Some(700)), [1_000, 1_000, 400, 0]);
        let random = scheduled(Spacing::Poisson { seed: 3 }, None);
        assert_eq!(random[3], 0);
        // Five standard deviations of a Poisson count of 1 000, and the seed is fixed.
        assert!(random[..3].iter().all(|count| count.abs_diff(1_000) < 160), "{random:?}");
    }
}
