//! What a worker knows: its connections and the fate of their messages.
//!
//! **Invariant.** Every message of the measured window has one fate. Those that are over are counted
//! where they end; what is in flight or was never sent is found at the end by looking at every
//! connection and at the rest of the schedule, so the sum can be wrong and is checked
//! ([`MessageCounters::check`]).

pub(crate) mod connecting;
pub(crate) mod ending;
pub(crate) mod failing;
pub(crate) mod ids;
pub(crate) mod turns;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::measure::counters::{IdleCounts, MessageCounters, Traffic};
use crate::measure::failure::{Failure, FailureTable};
use crate::measure::outage::Outages;
use crate::measure::recorder::{IntervalPhase, Recorder};
use crate::measure::stats;
use crate::measure::window::Window;
use crate::plan::load::LoadPlan;
use crate::plan::schedule::{ConnectGate, StartGate};
use crate::protocol::Protocol;
use crate::worker::control::{Event, Links};
use crate::worker::dispatch::Dispatch;
use crate::worker::plan::WorkerPlan;
use crate::worker::ramp::{Handshakes, Ramp};

/// After so many failed connects and not a single one opened, the rest is not tried: nobody is there.
const FAILED_CONNECTS_MAX: u32 = 64;

/// The state that a worker's tasks share. All on one thread.
#[derive(Debug)]
pub(super) struct Worker {
    plan: WorkerPlan,
    links: Links,
    handle: ringloop::Handle,
    protocol: Protocol,
    connect_gate: Rc<ConnectGate>,
    start_gate: StartGate,
    ramp: RefCell<Ramp>,
    lost: Cell<u32>,
    reconnects: Cell<u64>,
    /// Begun on this worker's connections so far, those that are over included.
    next_conn_id: Cell<u64>,
    idle: Cell<IdleCounts>,
    /// The same moment on both clocks.
    clocks: (Instant, ringloop::time::Instant),
    dispatch: RefCell<Dispatch>,
    /// `None` until the connections may send.
    window: Cell<Option<Window>>,
    drained_at: Cell<Option<Instant>>,
    notified: Notified,
    outages: Outages,
    /// When the next connect of a connection that could not be opened again may start.
    retry_at: Cell<Instant>,
    /// Messages taken from the schedule and without an outcome yet, measured or not.
    unfinished: Cell<u64>,
    /// Measured messages that may still be sent (`--requests`).
    quota: Cell<Option<u64>>,
    slots: RefCell<Vec<Slot>>,
    counters: RefCell<MessageCounters>,
    traffic: Cell<Traffic>,
    failures: RefCell<FailureTable>,
    recorder: RefCell<Option<Recorder>>,
    /// Of an open loop; in a closed one the recorder has the service times.
    service: RefCell<Histogram<u64>>,
    connect: RefCell<Histogram<u64>>,
    handshakes: RefCell<Handshakes>,
    loop_lag: RefCell<Histogram<u64>>,
    /// Messages sent and replies received.
    activity: Cell<u64>,
    /// Awake in the measured window with nothing to do.
    spin_time: Cell<Duration>,
    /// Connections are to be closed in order, as the run is over.
    is_closing: Cell<bool>,
}

/// What the main thread counts workers by: told once each.
#[derive(Debug, Default)]
struct Notified {
    ramped: Cell<bool>,
    /// Lost or spent, whichever comes first: one that is spent may lose its connections afterwards,
    /// and the run is over when each worker has told of one of them.
    over: Cell<bool>,
    drained: Cell<bool>,
}

/// What is kept of one connection, however its task ends.
#[derive(Debug, Default)]
struct Slot {
    was_opened: bool,
    is_open: bool,
    was_served: bool,
    /// Closed at the end of the run.
    is_closed: bool,
    /// It takes no more messages, and is closed when the last reply is there.
    is_retiring: bool,
    /// Messages sent since it was opened the last time.
    sent_here: u64,
    /// Of these, messages that the kernel has taken whole.
    whole_here: u64,
    /// In the dispatcher's queue of free connections.
    is_queued: bool,
    /// Replies to messages of the measured window.
    replies: u64,
    /// Since when it has had a place for a message.
    free_since: Option<Instant>,
    /// Due times of messages that the dispatcher has given it, not sent yet.
    assigned: VecDeque<Instant>,
    /// In the order of the sends, which is that of the replies.
    outstanding: VecDeque<Message>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    /// In a closed loop the same as `sent_at`.
    due: Instant,
    sent_at: Instant,
    /// Decided once, at the send: a window cut short later does not move a message out of it.
    is_measured: bool,
}

/// Why the messages of a connection that has ended get no reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Failed(Failure),
    TimedOut,
}

impl Worker {
    pub(super) fn new(plan: WorkerPlan, links: Links) -> Worker {
        let streams = match &plan.load {
            LoadPlan::Closed => Vec::new(),
            LoadPlan::Open(load) => {
                load.streams(plan.worker, plan.threads, plan.connections, plan.connections_total)
            }
        };
        let mut slots = Vec::new();
        slots.resize_with(plan.connections as usize, Slot::default);
        Worker {
            handle: ringloop::Handle::current(),
            protocol: Protocol::new(&plan.protocol, plan.run_id, plan.seed, plan.worker),
            connect_gate: ConnectGate::new(plan.connects_in_flight_max),
            start_gate: StartGate::new(plan.connections),
            ramp: RefCell::new(Ramp::new()),
            lost: Cell::new(0),
            reconnects: Cell::new(0),
            next_conn_id: Cell::new(0),
            idle: Cell::new(IdleCounts::default()),
            clocks: (Instant::now(), ringloop::time::Instant::now()),
            dispatch: RefCell::new(Dispatch::new(&plan.load, streams, plan.connections)),
            window: Cell::new(None),
            drained_at: Cell::new(None),
            notified: Notified::default(),
            outages: Outages::default(),
            retry_at: Cell::new(Instant::now()),
            unfinished: Cell::new(0),
            quota: Cell::new(plan.requests_max),
            slots: RefCell::new(slots),
            counters: RefCell::new(MessageCounters::default()),
            traffic: Cell::new(Traffic::default()),
            failures: RefCell::new(FailureTable::default()),
            recorder: RefCell::new(None),
            service: RefCell::new(stats::new_histogram()),
            connect: RefCell::new(stats::new_histogram()),
            handshakes: RefCell::default(),
            loop_lag: RefCell::new(stats::new_lag_histogram()),
            activity: Cell::new(0),
            spin_time: Cell::new(Duration::ZERO),
            is_closing: Cell::new(false),
            plan,
            links,
        }
    }

    pub(super) fn plan(&self) -> &WorkerPlan {
        &self.plan
    }

    pub(super) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub(super) fn connect_gate(&self) -> Rc<ConnectGate> {
        Rc::clone(&self.connect_gate)
    }

    pub(super) fn start_gate(&self) -> &StartGate {
        &self.start_gate
    }

    pub(super) fn dispatch(&self) -> RefMut<'_, Dispatch> {
        self.dispatch.borrow_mut()
    }

    /// A moment as the loop's timers count it, never earlier.
    pub(super) fn loop_time(&self, at: Instant) -> ringloop::time::Instant {
        self.clocks.1 + at.saturating_duration_since(self.clocks.0)
    }

    pub(super) fn send_event(&self, event: Event) {
        // If the main thread has hung up, the process is about to end.
        let _ = self.links.events.send(event);
    }

    fn notify_once(&self, notified: &Cell<bool>, event: Event) {
        if !notified.replace(true) {
            self.send_event(event);
        }
    }

    fn is_open_loop(&self) -> bool {
        matches!(self.plan.load, LoadPlan::Open(_))
    }

    // The phases.

    pub(super) fn drive(&self, window: Window) {
        let start = window.from - self.plan.warmup;
        self.window.set(Some(window));
        self.dispatch().start(start);
        *self.recorder.borrow_mut() = Some(Recorder::new(start, window, self.plan.interval));
        self.start_gate.open();
        self.notify_if_lost();
    }

    pub(super) fn window(&self) -> Option<Window> {
        self.window.get()
    }

    /// A number that changes with everything sent or received, by us and by the kernel for us.
    pub(super) fn activity(&self) -> u64 {
        let metrics = self.handle.metrics();
        self.activity.get() + metrics.submissions + metrics.completions
    }

    /// It was awake from `begun` until `now` for nothing.
    pub(super) fn record_spin(&self, begun: Instant, now: Instant) {
        if self.window.get().is_some_and(|window| window.holds(begun)) {
            self.spin_time.set(self.spin_time.get() + (now - begun));
        }
    }

    pub(super) fn record_loop_lag(&self, lag: Duration) {
        record(&self.loop_lag, lag);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drained_at.get().is_some()
    }

    /// Whether what happens on a connection still matters when nothing is outstanding there.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_draining() || self.window.get().is_some_and(|window| now >= window.until)
    }

    // Messages.

    /// A message begins to leave. Says whether it is measured.
    pub(super) fn sent(&self, index: u32, due: Instant, now: Instant) -> bool {
        let is_measured = self.window.get().is_some_and(|window| window.holds(due));
        self.counters.borrow_mut().sent += u64::from(is_measured);
        let slot = &mut self.slots.borrow_mut()[index as usize];
        if !self.is_open_loop() {
            self.record(is_measured, |recorder| recorder.counts.scheduled += 1);
        }
        slot.outstanding.push_back(Message { due, sent_at: now, is_measured });
        self.activity.set(self.activity.get() + 1);
        slot.sent_here += 1;
        if !slot.has_place(self.plan.pipeline) {
            slot.free_since = None;
        }
        is_measured
    }

    /// The kernel has taken bytes of a message.
    pub(super) fn bytes_taken(&self, is_measured: bool, len: usize) {
        if is_measured {
            self.moved(Traffic { sent: len as u64, received: 0 });
        }
    }

    /// The kernel has all of the message that was begun last.
    pub(super) fn sent_whole(&self, index: u32) {
        let slot = &mut self.slots.borrow_mut()[index as usize];
        slot.whole_here = slot.sent_here;
    }

    /// The reply to the oldest message of the connection is complete.
    pub(super) fn replied(&self, index: u32, len: u64, now: Instant) {
        let message = {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            let message = self.answered(slot);
            if !mem::replace(&mut slot.was_served, true) {
                self.links.published.served.add_one();
            }
            slot.replies += u64::from(message.is_measured);
            slot.free_since.get_or_insert(now);
            message
        };
        match message.is_measured {
            true => {
                self.counters.borrow_mut().completed += 1;
                self.moved(Traffic { sent: 0, received: len });
            }
            false => self.counters.borrow_mut().warmup_completed += 1,
        }
        let latency = now.duration_since(message.due);
        if self.is_open_loop() && message.is_measured {
            record(&self.service, now.duration_since(message.sent_at));
        }
        self.record(message.is_measured, |recorder| {
            recorder.record_ns(latency.as_nanos() as u64);
            recorder.counts.completed += 1;
        });
        self.links.published.reply(latency);
        self.outages.replied(now);
        self.finish_messages(1);
    }

    /// Takes the oldest message of a connection, whose reply is complete.
    fn answered(&self, slot: &mut Slot) -> Message {
        let number = slot.sent_here - slot.outstanding.len() as u64;
        let message = slot.outstanding.pop_front().expect("a reply follows a message");
        let is_early = number >= slot.whole_here && message.is_measured;
        self.counters.borrow_mut().answered_early += u64::from(is_early);
        message
    }

    fn moved(&self, more: Traffic) {
        let mut traffic = self.traffic.get();
        traffic.merge(more);
        self.traffic.set(traffic);
    }

    pub(super) fn outstanding(&self, index: u32) -> usize {
        self.slots.borrow()[index as usize].outstanding.len()
    }

    /// When the oldest message without a reply was sent.
    pub(super) fn oldest_sent_at(&self, index: u32) -> Option<Instant> {
        self.slots.borrow()[index as usize].outstanding.front().map(|message| message.sent_at)
    }

    fn record_censored(&self, message: Message, now: Instant) {
        if self.is_open_loop() {
            record(&self.service, now.duration_since(message.sent_at));
        }
        let waited_ns = now.duration_since(message.due).as_nanos() as u64;
        self.record(true, |recorder| recorder.record_ns(waited_ns));
    }

    /// So many messages have found their fate.
    fn finish_messages(&self, count: u64) {
        self.activity.set(self.activity.get() + 1);
        self.unfinished.set(self.unfinished.get() - count);
        if self.unfinished.get() > 0 {
            return;
        }
        if self.is_draining() {
            self.notify_once(&self.notified.drained, Event::Drained);
        } else if self.quota.get() == Some(0) {
            self.notify_once(&self.notified.over, Event::Spent);
        } else {
            self.notify_if_lost();
        }
    }

    // Intervals.

    /// Lets `note` write what belongs to the phase that runs: replies of the warm-up that come in the
    /// measured window are in no interval.
    fn record(&self, is_measured: bool, note: impl FnOnce(&mut Recorder)) {
        let mut place = self.recorder.borrow_mut();
        let Some(recorder) = place.as_mut() else { return };
        while is_measured && recorder.phase() == IntervalPhase::Warmup {
            // The window has begun, and the task that closes intervals is not there yet.
            self.send_interval(recorder);
        }
        if is_measured == (recorder.phase() != IntervalPhase::Warmup) {
            note(recorder);
        }
    }

    fn send_interval(&self, recorder: &mut Recorder) {
        let part = recorder.close(self.links.published.alive.get() as u32);
        self.send_event(Event::Interval { worker: self.plan.worker, part: Box::new(part) });
    }

    /// Closes the intervals that are over. Returns the end of the one that runs, if it is known.
    pub(super) fn close_intervals(&self, now: Instant) -> Option<Instant> {
        let mut place = self.recorder.borrow_mut();
        let recorder = place.as_mut()?;
        while recorder.until().is_some_and(|until| until <= now) {
            self.send_interval(recorder);
        }
        recorder.until()
    }
}

impl Slot {
    /// Since when this connection, which is first in the queue, has had a place. If it has none it
    /// leaves the queue.
    fn look(&mut self, plan: &WorkerPlan) -> Option<Instant> {
        let since = self.free_since.filter(|_| self.is_open && self.may_send(plan));
        self.is_queued = since.is_some();
        since
    }

    fn may_send(&self, plan: &WorkerPlan) -> bool {
        let left = |max| self.sent_here + (self.assigned.len() as u64) < max;
        self.has_place(plan.pipeline)
            && !self.is_retiring
            && plan.churn.requests_per_conn.is_none_or(left)
    }

    fn has_place(&self, pipeline: u32) -> bool {
        self.outstanding.len() + self.assigned.len() < pipeline as usize
    }
}

fn record(histogram: &RefCell<Histogram<u64>>, latency: Duration) {
    // Within u64 for 584 years.
    histogram.borrow_mut().saturating_record(latency.as_nanos() as u64);
}
