//! What goes wrong, and where one can look for it.

use std::time::Instant;

use crate::measure::failure::{Class, Example, Failure, Local, UnexpectedBytes};
use crate::worker::state::{Message, Outcome, Traffic, Worker};

impl Worker {
    /// A connect has failed: no message was on its way.
    pub(super) fn connect_failure(
        &self,
        index: u32,
        failure: Failure,
        unexpected: Option<UnexpectedBytes>,
    ) {
        let local = self.source_of(index).map(Local::Source);
        let example = Example { local, unexpected, ..self.example_of(index) };
        self.failures.borrow_mut().count(failure, false, Instant::now(), example);
    }

    /// All that can be said of any connection.
    pub(in crate::worker) fn example_of(&self, index: u32) -> Example {
        Example { connection: self.number_of(index), ..Example::default() }
    }

    /// The reply to the oldest message of the connection is complete, and not the one that was wanted.
    pub(in crate::worker) fn replied_wrong(
        &self,
        index: u32,
        len: u64,
        failure: Failure,
        now: Instant,
        example: Example,
    ) {
        let message = {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            slot.free_since.get_or_insert(now);
            self.answered(slot)
        };
        if message.is_measured {
            self.moved(Traffic { sent: 0, received: len });
        }
        self.links.published.errors.add_one();
        self.failed(message, failure, now, example);
        self.finish_messages(1);
    }

    /// A connection has failed, and with it all that was outstanding there.
    pub(in crate::worker) fn lost(
        &self,
        index: u32,
        outcome: Outcome,
        now: Instant,
        example: Example,
    ) {
        let outstanding = self.forget(index);
        // A peer may close what nobody waits for, as long as another connection takes its place.
        let is_orderly = outstanding.is_empty()
            && self.plan.churn.reconnects
            && matches!(outcome, Outcome::Failed(failure) if failure.class == Class::Closed);
        self.lost.set(self.lost.get() + u32::from(!is_orderly));
        if outstanding.is_empty()
            && let Outcome::Failed(failure) = outcome
        {
            self.failures.borrow_mut().count(failure, false, now, example);
        }
        let finish_messages = outstanding.len() as u64;
        for message in outstanding {
            self.links.published.errors.add_one();
            match outcome {
                Outcome::Failed(failure) => self.failed(message, failure, now, example),
                Outcome::TimedOut => self.timed_out(message, now, example),
            }
        }
        self.finish_messages(finish_messages);
    }

    /// Of a connect, or of a message while there is load.
    pub(super) fn service_failed(&self, now: Instant) {
        if self.window.get().is_some() && !self.is_draining() {
            self.outages.failed(now);
        }
    }

    fn failed(&self, message: Message, failure: Failure, now: Instant, example: Example) {
        self.service_failed(now);
        self.counters.borrow_mut().errors += u64::from(message.is_measured);
        self.failures.borrow_mut().count(failure, message.is_measured, now, example);
        self.record(message.is_measured, |recorder| recorder.counts.errors += 1);
    }

    /// Recorded at the time waited: the true value is longer, leaving it out would be a lie. That
    /// holds for the younger ones on the connection too, which we gave up with the oldest.
    fn timed_out(&self, message: Message, now: Instant, example: Example) {
        self.service_failed(now);
        if message.is_measured {
            self.counters.borrow_mut().timed_out += 1;
            self.record_censored(message, now);
        }
        let failure = Failure::REPLY_TIMEOUT;
        self.failures.borrow_mut().count(failure, message.is_measured, now, example);
        self.record(message.is_measured, |recorder| recorder.counts.timed_out += 1);
    }
}
