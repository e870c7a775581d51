//! The worker's recorder: latencies and counters of the current interval.
//!
//! Each latency is recorded once, in the current interval. At its end, the histograms move to the
//! main thread unchanged, and the worker starts with new ones. So merging, compression and
//! percentiles cost the worker nothing (`run::timeline`).

use std::mem;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::measure::stats;
use crate::measure::window::Window;

/// Phase of an interval. No interval spans two phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IntervalPhase {
    Warmup,
    Measured,
    Drain,
}

impl IntervalPhase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            IntervalPhase::Warmup => "warm-up",
            IntervalPhase::Measured => "measured",
            IntervalPhase::Drain => "drain",
        }
    }
}

/// Part of one worker in one interval.
#[derive(Debug)]
pub(crate) struct IntervalPart {
    pub(crate) phase: IntervalPhase,
    /// Number of the interval in its phase, the same for all workers.
    pub(crate) number: u32,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    /// Response times in an open loop, service times in a closed one.
    pub(crate) latency: Histogram<u64>,
    /// Empty in a closed loop.
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) counts: Counts,
    /// At the end of the interval.
    pub(crate) open_connections: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) scheduled: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) timed_out: u64,
}

/// Recorder of the current interval.
#[derive(Debug)]
pub(crate) struct Recorder {
    window: Window,
    length: Duration,
    phase: IntervalPhase,
    number: u32,
    from: Instant,
    until: Instant,
    latency: Histogram<u64>,
    send_lag: Histogram<u64>,
    pub(crate) counts: Counts,
}

impl Recorder {
    /// Starts with the warm-up, which may be empty.
    pub(crate) fn new(start: Instant, window: Window, length: Duration) -> Recorder {
        let mut recorder = Recorder {
            window,
            length,
            phase: IntervalPhase::Warmup,
            number: 0,
            from: start,
            until: window.from,
            latency: stats::new_histogram(),
            send_lag: stats::new_lag_histogram(),
            counts: Counts::default(),
        };
        if start >= window.from {
            recorder.begin(IntervalPhase::Measured, window.from);
        } else {
            recorder.until = recorder.end_of(IntervalPhase::Warmup, start);
        }
        recorder
    }

    pub(crate) fn phase(&self) -> IntervalPhase {
        self.phase
    }

    /// Planned end of the current interval. `None` in the drain, whose end is not planned.
    pub(crate) fn until(&self) -> Option<Instant> {
        (self.phase != IntervalPhase::Drain).then_some(self.until)
    }

    /// Records a latency in the current interval.
    pub(crate) fn record_ns(&mut self, latency_ns: u64) {
        self.latency.saturating_record(latency_ns);
    }

    /// Records the same latency of `count` messages.
    pub(crate) fn record_many_ns(&mut self, latency_ns: u64, count: u64) {
        self.latency.saturating_record_n(latency_ns, count);
    }

    pub(crate) fn record_lag(&mut self, lag: Duration) {
        self.send_lag.saturating_record(lag.as_nanos() as u64);
    }

    /// Ends the current interval at its planned end and begins the next one.
    pub(crate) fn close(&mut self, open_connections: u32) -> IntervalPart {
        let until = self.until;
        let next = match self.phase {
            IntervalPhase::Warmup if until < self.window.from => IntervalPhase::Warmup,
            IntervalPhase::Warmup => IntervalPhase::Measured,
            IntervalPhase::Measured if until < self.window.until => IntervalPhase::Measured,
            IntervalPhase::Measured | IntervalPhase::Drain => IntervalPhase::Drain,
        };
        let part = self.take(until, open_connections);
        self.begin(next, until);
        part
    }

    /// Ends the current interval, unless it is the drain, and begins the drain. The window may have
    /// ended early.
    pub(crate) fn close_for_drain(
        &mut self,
        now: Instant,
        open_connections: u32,
    ) -> Option<IntervalPart> {
        if self.phase == IntervalPhase::Drain {
            return None;
        }
        let until = now.min(self.until).max(self.from);
        let part = self.take(until, open_connections);
        self.begin(IntervalPhase::Drain, until);
        Some(part)
    }

    /// Ends the last interval, which is the drain's.
    pub(crate) fn finish(&mut self, now: Instant, open_connections: u32) -> IntervalPart {
        self.take(now, open_connections)
    }

    fn take(&mut self, until: Instant, open_connections: u32) -> IntervalPart {
        IntervalPart {
            phase: self.phase,
            number: self.number,
            from: self.from,
            until,
            latency: mem::replace(&mut self.latency, stats::new_histogram()),
            send_lag: mem::replace(&mut self.send_lag, stats::new_lag_histogram()),
            counts: mem::take(&mut self.counts),
            open_connections,
        }
    }

    fn begin(&mut self, phase: IntervalPhase, from: Instant) {
        self.number = if phase == self.phase { self.number + 1 } else { 0 };
        self.phase = phase;
        self.from = from;
        self.until = self.end_of(phase, from);
    }

    /// Planned end of an interval. Ends are at multiples of the length from the start of the
    /// window, so that measured intervals have the full length and only the first one of the
    /// warm-up is shorter.
    fn end_of(&self, phase: IntervalPhase, from: Instant) -> Instant {
        match phase {
            IntervalPhase::Warmup => {
                let rest_ns = self.window.from.duration_since(from).as_nanos();
                let length_ns = self.length.as_nanos();
                let whole = u32::try_from((rest_ns - 1) / length_ns).unwrap_or(u32::MAX);
                self.window.from - self.length * whole
            }
            IntervalPhase::Measured => (from + self.length).min(self.window.until),
            IntervalPhase::Drain => from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the intervals cover the run without a gap or an overlap, and none spans two phases.
    ///
    /// Method: a warm-up of 2.5 and a window of 3.5 lengths, closed one by one; no warm-up; a
    /// window cut in the middle of its second interval.
    ///
    /// Kills: intervals counted from the start of the warm-up; a missing short last one; a cut
    /// interval that ends in the future.
    #[test]
    fn intervals_cover_the_run_without_gaps() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let length = Duration::from_secs(1);
        let window = Window { from: at(2_500), until: at(6_000) };
        let ms = |part: &IntervalPart| {
            let ms = |time: Instant| time.duration_since(start).as_millis();
            (part.phase, part.number, ms(part.from), ms(part.until))
        };

        let mut recorder = Recorder::new(start, window, length);
        let parts: Vec<IntervalPart> = std::iter::from_fn(|| {
            recorder.until()?;
            Some(recorder.close(0))
        })
        .collect();
        let found: Vec<_> = parts.iter().map(ms).collect();
        let expected = [
            (IntervalPhase::Warmup, 0, 0, 500),
            (IntervalPhase::Warmup, 1, 500, 1_500),
            (IntervalPhase::Warmup, 2, 1_500, 2_500),
            (IntervalPhase::Measured, 0, 2_500, 3_500),
            (IntervalPhase::Measured, 1, 3_500, 4_500),
            (IntervalPhase::Measured, 2, 4_500, 5_500),
            (IntervalPhase::Measured, 3, 5_500, 6_000),
        ];
        assert_eq!(found, expected);
        assert!(recorder.close_for_drain(at(6_100), 0).is_none(), "the drain has begun");
        assert_eq!(ms(&recorder.finish(at(7_000), 0)), (IntervalPhase::Drain, 0, 6_000, 7_000));

        let mut cut = Recorder::new(at(2_500), window, length);
        assert_eq!(ms(&cut.close(0)), (IntervalPhase::Measured, 0, 2_500, 3_500));
        let part = cut.close_for_drain(at(4_000), 0).unwrap();
        assert_eq!(ms(&part), (IntervalPhase::Measured, 1, 3_500, 4_000));
        assert_eq!(ms(&cut.finish(at(5_000), 0)), (IntervalPhase::Drain, 0, 4_000, 5_000));
    }

    /// Goal: a part contains its own records, and the next one starts empty.
    ///
    /// Method: record, close, record other values, close.
    ///
    /// Kills: histograms or counters that are not reset.
    #[test]
    fn parts_do_not_share_records() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let window = Window { from: start, until: start + 2 * second };
        let mut recorder = Recorder::new(start, window, second);
        recorder.record_ns(1_000);
        recorder.record_lag(Duration::from_micros(3));
        recorder.counts.completed += 1;
        let first = recorder.close(7);
        recorder.record_ns(5_000);
        recorder.counts.errors += 1;
        let second = recorder.close(6);
        assert_eq!((first.latency.len(), first.send_lag.len()), (1, 1));
        assert_eq!(
            (first.counts.completed, first.counts.errors, first.open_connections),
            (1, 0, 7)
        );
        assert_eq!((second.latency.max(), second.send_lag.len()), (5_003, 0));
        assert_eq!((second.counts.completed, second.counts.errors), (0, 1));
    }
}
