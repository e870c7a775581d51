//! Messages: what a connection's task reports, and what is counted for it.

use std::task::Context;
use std::time::Instant;

use crate::measure::failure::{Class, Example, Failure};
use crate::worker::dispatcher::Turn;
use crate::worker::message::Outcome;
use crate::worker::shared::Worker;

impl Worker {
    /// The next message of connection `conn`, or what its task has to wait for. Messages that are
    /// older than the deadline are left out.
    pub(in crate::worker) fn next_for(&self, conn: u32, now: Instant, cx: &Context<'_>) -> Turn {
        self.dispatcher.borrow_mut().set_waker(conn, cx.waker());
        loop {
            let turn = self.dispatcher.borrow_mut().next_for(conn, now);
            let Turn::Send { due, ready_at, .. } = turn else { return turn };
            let is_measured = self.dispatcher.borrow().is_measured(due);
            self.outcomes.borrow_mut().record_send_lag(is_measured, ready_at, now);
            if !self.is_stale(due, now) {
                return turn;
            }
            self.shed(conn, due, now);
        }
    }

    /// Whether a message is too old to be sent (`--deadline`).
    fn is_stale(&self, due: Instant, now: Instant) -> bool {
        self.plan.deadline.is_some_and(|deadline| now.saturating_duration_since(due) > deadline)
    }

    /// Drops the message that was due at `due`, and all others of its stream that are too old. Each
    /// is recorded with the time that it has waited.
    fn shed(&self, conn: u32, due: Instant, now: Instant) {
        let mut dispatcher = self.dispatcher.borrow_mut();
        let mut outcomes = self.outcomes.borrow_mut();
        if let Some(cutoff) = self.plan.deadline.and_then(|deadline| now.checked_sub(deadline)) {
            let shed = dispatcher.shed(conn, cutoff, now, |waited_ns, count| {
                outcomes.record_unsent(waited_ns, count);
            });
            outcomes.shed(shed);
        }
        if dispatcher.is_measured(due) {
            outcomes.shed(1);
            outcomes.record_unsent(now.saturating_duration_since(due).as_nanos() as u64, 1);
        }
        drop(outcomes);
        let progress = dispatcher.finish(1);
        drop(dispatcher);
        self.notify_progress(progress);
    }

    /// A message begins to leave. Returns whether it is measured.
    pub(in crate::worker) fn sent(&self, conn: u32, due: Instant, now: Instant) -> bool {
        let is_measured = self.dispatcher.borrow_mut().sent(conn, due, now);
        self.outcomes.borrow_mut().sent(is_measured);
        is_measured
    }

    /// The kernel has taken `len` bytes of a message.
    pub(in crate::worker) fn bytes_taken(&self, is_measured: bool, len: usize) {
        self.outcomes.borrow_mut().bytes_taken(is_measured, len);
    }

    /// The kernel has taken the last message completely.
    pub(in crate::worker) fn sent_whole(&self, conn: u32) {
        self.dispatcher.borrow_mut().sent_whole(conn);
    }

    /// Whether the kernel has taken the last message completely.
    pub(in crate::worker) fn is_whole(&self, conn: u32) -> bool {
        self.dispatcher.borrow().is_whole(conn)
    }

    /// Messages without a reply.
    pub(in crate::worker) fn outstanding(&self, conn: u32) -> usize {
        self.dispatcher.borrow().outstanding(conn)
    }

    /// When the oldest message without a reply was sent.
    pub(in crate::worker) fn oldest_sent_at(&self, conn: u32) -> Option<Instant> {
        self.dispatcher.borrow().oldest_sent_at(conn)
    }

    /// The reply to the oldest message of connection `conn` is complete. With a `wrong` it is not
    /// the expected one, and the message has failed.
    pub(in crate::worker) fn replied(
        &self,
        conn: u32,
        reply_len: u64,
        now: Instant,
        wrong: Option<(Failure, Example)>,
    ) {
        let mut dispatcher = self.dispatcher.borrow_mut();
        let mut outcomes = self.outcomes.borrow_mut();
        let replied = dispatcher.replied(conn, now);
        if replied.is_early {
            outcomes.answered_early(replied.message);
        }
        match wrong {
            None => {
                if dispatcher.count_served(conn, replied.message) {
                    self.links.published.served.add_one();
                }
                outcomes.completed(replied.message, reply_len, now);
            }
            Some((failure, example)) => {
                outcomes.failed(replied.message, reply_len, failure, now, example);
            }
        }
        drop(outcomes);
        let progress = dispatcher.finish(1);
        drop(dispatcher);
        self.notify_progress(progress);
    }

    /// Connection `conn` has failed, and with it all of its outstanding messages.
    pub(in crate::worker) fn lost(
        &self,
        conn: u32,
        outcome: Outcome,
        now: Instant,
        example: Example,
    ) {
        let outstanding = self.dispatcher.borrow_mut().ended(conn);
        self.links.published.alive.subtract_one();
        // A peer may close a connection without outstanding messages, if another one replaces it.
        let is_orderly = outstanding.is_empty()
            && self.plan.churn.reconnects
            && matches!(outcome, Outcome::Failed(failure) if failure.class == Class::Closed);
        if !is_orderly {
            self.ramp.borrow_mut().lost();
        }
        let mut outcomes = self.outcomes.borrow_mut();
        if outstanding.is_empty()
            && let Outcome::Failed(failure) = outcome
        {
            outcomes.conn_failed(failure, now, example);
        }
        for message in &outstanding {
            match outcome {
                Outcome::Failed(failure) => outcomes.failed(*message, 0, failure, now, example),
                Outcome::TimedOut => outcomes.timed_out(*message, now, example),
            }
        }
        drop(outcomes);
        let progress = self.dispatcher.borrow_mut().finish(outstanding.len() as u64);
        self.notify_progress(progress);
    }

    /// Connection `conn` was closed after all of its messages and replies.
    pub(in crate::worker) fn retired(&self, conn: u32) {
        let outstanding = self.dispatcher.borrow_mut().ended(conn);
        assert!(outstanding.is_empty(), "a spent connection has {} messages", outstanding.len());
        self.links.published.alive.subtract_one();
        self.notify_if_lost();
    }

    /// Stops sending on connection `conn`, which is closed after its last reply.
    pub(in crate::worker) fn retire(&self, conn: u32) {
        self.dispatcher.borrow_mut().retire(conn);
    }

    /// Whether connection `conn` is to be closed because it has sent all of its messages.
    pub(in crate::worker) fn is_spent(&self, conn: u32, now: Instant) -> bool {
        self.dispatcher.borrow().is_spent(conn, now)
    }
}
