//! Per-worker counters of messages, bytes and idle connections.

/// Outcomes of the messages of the measured window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageCounters {
    /// Due in the window; in a closed loop, sent in it.
    pub(crate) scheduled: u64,
    pub(crate) sent: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) timed_out: u64,
    pub(crate) in_flight: u64,
    pub(crate) never_sent: u64,
    /// Of these, messages that were late by more than `--deadline`.
    pub(crate) shed: u64,
    /// Messages whose reply was complete before they were fully sent; also counted in the other
    /// sums.
    pub(crate) answered_early: u64,
    /// Replies before the window; not counted in the other sums.
    pub(crate) warmup_completed: u64,
}

impl MessageCounters {
    pub(crate) fn merge(&mut self, other: &MessageCounters) {
        let MessageCounters {
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

    /// Number of service times that are lower bounds: the worker ended the wait, not a reply.
    pub(crate) fn censored_services(&self) -> u64 {
        self.timed_out + self.in_flight
    }

    /// Number of response times that are lower bounds.
    pub(crate) fn censored_responses(&self) -> u64 {
        self.censored_services() + self.never_sent
    }

    /// Checks that every message has exactly one outcome and every sample belongs to one message.
    /// `responses` is `None` in a closed loop, which has no response times.
    pub(crate) fn check(
        &self,
        replies: u64,
        services: u64,
        responses: Option<u64>,
    ) -> Result<(), String> {
        let MessageCounters {
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

/// Bytes of the messages of the measured window that the kernel accepted, and bytes of their
/// complete replies.
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

/// Counters of the idle connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdleCounts {
    pub(crate) opened: u32,
    pub(crate) lost: u32,
}
