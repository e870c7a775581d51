//! What a worker knows: its connections, its histograms, and the accounts of its messages.
//!
//! **Invariant.** `sent = completed + errors + timed out + in flight`, for the messages sent in the
//! measured window. The first four are counted where they happen; what is in flight is counted at
//! the end by looking at every connection, so the sum can be wrong and is checked
//! ([`Accounts::check`]).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Links, Plan};
use crate::control::Event;
use crate::failure::{Failure, FailureTable};
use crate::protocol::Protocol;
use crate::schedule::{ConnectGate, StartGate, Window};
use crate::stats;

/// After so many failed connects and not a single one opened, the rest is not tried: nobody is there.
const FAILED_CONNECTS_MAX: u32 = 64;

/// The state that a worker's tasks share. All on one thread.
#[derive(Debug)]
pub(super) struct Worker {
    plan: Plan,
    links: Links,
    protocol: Protocol,
    connect_gate: Rc<ConnectGate>,
    start_gate: StartGate,
    ramp: RefCell<Ramp>,
    /// `None` until the connections may send.
    window: Cell<Option<Window>>,
    is_draining: Cell<bool>,
    /// Messages without an outcome yet, measured or not.
    outstanding: Cell<u32>,
    slots: RefCell<Vec<Slot>>,
    accounts: RefCell<Accounts>,
    failures: RefCell<FailureTable>,
    service: RefCell<Histogram<u64>>,
    connect: RefCell<Histogram<u64>>,
}

/// How far the connects are.
#[derive(Debug)]
struct Ramp {
    started_at: Instant,
    started: u32,
    failed: u32,
    opened: u32,
    all_started: bool,
    /// From the start to the last connection that opened.
    took: Duration,
}

/// What is kept of one connection, however its task ends.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    was_opened: bool,
    is_open: bool,
    was_served: bool,
    /// Replies to messages of the measured window.
    replies: u64,
    in_flight: Option<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// Decided once, at the send: a window cut short later does not move a message out of it.
    is_measured: bool,
}

/// Where the messages of the measured window went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) sent: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) timed_out: u64,
    pub(crate) in_flight: u64,
    /// Replies before the window; in none of the sums.
    pub(crate) warmup_completed: u64,
}

impl Accounts {
    pub(crate) fn merge(&mut self, other: &Accounts) {
        let Accounts { sent, completed, errors, timed_out, in_flight, warmup_completed } = other;
        self.sent += sent;
        self.completed += completed;
        self.errors += errors;
        self.timed_out += timed_out;
        self.in_flight += in_flight;
        self.warmup_completed += warmup_completed;
    }

    /// Samples in the histogram that are lower bounds: the wait was ended by us, not by a reply.
    pub(crate) fn censored(&self) -> u64 {
        self.timed_out + self.in_flight
    }

    /// Checks that every message has exactly one fate and every sample one message.
    pub(crate) fn check(&self, replies: u64, samples: u64) -> Result<(), String> {
        let Accounts { sent, completed, errors, timed_out, in_flight, .. } = *self;
        if sent != completed + errors + timed_out + in_flight {
            return Err(format!(
                "sent {sent} is not completed {completed} + errors {errors} + \
                 timed out {timed_out} + in flight {in_flight}"
            ));
        }
        if completed != replies {
            return Err(format!(
                "completed {completed}, but the connections had {replies} replies"
            ));
        }
        if samples != completed + self.censored() {
            return Err(format!(
                "{samples} latencies recorded for completed {completed} + timed out {timed_out} + \
                 in flight {in_flight}"
            ));
        }
        Ok(())
    }
}

/// What a worker hands in.
#[derive(Debug)]
pub(crate) struct WorkerResult {
    pub(crate) worker: u32,
    pub(crate) accounts: Accounts,
    pub(crate) failures: FailureTable,
    pub(crate) service: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    /// Measured replies of each connection that opened.
    pub(crate) replies: Vec<u64>,
    pub(crate) connects_started: u32,
    pub(crate) connects_failed: u32,
    /// Connections with at least one reply, at any time.
    pub(crate) served: u32,
    /// Connections that opened and did not last.
    pub(crate) lost: u32,
    pub(crate) ramp_took: Duration,
    pub(crate) cq_overflows: u64,
    pub(crate) enobufs: u64,
    /// Tasks that panicked.
    pub(crate) panics: u64,
}

impl Worker {
    pub(super) fn new(plan: Plan, links: Links) -> Worker {
        Worker {
            protocol: Protocol::tcp_echo(plan.message_size),
            connect_gate: ConnectGate::new(plan.connects_in_flight_max),
            start_gate: StartGate::new(plan.connections),
            ramp: RefCell::new(Ramp {
                started_at: Instant::now(),
                started: 0,
                failed: 0,
                opened: 0,
                all_started: false,
                took: Duration::ZERO,
            }),
            window: Cell::new(None),
            is_draining: Cell::new(false),
            outstanding: Cell::new(0),
            slots: RefCell::new(vec![Slot::default(); plan.connections as usize]),
            accounts: RefCell::new(Accounts::default()),
            failures: RefCell::new(FailureTable::default()),
            service: RefCell::new(stats::new_histogram()),
            connect: RefCell::new(stats::new_histogram()),
            plan,
            links,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
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

    pub(super) fn tell(&self, event: Event) {
        // If the main thread has hung up, the process is about to end.
        let _ = self.links.events.send(event);
    }

    // Connecting.

    pub(super) fn connect_started(&self) {
        let mut ramp = self.ramp.borrow_mut();
        if ramp.started == 0 {
            ramp.started_at = Instant::now();
        }
        ramp.started += 1;
    }

    pub(super) fn all_connects_started(&self) {
        self.ramp.borrow_mut().all_started = true;
        self.tell_if_ramped();
    }

    pub(super) fn gives_up_connecting(&self) -> bool {
        let ramp = self.ramp.borrow();
        self.is_draining.get() || (ramp.opened == 0 && ramp.failed >= FAILED_CONNECTS_MAX)
    }

    pub(super) fn opened(&self, index: u32, took: Duration) {
        record(&self.connect, took);
        {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            slot.was_opened = true;
            slot.is_open = true;
        }
        self.links.published.opened.add_one();
        self.links.published.alive.add_one();
        {
            let mut ramp = self.ramp.borrow_mut();
            ramp.opened += 1;
            ramp.took = ramp.started_at.elapsed();
        }
        self.tell_if_ramped();
    }

    pub(super) fn connect_failed(&self, failure: Failure) {
        self.failures.borrow_mut().count(failure, false);
        self.links.published.refused.add_one();
        self.ramp.borrow_mut().failed += 1;
        self.tell_if_ramped();
    }

    fn tell_if_ramped(&self) {
        let ramp = self.ramp.borrow();
        if ramp.all_started && ramp.started == ramp.opened + ramp.failed {
            drop(ramp);
            self.tell(Event::Ramped);
        }
    }

    // Messages.

    pub(super) fn drive(&self, window: Window) {
        self.window.set(Some(window));
        self.start_gate.open();
        if self.links.published.alive.get() == 0 {
            self.tell(Event::Lost);
        }
    }

    pub(super) fn keeps_sending(&self, now: Instant) -> bool {
        !self.is_draining.get() && self.window.get().is_some_and(|window| now < window.until)
    }

    pub(super) fn sent(&self, index: u32, now: Instant) {
        let is_measured = self.window.get().is_some_and(|window| window.holds(now));
        self.accounts.borrow_mut().sent += u64::from(is_measured);
        self.outstanding.set(self.outstanding.get() + 1);
        self.slots.borrow_mut()[index as usize].in_flight = Some(Sent { at: now, is_measured });
    }

    pub(super) fn replied(&self, index: u32, now: Instant) {
        let sent = {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            let sent = slot.in_flight.take().expect("a reply follows a message");
            slot.was_served = true;
            slot.replies += u64::from(sent.is_measured);
            sent
        };
        let took = now.duration_since(sent.at);
        if sent.is_measured {
            self.accounts.borrow_mut().completed += 1;
            record(&self.service, took);
        } else {
            self.accounts.borrow_mut().warmup_completed += 1;
        }
        self.links.published.reply(took);
        self.settled();
    }

    pub(super) fn failed(&self, index: u32, failure: Failure) {
        let sent = self.lose(index);
        self.accounts.borrow_mut().errors += u64::from(sent.is_measured);
        self.failures.borrow_mut().count(failure, sent.is_measured);
        self.settled();
    }

    pub(super) fn timed_out(&self, index: u32, now: Instant) {
        let sent = self.lose(index);
        if sent.is_measured {
            self.accounts.borrow_mut().timed_out += 1;
            // Recorded at the time waited: the true value is longer, leaving it out would be a lie.
            record(&self.service, now.duration_since(sent.at));
        }
        self.failures.borrow_mut().count(Failure::REPLY_TIMEOUT, sent.is_measured);
        self.settled();
    }

    /// Closes the books of a connection whose message failed.
    fn lose(&self, index: u32) -> Sent {
        self.links.published.errors.add_one();
        self.links.published.alive.subtract_one();
        let slot = &mut self.slots.borrow_mut()[index as usize];
        slot.is_open = false;
        slot.in_flight.take().expect("only a message can fail")
    }

    /// A message has found its fate.
    fn settled(&self) {
        self.outstanding.set(self.outstanding.get() - 1);
        if self.outstanding.get() > 0 {
            return;
        }
        if self.is_draining.get() {
            self.tell(Event::Drained);
        } else if self.links.published.alive.get() == 0 {
            self.tell(Event::Lost);
        }
    }

    // The end.

    pub(super) fn drain(&self) {
        self.is_draining.set(true);
        if let Some(mut window) = self.window.get() {
            window.cut(Instant::now());
            self.window.set(Some(window));
        }
        if self.outstanding.get() == 0 {
            self.tell(Event::Drained);
        }
    }

    /// Closes the books.
    pub(super) fn collect(&self, now: Instant) -> WorkerResult {
        let slots = self.slots.take();
        let mut accounts = *self.accounts.borrow();
        let mut service = self.service.replace(stats::new_histogram());
        for sent in slots.iter().filter_map(|slot| slot.in_flight).filter(|sent| sent.is_measured) {
            accounts.in_flight += 1;
            service.saturating_record(now.duration_since(sent.at).as_nanos() as u64);
        }
        let ramp = self.ramp.borrow();
        let alive = slots.iter().filter(|slot| slot.is_open).count() as u32;
        WorkerResult {
            worker: self.plan.worker,
            accounts,
            failures: self.failures.take(),
            service,
            connect: self.connect.replace(stats::new_histogram()),
            replies: slots.iter().filter(|slot| slot.was_opened).map(|slot| slot.replies).collect(),
            connects_started: ramp.started,
            connects_failed: ramp.failed,
            served: slots.iter().filter(|slot| slot.was_served).count() as u32,
            lost: ramp.opened - alive,
            ramp_took: ramp.took,
            cq_overflows: 0,
            enobufs: 0,
            panics: 0,
        }
    }
}

fn record(histogram: &RefCell<Histogram<u64>>, took: Duration) {
    // Within u64 for 584 years.
    histogram.borrow_mut().saturating_record(took.as_nanos() as u64);
}
