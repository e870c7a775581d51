//! Connections come and go.

use std::time::{Duration, Instant};

use crate::measure::failure::{Example, Failure, UnexpectedBytes};
use crate::net::connect::ConnectTimings;
use crate::net::tls::Connection;
use crate::worker::control::Event;
use crate::worker::state::{FAILED_CONNECTS_MAX, Worker, record};

/// Which of a connection's connects it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Attempt {
    First,
    Again,
}

impl Worker {
    pub(in crate::worker) fn connect_started(&self) {
        let mut ramp = self.ramp.borrow_mut();
        if ramp.started == 0 {
            ramp.started_at = Instant::now();
        }
        ramp.started += 1;
        ramp.pending += 1;
    }

    pub(in crate::worker) fn all_connects_started(&self) {
        self.ramp.borrow_mut().all_started = true;
        self.notify_if_ramped();
    }

    pub(in crate::worker) fn gives_up_connecting(&self) -> bool {
        let ramp = self.ramp.borrow();
        self.is_draining() || (ramp.opened == 0 && ramp.failed >= FAILED_CONNECTS_MAX)
    }

    pub(in crate::worker) fn opened(&self, index: u32, timings: ConnectTimings, attempt: Attempt) {
        self.record_timings(timings);
        let was_opened = {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            slot.is_open = true;
            slot.sent_here = 0;
            slot.whole_here = 0;
            slot.is_retiring = false;
            std::mem::replace(&mut slot.was_opened, true)
        };
        self.links.published.alive.add_one();
        match attempt {
            Attempt::First => {
                self.links.published.opened.add_one();
                let mut ramp = self.ramp.borrow_mut();
                ramp.opened += 1;
                ramp.pending -= 1;
                ramp.length = ramp.started_at.elapsed();
            }
            // Its first connect has failed, in the ramp.
            Attempt::Again if !was_opened => self.links.published.opened.add_one(),
            Attempt::Again => self.reconnects.set(self.reconnects.get() + 1),
        }
        self.notify_if_ramped();
    }

    fn record_timings(&self, timings: ConnectTimings) {
        let ConnectTimings { connect, tls, handshake } = timings;
        record(&self.connect, connect);
        let mut handshakes = self.handshakes.borrow_mut();
        if let Some(tls) = tls {
            handshakes.tls.saturating_record(tls.as_nanos() as u64);
        }
        if let Some(handshake) = handshake {
            handshakes.protocol.saturating_record(handshake.as_nanos() as u64);
        }
    }

    /// Remembers what the first connection has agreed on.
    pub(in crate::worker) fn note_suite(&self, connection: &Connection) {
        let mut handshakes = self.handshakes.borrow_mut();
        if handshakes.tls_suite.is_none() {
            handshakes.tls_suite = connection.suite();
        }
    }

    pub(in crate::worker) fn connect_failed(
        &self,
        index: u32,
        failure: Failure,
        unexpected: Option<UnexpectedBytes>,
        attempt: Attempt,
    ) {
        self.connect_failure(index, failure, unexpected);
        self.links.published.refused.add_one();
        self.service_failed(Instant::now());
        if attempt == Attempt::First {
            let mut ramp = self.ramp.borrow_mut();
            ramp.failed += 1;
            ramp.pending -= 1;
        }
        self.notify_if_ramped();
        self.notify_if_lost();
    }

    pub(in crate::worker) fn idle_opened(&self, timings: ConnectTimings) {
        self.record_timings(timings);
        let mut idle = self.idle.get();
        idle.opened += 1;
        self.idle.set(idle);
        {
            let mut ramp = self.ramp.borrow_mut();
            ramp.started -= 1; // the figures of the ramp are about those that talk
            ramp.pending -= 1;
        }
        self.notify_if_ramped();
    }

    pub(in crate::worker) fn idle_failed(
        &self,
        index: u32,
        failure: Failure,
        unexpected: Option<UnexpectedBytes>,
    ) {
        self.ramp.borrow_mut().started -= 1;
        self.ramp.borrow_mut().pending -= 1;
        self.connect_failure(index, failure, unexpected);
        self.links.published.refused.add_one();
        self.notify_if_ramped();
    }

    /// A silent connection heard something, or its end. The run's own end is not meant.
    pub(in crate::worker) fn idle_lost(&self, failure: Failure, example: Example) {
        if self.is_draining() {
            return;
        }
        let mut idle = self.idle.get();
        idle.lost += 1;
        self.idle.set(idle);
        self.failures.borrow_mut().count(failure, false, Instant::now(), example);
    }

    fn notify_if_ramped(&self) {
        let ramp = self.ramp.borrow();
        if ramp.all_started && ramp.pending == 0 {
            drop(ramp);
            self.notify_once(&self.notified.ramped, Event::Ramped);
        }
    }

    /// Nothing is left to wait for: no connection, and none that is opened again.
    pub(super) fn notify_if_lost(&self) {
        let is_lost = self.unfinished.get() == 0 && self.links.published.alive.get() == 0;
        if is_lost && !self.plan.churn.reconnects && self.window.get().is_some() {
            let by_failure = self.lost.get() > 0;
            self.notify_once(&self.notified.over, Event::Lost { by_failure });
        }
    }

    /// How long to wait before a connection that could not be opened is tried again, at the least.
    /// All of a worker's share this pace, so that a target that comes back is not flooded.
    pub(in crate::worker) fn retry_pause(&self, now: Instant) -> Duration {
        let spacing = Duration::from_secs(1) * self.plan.threads / self.plan.retries_per_second;
        let at = self.retry_at.get().max(now);
        self.retry_at.set(at + spacing);
        at - now
    }

    // How connections end.

    /// Asks a connection to end when its last reply is there.
    pub(in crate::worker) fn retire(&self, index: u32) {
        let assigned = {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            slot.is_retiring = true;
            std::mem::take(&mut slot.assigned)
        };
        assigned.into_iter().for_each(|due| self.give_back(due));
    }

    /// Whether a connection has done its part and is to be closed. Not after the end of the run:
    /// closing then would disturb the last replies of the others.
    pub(in crate::worker) fn is_spent(&self, index: u32, now: Instant) -> bool {
        let slot = &self.slots.borrow()[index as usize];
        let has_sent_all =
            self.plan.churn.requests_per_conn.is_some_and(|max| slot.sent_here >= max);
        (slot.is_retiring || has_sent_all)
            && slot.outstanding.is_empty()
            && slot.assigned.is_empty()
            && !self.is_over(now)
    }

    /// A connection was closed because it had done its part.
    pub(in crate::worker) fn retired(&self, index: u32) {
        let left = self.forget(index);
        assert!(left.is_empty(), "a connection is spent when nothing is outstanding");
        self.notify_if_lost();
    }

    /// Takes what a connection leaves behind. What it was to send, another one may.
    pub(super) fn forget(
        &self,
        index: u32,
    ) -> std::collections::VecDeque<crate::worker::state::Message> {
        let (assigned, outstanding) = {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            slot.is_open = false;
            slot.free_since = None;
            (std::mem::take(&mut slot.assigned), std::mem::take(&mut slot.outstanding))
        };
        self.links.published.alive.subtract_one();
        assigned.into_iter().for_each(|due| self.give_back(due));
        outstanding
    }

    fn give_back(&self, due: Instant) {
        self.unfinished.set(self.unfinished.get() - 1);
        if self.window.get().is_some_and(|window| window.holds(due)) {
            self.quota.set(self.quota.get().map(|quota| quota + 1));
        }
        self.dispatch().give_back(due);
    }
}
