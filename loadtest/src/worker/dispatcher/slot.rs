//! What the dispatcher keeps of one connection.
//!
//! ```text
//!          opened              retire                     last reply, then close
//! closed ─────────▶ open ─────────────────▶ retiring ─────────────────────────────▶ closed
//!                    └───────────────── a failure ────────────────────────────────────▲
//! ```
//!
//! **Invariant.** At most [`ConnLimits::pipeline`] messages are assigned or outstanding.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;
use std::time::Instant;

use crate::worker::message::Message;

/// How many messages one connection may have.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct ConnLimits {
    /// Messages outstanding at the same time.
    pub(in crate::worker) pipeline: u32,
    /// Messages from one connect to the close (`--requests-per-conn`).
    pub(in crate::worker) requests_per_conn: Option<u64>,
}

/// One connection. A slot outlives the connection's task and is used again after a reconnect.
#[derive(Debug, Default)]
pub(super) struct Slot {
    is_open: bool,
    was_opened: bool,
    was_served: bool,
    /// It gets no more messages, and is closed after its last reply.
    is_retiring: bool,
    /// In the dispatcher's queue of free connections.
    pub(super) is_queued: bool,
    /// Messages sent since the last connect.
    sent: u64,
    /// Messages of `sent` that the kernel has taken completely.
    sent_whole: u64,
    /// Replies to messages of the measured window.
    replies: u64,
    /// The time from which it has had room for a message.
    free_since: Option<Instant>,
    /// Due times of messages that the dispatcher has assigned and that are not sent yet.
    pub(super) assigned: VecDeque<Instant>,
    /// In the order of the sends, which is the order of the replies.
    outstanding: VecDeque<Message>,
    /// Wakes the connection's task.
    waker: Option<Waker>,
}

/// A message whose reply is complete.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Replied {
    pub(in crate::worker) message: Message,
    /// The reply was complete before the kernel had taken the whole message.
    pub(in crate::worker) is_early: bool,
}

impl Slot {
    /// Makes the connection open. Returns whether it was opened before.
    pub(super) fn open(&mut self) -> bool {
        self.is_open = true;
        self.is_retiring = false;
        self.sent = 0;
        self.sent_whole = 0;
        mem::replace(&mut self.was_opened, true)
    }

    /// Makes the connection closed. Returns the assigned and the outstanding messages.
    pub(super) fn close(&mut self) -> (VecDeque<Instant>, VecDeque<Message>) {
        self.is_open = false;
        self.free_since = None;
        (mem::take(&mut self.assigned), mem::take(&mut self.outstanding))
    }

    /// Makes the connection closed at the end of the run. Its messages stay as they are.
    pub(super) fn close_at_end(&mut self) {
        self.is_open = false;
    }

    /// Accepts no more messages. Returns the assigned ones.
    pub(super) fn retire(&mut self) -> VecDeque<Instant> {
        self.is_retiring = true;
        mem::take(&mut self.assigned)
    }

    pub(super) fn set_waker(&mut self, waker: &Waker) {
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn was_opened(&self) -> bool {
        self.was_opened
    }

    pub(super) fn was_served(&self) -> bool {
        self.was_served
    }

    pub(super) fn replies(&self) -> u64 {
        self.replies
    }

    pub(super) fn outstanding(&self) -> &VecDeque<Message> {
        &self.outstanding
    }

    /// Whether the kernel has taken the last message completely.
    pub(super) fn is_whole(&self) -> bool {
        self.sent_whole == self.sent
    }

    /// The time from which it has had room, which is `now` if it was not known to have any.
    pub(super) fn note_free(&mut self, now: Instant) -> Instant {
        *self.free_since.get_or_insert(now)
    }

    pub(super) fn free_since(&self) -> Option<Instant> {
        self.free_since
    }

    /// Whether it may get one more message.
    pub(super) fn may_send(&self, limits: ConnLimits) -> bool {
        let is_below = |max| self.sent + (self.assigned.len() as u64) < max;
        self.has_room(limits) && !self.is_retiring && limits.requests_per_conn.is_none_or(is_below)
    }

    /// Whether it has sent all of its messages and has all of their replies.
    pub(super) fn is_spent(&self, limits: ConnLimits) -> bool {
        let has_sent_all = limits.requests_per_conn.is_some_and(|max| self.sent >= max);
        (self.is_retiring || has_sent_all)
            && self.outstanding.is_empty()
            && self.assigned.is_empty()
    }

    fn has_room(&self, limits: ConnLimits) -> bool {
        self.outstanding.len() + self.assigned.len() < limits.pipeline as usize
    }

    /// Adds a message that is being sent.
    pub(super) fn sent(&mut self, message: Message, limits: ConnLimits) {
        self.outstanding.push_back(message);
        self.sent += 1;
        if !self.has_room(limits) {
            self.free_since = None;
        }
    }

    /// The kernel has taken the last message completely.
    pub(super) fn sent_whole(&mut self) {
        self.sent_whole = self.sent;
    }

    /// Takes the oldest outstanding message, whose reply is complete.
    pub(super) fn replied(&mut self, now: Instant) -> Replied {
        let number = self.sent - self.outstanding.len() as u64;
        let message = self.outstanding.pop_front().expect("a reply follows a message");
        self.note_free(now);
        Replied { message, is_early: number >= self.sent_whole }
    }

    /// Counts a reply that was the expected one. Returns whether it was the connection's first.
    pub(super) fn count_served(&mut self, message: Message) -> bool {
        self.replies += u64::from(message.is_measured);
        !mem::replace(&mut self.was_served, true)
    }
}
