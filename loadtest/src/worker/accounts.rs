//! The accounts of a worker's messages, and what it hands in.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::failure::FailureTable;
use crate::outage::Outage;
use crate::worker::Reports;

/// Where the messages of the measured window went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// Due in the window; in a closed loop, sent in it.
    pub(crate) scheduled: u64,
    pub(crate) sent: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) timed_out: u64,
    pub(crate) in_flight: u64,
    pub(crate) never_sent: u64,
    /// Of these, messages that were too late at their turn (`--deadline`).
    pub(crate) shed: u64,
    /// Messages whose reply was complete before the kernel had taken all of them; in other sums, too.
    pub(crate) answered_early: u64,
    /// Replies before the window; in none of the sums.
    pub(crate) warmup_completed: u64,
}

impl Accounts {
    pub(crate) fn merge(&mut self, other: &Accounts) {
        let Accounts {
            scheduled,
            sent,
            completed,
            errors,
            timed_out,
            in_flight,
            never_sent,
            shed,
            answered_early,
            warmup_completed,
        } = other;
        self.scheduled += scheduled;
        self.sent += sent;
        self.completed += completed;
        self.errors += errors;
        self.timed_out += timed_out;
        self.in_flight += in_flight;
        self.never_sent += never_sent;
        self.shed += shed;
        self.answered_early += answered_early;
        self.warmup_completed += warmup_completed;
    }

    /// Service times that are lower bounds: the wait was ended by us, not by a reply.
    pub(crate) fn censored_services(&self) -> u64 {
        self.timed_out + self.in_flight
    }

    /// Response times that are lower bounds.
    pub(crate) fn censored_responses(&self) -> u64 {
        self.censored_services() + self.never_sent
    }

    /// Checks that every message has exactly one fate and every sample one message. `responses` is
    /// `None` in a closed loop, which has no response times.
    pub(crate) fn check(
        &self,
        replies: u64,
        services: u64,
        responses: Option<u64>,
    ) -> Result<(), String> {
        let Accounts {
            scheduled,
            sent,
            completed,
            errors,
            timed_out,
            in_flight,
            never_sent,
            shed,
            answered_early: _,
            warmup_completed: _,
        } = *self;
        if sent != completed + errors + timed_out + in_flight {
            return Err(format!(
                "sent {sent} is not completed {completed} + errors {errors} + \
                 timed out {timed_out} + in flight {in_flight}"
            ));
        }
        if scheduled != sent + never_sent {
            return Err(format!(
                "scheduled {scheduled} is not sent {sent} + never sent {never_sent}"
            ));
        }
        if shed > never_sent {
            return Err(format!("shed {shed} of never sent {never_sent}"));
        }
        if completed != replies {
            return Err(format!(
                "completed {completed}, but the connections had {replies} replies"
            ));
        }
        if services != completed + self.censored_services() {
            return Err(format!(
                "{services} service times recorded for completed {completed} + timed out \
                 {timed_out} + in flight {in_flight}"
            ));
        }
        match responses {
            Some(responses) if responses != completed + self.censored_responses() => Err(format!(
                "{responses} response times recorded for completed {completed} + timed out \
                 {timed_out} + in flight {in_flight} + never sent {never_sent}"
            )),
            None if never_sent > 0 => {
                Err(format!("{never_sent} messages never sent in a closed loop"))
            }
            _ => Ok(()),
        }
    }
}

/// Bytes of the messages of the measured window that the kernel has taken, and of their replies that were complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Traffic {
    pub(crate) fn merge(&mut self, other: Traffic) {
        let Traffic { sent, received } = other;
        self.sent += sent;
        self.received += received;
    }
}

/// What became of the connections that never send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdleCounts {
    pub(crate) opened: u32,
    pub(crate) lost: u32,
}

/// What a worker hands in, besides the intervals it has told of already.
#[derive(Debug)]
pub(crate) struct WorkerResult {
    pub(crate) worker: u32,
    pub(crate) accounts: Accounts,
    pub(crate) traffic: Traffic,
    pub(crate) failures: FailureTable,
    /// In a closed loop empty: its service times are those of the intervals.
    pub(crate) service: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    /// Handshakes of TLS.
    pub(crate) tls: Histogram<u64>,
    /// Version and cipher suite of the first of them.
    pub(crate) tls_suite: Option<String>,
    /// Of the protocol, after all that.
    pub(crate) handshake: Histogram<u64>,
    /// How late the loop came to its timers in the measured window.
    pub(crate) loop_lag: Histogram<u64>,
    /// Measured replies of each connection that opened.
    pub(crate) replies: Vec<u64>,
    pub(crate) connects_started: u32,
    pub(crate) connects_failed: u32,
    /// Connections with at least one reply, at any time.
    pub(crate) served: u32,
    /// Connections that failed or timed out after they had opened; one that is opened again may
    /// count again.
    pub(crate) lost: u32,
    pub(crate) reconnects: u64,
    /// In the order of time.
    pub(crate) outages: Vec<Outage>,
    pub(crate) idle: IdleCounts,
    pub(crate) ramp_took: Duration,
    pub(crate) cq_overflows: u64,
    pub(crate) enobufs: u64,
    /// Awake in the measured window with nothing to do (`--spin`).
    pub(crate) spun: Duration,
    /// Of the loop, and not of an operation.
    pub(crate) reports: Reports,
}
