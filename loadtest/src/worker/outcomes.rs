//! Outcomes of a worker's messages: counters, failures, latencies and outages.
//!
//! **Invariant.** Every message of the measured window is counted once: when it is completed, when
//! it has failed or timed out, or at the end of the run as in flight or never sent
//! ([`MessageCounters::check`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::measure::counters::{MessageCounters, Traffic};
use crate::measure::failure::{Example, Failure, FailureTable};
use crate::measure::outage::Outages;
use crate::measure::published::Published;
use crate::measure::stats;
use crate::measure::window::Window;
use crate::worker::control::Links;
use crate::worker::intervals::Intervals;
use crate::worker::message::Message;

/// Counts and records what happens to messages.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) counters: MessageCounters,
    pub(super) traffic: Traffic,
    pub(super) failures: FailureTable,
    pub(super) outages: Outages,
    /// Service times of an open loop. In a closed loop the intervals have them.
    pub(super) service: Histogram<u64>,
    pub(super) intervals: Intervals,
    published: Arc<Published>,
    is_open_loop: bool,
    /// From the first message until the drain. A failure is part of an outage only then.
    has_load: bool,
}

impl Outcomes {
    pub(super) fn new(worker: u32, is_open_loop: bool, links: &Links) -> Outcomes {
        Outcomes {
            counters: MessageCounters::default(),
            traffic: Traffic::default(),
            failures: FailureTable::default(),
            outages: Outages::default(),
            service: stats::new_histogram(),
            intervals: Intervals::new(worker, links),
            published: Arc::clone(&links.published),
            is_open_loop,
            has_load: false,
        }
    }

    pub(super) fn start(&mut self, start: Instant, window: Window, interval: Duration) {
        self.intervals.start(start, window, interval);
        self.has_load = true;
    }

    pub(super) fn drain(&mut self, now: Instant) {
        self.intervals.close_for_drain(now);
        self.has_load = false;
    }

    // Sends.

    /// Records how late the generator is with a message: since `ready_at` the message was due and a
    /// connection had room.
    pub(super) fn record_send_lag(&mut self, is_measured: bool, ready_at: Instant, now: Instant) {
        if self.is_open_loop {
            let lag = now.saturating_duration_since(ready_at);
            self.intervals.record(is_measured, |recorder| recorder.record_lag(lag));
        }
    }

    /// A connection begins to send a message.
    pub(super) fn sent(&mut self, is_measured: bool) {
        self.counters.sent += u64::from(is_measured);
        if !self.is_open_loop {
            self.intervals.record(is_measured, |recorder| recorder.counts.scheduled += 1);
        }
    }

    /// The kernel has taken `len` bytes of a message.
    pub(super) fn bytes_taken(&mut self, is_measured: bool, len: usize) {
        if is_measured {
            self.traffic.sent += len as u64;
        }
    }

    // Outcomes.

    /// The expected reply to `message` is complete.
    pub(super) fn completed(&mut self, message: Message, reply_len: u64, now: Instant) {
        if message.is_measured {
            self.counters.completed += 1;
            self.traffic.received += reply_len;
            self.record_service(message, now);
        } else {
            self.counters.warmup_completed += 1;
        }
        let latency = now.duration_since(message.due);
        self.intervals.record(message.is_measured, |recorder| {
            recorder.record_ns(latency.as_nanos() as u64);
            recorder.counts.completed += 1;
        });
        self.published.reply(latency);
        self.outages.replied(now);
    }

    /// The reply to `message` was complete before the kernel had taken the whole message.
    pub(super) fn answered_early(&mut self, message: Message) {
        self.counters.answered_early += u64::from(message.is_measured);
    }

    /// `message` has failed after `reply_len` bytes of a reply that is complete.
    pub(super) fn failed(
        &mut self,
        message: Message,
        reply_len: u64,
        failure: Failure,
        now: Instant,
        example: Example,
    ) {
        self.published.errors.add_one();
        self.note_outage(now);
        if message.is_measured {
            self.counters.errors += 1;
            self.traffic.received += reply_len;
        }
        self.failures.count(failure, message.is_measured, now, example);
        self.intervals.record(message.is_measured, |recorder| recorder.counts.errors += 1);
    }

    /// `message` has no reply in time, or is on a connection that is given up for this reason. It
    /// is recorded with the time waited: the true latency is longer, and without this sample the
    /// distribution would be too good.
    pub(super) fn timed_out(&mut self, message: Message, now: Instant, example: Example) {
        self.published.errors.add_one();
        self.note_outage(now);
        if message.is_measured {
            self.counters.timed_out += 1;
            self.record_censored(message, now);
        }
        let failure = Failure::REPLY_TIMEOUT;
        self.failures.count(failure, message.is_measured, now, example);
        self.intervals.record(message.is_measured, |recorder| recorder.counts.timed_out += 1);
    }

    /// `count` measured messages were too old to be sent (`--deadline`).
    pub(super) fn shed(&mut self, count: u64) {
        self.counters.never_sent += count;
        self.counters.shed += count;
    }

    /// Records the time that `count` messages have waited without being sent.
    pub(super) fn record_unsent(&mut self, waited_ns: u64, count: u64) {
        self.intervals.record(true, |recorder| recorder.record_many_ns(waited_ns, count));
    }

    /// At the end of the run `message` waits for its reply.
    pub(super) fn in_flight(&mut self, message: Message, now: Instant) {
        self.counters.in_flight += 1;
        self.record_censored(message, now);
    }

    /// At the end of the run `count` messages are not sent.
    pub(super) fn never_sent(&mut self, waited_ns: u64, count: u64) {
        self.counters.never_sent += count;
        self.record_unsent(waited_ns, count);
    }

    fn record_censored(&mut self, message: Message, now: Instant) {
        self.record_service(message, now);
        let waited_ns = now.duration_since(message.due).as_nanos() as u64;
        self.intervals.record(true, |recorder| recorder.record_ns(waited_ns));
    }

    fn record_service(&mut self, message: Message, now: Instant) {
        if self.is_open_loop {
            let service_ns = now.duration_since(message.sent_at).as_nanos() as u64;
            self.service.saturating_record(service_ns);
        }
    }

    // Failures without a message.

    /// A connect has failed.
    pub(super) fn connect_failed(&mut self, failure: Failure, now: Instant, example: Example) {
        self.published.refused.add_one();
        self.failures.count(failure, false, now, example);
    }

    /// A connection without outstanding messages has failed.
    pub(super) fn conn_failed(&mut self, failure: Failure, now: Instant, example: Example) {
        self.failures.count(failure, false, now, example);
    }

    /// A message or a connect has failed.
    pub(super) fn note_outage(&mut self, now: Instant) {
        if self.has_load {
            self.outages.failed(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;
    use crate::measure::failure::{Class, Stage};
    use crate::measure::recorder::{Counts, IntervalPart, IntervalPhase};
    use crate::worker::control::{Control, Event};

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);
    const SHORT: Failure = Failure::of(Stage::Recv, Class::Short);

    /// Outcomes of a run with a warm-up of one second and a window of two, in whole seconds.
    fn outcomes(is_open_loop: bool, start: Instant) -> (Outcomes, Links, Receiver<Event>) {
        let (events, inbox) = mpsc::sync_channel(100);
        let (control, published) = (Arc::new(Control::new(1)), Arc::new(Published::new()));
        let links = Links { control, published, events };
        let mut outcomes = Outcomes::new(0, is_open_loop, &links);
        let window = Window { from: start + SECOND, until: start + 3 * SECOND };
        outcomes.start(start, window, SECOND);
        (outcomes, links, inbox)
    }

    /// A message that was sent 100 ms late.
    fn message(due: Instant, is_measured: bool) -> Message {
        Message { due, sent_at: due + 100 * MS, is_measured }
    }

    fn parts(inbox: &Receiver<Event>) -> Vec<IntervalPart> {
        let parts = inbox.try_iter().map(|event| match event {
            Event::Interval { worker: 0, part } => *part,
            other => panic!("{other:?}"),
        });
        parts.collect()
    }

    fn is_about(found_ns: u64, expected: Duration) -> bool {
        (found_ns as f64 / expected.as_nanos() as f64 - 1.0).abs() < 0.01
    }

    /// Goal: each outcome is in its own counter, and its times are counted from the right instants:
    /// response times from the due time, service times from the send.
    ///
    /// Method: one message with each outcome, all due at the start of the window and finished
    /// 300 ms later, in an open loop and in a closed one; the check of the report on the sums.
    ///
    /// Kills: an outcome in no counter or in two; a sample that is missing; a wait counted from the
    /// wrong instant; service times recorded twice in a closed loop; a reply without its bytes.
    #[test]
    fn each_outcome_has_its_counter_and_its_times() {
        for is_open_loop in [true, false] {
            let start = Instant::now();
            let (mut outcomes, links, inbox) = outcomes(is_open_loop, start);
            let (due, now) = (start + SECOND, start + SECOND + 300 * MS);
            for _ in 0..4 {
                outcomes.sent(true);
            }
            outcomes.completed(message(due, true), 7, now);
            outcomes.failed(message(due, true), 3, SHORT, now, Example::default());
            outcomes.timed_out(message(due, true), now, Example::default());
            outcomes.in_flight(message(due, true), now);
            let mut unsent = 0;
            if is_open_loop {
                outcomes.shed(1);
                outcomes.record_unsent(300_000_000, 1);
                outcomes.never_sent(300_000_000, 2);
                unsent = 3;
            }
            outcomes.intervals.finish(now);
            let expected = MessageCounters {
                sent: 4,
                completed: 1,
                errors: 1,
                timed_out: 1,
                in_flight: 1,
                never_sent: unsent,
                shed: unsent.min(1),
                ..MessageCounters::default()
            };
            assert_eq!(outcomes.counters, expected);
            assert_eq!(outcomes.traffic, Traffic { sent: 0, received: 10 });
            let published = [&links.published.replies, &links.published.errors];
            assert_eq!(published.map(|counter| counter.get()), [1, 2]);
            let part = parts(&inbox).pop().unwrap();
            let scheduled = if is_open_loop { 0 } else { 4 };
            let counts = Counts { scheduled, completed: 1, errors: 1, timed_out: 1 };
            assert_eq!((part.phase, part.counts), (IntervalPhase::Measured, counts));
            assert!(
                is_about(part.latency.min(), 300 * MS) && is_about(part.latency.max(), 300 * MS)
            );
            let scheduled = MessageCounters { scheduled: 4 + unsent, ..outcomes.counters };
            if is_open_loop {
                assert!(is_about(outcomes.service.min(), 200 * MS));
                assert!(is_about(outcomes.service.max(), 200 * MS));
                scheduled.check(1, outcomes.service.len(), Some(part.latency.len())).unwrap();
            } else {
                assert!(outcomes.service.is_empty());
                scheduled.check(1, part.latency.len(), None).unwrap();
            }
        }
    }

    /// Goal: messages of the warm-up are in no figure of the window, also if their replies arrive
    /// in it, and a message of the window never counts for the warm-up.
    ///
    /// Method: warm-up messages that finish before and in the window, with all outcomes; a measured
    /// message finishes before the task that closes intervals has run.
    ///
    /// Kills: a late reply of the warm-up in the first measured interval; a first measured reply
    /// that is lost, or is counted for the warm-up; bytes and early replies of the warm-up; an
    /// interval without its number of open connections.
    #[test]
    fn the_warm_up_is_in_no_figure_of_the_window() {
        let start = Instant::now();
        let (mut outcomes, links, inbox) = outcomes(true, start);
        links.published.alive.add_one();
        let early = message(start, false);
        outcomes.completed(early, 7, start + 200 * MS);
        outcomes.completed(message(start + SECOND, true), 5, start + SECOND + 200 * MS);
        let now = start + SECOND + 300 * MS;
        outcomes.completed(early, 7, now);
        outcomes.failed(early, 7, SHORT, now, Example::default());
        outcomes.timed_out(early, now, Example::default());
        outcomes.answered_early(early);
        outcomes.answered_early(message(start + SECOND, true));
        outcomes.sent(false);
        outcomes.bytes_taken(false, 9);
        outcomes.bytes_taken(true, 4);
        // The interval of the window is over when the drain begins, late.
        outcomes.drain(start + 3 * SECOND + 50 * MS);
        outcomes.intervals.finish(start + 4 * SECOND);
        let expected = MessageCounters {
            completed: 1,
            answered_early: 1,
            warmup_completed: 2,
            ..MessageCounters::default()
        };
        assert_eq!(outcomes.counters, expected);
        assert_eq!(outcomes.traffic, Traffic { sent: 4, received: 5 });
        let parts = parts(&inbox);
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.phase, part.until - start, part.latency.len(), part.counts.completed))
            .collect();
        let expected = [
            (IntervalPhase::Warmup, SECOND, 1, 1),
            (IntervalPhase::Measured, 2 * SECOND, 1, 1),
            (IntervalPhase::Measured, 3 * SECOND, 0, 0),
            (IntervalPhase::Drain, 4 * SECOND, 0, 0),
        ];
        assert!(parts.iter().all(|part| part.open_connections == 1));
        assert_eq!(found, expected);
    }

    /// Goal: failures are part of an outage from the start of the load to the drain, with a message
    /// or without.
    ///
    /// Method: a failure before the load; a timeout that a reply follows; a failed message without
    /// a reply after it, up to the drain; a failed connect in the drain.
    ///
    /// Kills: an outage from before the load; timeouts or errors that are in no outage; a reply
    /// that does not end one; a connect in the drain that begins one.
    #[test]
    fn outages_are_failures_under_load() {
        let start = Instant::now();
        let at = |seconds: u32| start + SECOND * seconds;
        let (mut outcomes, links, _inbox) = outcomes(true, start);
        let mut idle = Outcomes::new(0, true, &links);
        idle.note_outage(at(0));
        assert_eq!(idle.outages.finish(at(9)), [], "there is no load yet");

        outcomes.timed_out(message(at(1), true), at(2), Example::default());
        outcomes.completed(message(at(1), true), 1, at(3));
        outcomes.failed(message(at(1), true), 0, SHORT, at(4), Example::default());
        outcomes.completed(message(at(1), true), 1, at(5));
        outcomes.drain(at(6));
        outcomes.note_outage(at(7));
        outcomes.connect_failed(SHORT, at(7), Example::default());
        assert_eq!(links.published.refused.get(), 1);
        let spans = outcomes.outages.finish(at(8));
        let found: Vec<_> =
            spans.iter().map(|span| (span.first_failure, span.until, span.is_over)).collect();
        assert_eq!(found, [(at(2), at(3), true), (at(4), at(5), true)]);
    }

    /// Goal: the send lag is counted from the time at which the message could be sent, in an open
    /// loop only.
    ///
    /// Method: a measured message in both loops.
    ///
    /// Kills: a send lag in a closed loop, which has no due times; a lag from another instant.
    #[test]
    fn only_an_open_loop_has_a_send_lag() {
        for is_open_loop in [true, false] {
            let start = Instant::now();
            let (mut outcomes, _links, inbox) = outcomes(is_open_loop, start);
            let ready_at = start + SECOND;
            outcomes.record_send_lag(true, ready_at, ready_at + 4 * MS);
            outcomes.intervals.finish(ready_at + SECOND);
            let lag = parts(&inbox).pop().unwrap().send_lag;
            assert_eq!(lag.len(), u64::from(is_open_loop));
            assert!(lag.is_empty() || is_about(lag.max(), 4 * MS));
        }
    }
}
