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
