//! Dispatcher: assigns due messages to connections with room.
//!
//! The dispatcher owns the connections' slots and the schedule. It is a plain state machine: it
//! reads no clock, performs no I/O and records nothing. The tasks of a worker call it with the
//! current time:
//!
//! * A connection with room calls [`Dispatcher::next_for`]. In a closed loop, or when a message is
//!   due, it sends at once. Otherwise the dispatcher queues it as free.
//! * The dispatcher's task calls [`Dispatcher::next`] until it has to wait. Each message that is
//!   due goes to the connection that has been free for the longest time.
//!
//! With `--dispatch per-conn` each connection has a schedule of its own, and `next` has nothing to
//! assign. If no connection is free, due messages stay in the schedule.
//!
//! **Invariant.** A message that was taken from the schedule is assigned, outstanding, returned, or
//! finished. None is lost when a connection fails
//! (`every_message_is_in_one_place_and_no_wakeup_is_lost`).

mod schedule;
pub(in crate::worker) mod slot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use crate::measure::window::Window;
use crate::plan::load::LoadPlan;
use crate::plan::schedule::arrivals::Arrivals;
use crate::worker::dispatcher::schedule::MessageSchedule;
use crate::worker::dispatcher::slot::{ConnLimits, Replied, Slot};
use crate::worker::message::Message;

/// The slots of a worker's connections, and the messages that they are to send.
#[derive(Debug)]
pub(super) struct Dispatcher {
    schedule: MessageSchedule,
    slots: Vec<Slot>,
    limits: ConnLimits,
    /// Connections with room, in the order in which they became free, so that all get the same
    /// share. Each is in it at most once. Some may have lost their room since.
    free: VecDeque<u32>,
    /// Wakes the dispatcher's task.
    task: Option<Waker>,
    /// A free connection must wake the task. While the task waits for a time it must not: every
    /// reply would wake it.
    wakes_on_free: bool,
    /// `None` until the connections may send.
    window: Option<Window>,
    drained_at: Option<Instant>,
    /// Measured messages that may still be sent (`--requests`).
    quota: Option<u64>,
    /// Messages taken from the schedule and without an outcome, measured or not.
    unfinished: u64,
    /// Increases with each send and each outcome.
    activity: u64,
}

/// What to do next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Connection `conn` sends the message that was due at `due`.
    Send {
        conn: u32,
        due: Instant,
        /// The time from which it could have been sent: it was due, and a connection had room.
        ready_at: Instant,
    },
    /// The next message is due at this time. No wakeup comes before.
    WaitUntil(Instant),
    /// A wakeup comes when there is something to do: a free connection, a returned message, or an
    /// assigned one.
    WaitFree,
}

/// Which messages remain.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadProgress {
    /// Some have no outcome yet.
    Unfinished,
    /// All sent messages have an outcome, and the drain has begun.
    Drained,
    /// All sent messages have an outcome, and the quota is used up.
    Spent,
    /// All sent messages have an outcome, and more may be sent.
    Idle,
}

impl Dispatcher {
    /// `streams` are the arrivals of `load` (none of a closed loop). `quota` is the number of
    /// measured messages to send.
    pub(super) fn new(
        load: &LoadPlan,
        streams: Vec<Arrivals>,
        connections: u32,
        limits: ConnLimits,
        quota: Option<u64>,
    ) -> Dispatcher {
        let schedule = MessageSchedule::new(load, streams);
        let free_max = if schedule.is_shared() { connections as usize } else { 0 };
        let mut slots = Vec::new();
        slots.resize_with(connections as usize, Slot::default);
        Dispatcher {
            schedule,
            slots,
            limits,
            free: VecDeque::with_capacity(free_max),
            task: None,
            wakes_on_free: false,
            window: None,
            drained_at: None,
            quota,
            unfinished: 0,
            activity: 0,
        }
    }

    /// Lets connections send. `origin` is time zero of the schedule.
    pub(super) fn start(&mut self, origin: Instant, window: Window) {
        self.schedule.start(origin);
        self.window = Some(window);
    }

    /// Ends the load: no message is sent from now on. With `is_cut` the rest of the schedule is
    /// outside of the window.
    pub(super) fn drain(&mut self, now: Instant, is_cut: bool) {
        self.drained_at = Some(now);
        if is_cut && let Some(window) = &mut self.window {
            window.cut(now);
        }
    }

    pub(super) fn window(&self) -> Option<Window> {
        self.window
    }

    pub(super) fn drained_at(&self) -> Option<Instant> {
        self.drained_at
    }

    /// Whether no message is sent any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.drained_at.is_some() || self.window.is_some_and(|window| now >= window.until)
    }

    pub(super) fn is_measured(&self, due: Instant) -> bool {
        self.window.is_some_and(|window| window.holds(due))
    }

    /// A number that changes with each send and each outcome.
    pub(super) fn activity(&self) -> u64 {
        self.activity
    }

    pub(super) fn progress(&self) -> LoadProgress {
        match (self.unfinished, self.drained_at, self.quota) {
            (1.., _, _) => LoadProgress::Unfinished,
            (0, Some(_), _) => LoadProgress::Drained,
            (0, None, Some(0)) => LoadProgress::Spent,
            (0, None, _) => LoadProgress::Idle,
        }
    }

    // Turns.

    /// Assigns the next message to the connection that has been free for the longest time, and
    /// wakes it.
    pub(super) fn next(&mut self, now: Instant) -> Turn {
        self.wakes_on_free = false;
        let Some(window) = self.sending() else { return Turn::WaitFree };
        let due = match self.schedule.next_shared_due().filter(|due| *due < window.until) {
            Some(due) if due <= now => due,
            Some(due) => return Turn::WaitUntil(due),
            None => return Turn::WaitFree,
        };
        while let Some(conn) = self.free.pop_front() {
            let slot = &mut self.slots[conn as usize];
            slot.is_queued = false;
            if !slot.is_open() || !slot.may_send(self.limits) {
                continue;
            }
            slot.assigned.push_back(due);
            if slot.may_send(self.limits) {
                slot.is_queued = true;
                self.free.push_back(conn);
            }
            slot.wake();
            let ready_at = due.max(slot.free_since().unwrap_or(now));
            self.take(conn, due);
            return Turn::Send { conn, due, ready_at };
        }
        self.wakes_on_free = true;
        Turn::WaitFree
    }

    /// The next message of connection `conn`, whose task is woken later if it has to wait.
    pub(super) fn next_for(&mut self, conn: u32, now: Instant) -> Turn {
        let slot = &mut self.slots[conn as usize];
        if let Some(due) = slot.assigned.pop_front() {
            let ready_at = due.max(slot.free_since().unwrap_or(now));
            return Turn::Send { conn, due, ready_at };
        }
        let may_send = slot.may_send(self.limits);
        let window = self.window.filter(|_| may_send && self.drained_at.is_none());
        let Some(window) = window else { return Turn::WaitFree };
        let free_since = self.slots[conn as usize].note_free(now);
        // With a used quota the connection waits in the queue: a message may come back.
        let due = self.sending().and_then(|_| self.schedule.next_due(conn, now));
        match due.filter(|due| *due < window.until) {
            Some(due) if due <= now => {
                self.take(conn, due);
                // Another connection may have been free for longer, and could have sent it.
                let free_since = self.longest_free_since().unwrap_or(now).min(free_since);
                Turn::Send { conn, due, ready_at: due.max(free_since) }
            }
            Some(due) if self.schedule.is_per_conn() => Turn::WaitUntil(due),
            Some(_) | None => {
                if self.schedule.is_shared() {
                    self.queue(conn);
                }
                Turn::WaitFree
            }
        }
    }

    /// The window, if messages may be sent.
    fn sending(&self) -> Option<Window> {
        self.window.filter(|_| self.drained_at.is_none() && self.quota != Some(0))
    }

    fn take(&mut self, conn: u32, due: Instant) {
        self.schedule.take(conn);
        self.unfinished += 1;
        if self.is_measured(due) {
            self.quota = self.quota.map(|quota| quota - 1);
        }
    }

    fn queue(&mut self, conn: u32) {
        let slot = &mut self.slots[conn as usize];
        if !slot.is_queued {
            slot.is_queued = true;
            self.free.push_back(conn);
            if self.wakes_on_free {
                self.wake_task();
            }
        }
    }

    /// The time from which the first connection of the queue has been free. Those before it, which
    /// have no room any more, leave the queue.
    fn longest_free_since(&mut self) -> Option<Instant> {
        loop {
            let slot = &mut self.slots[*self.free.front()? as usize];
            let is_free = slot.is_open() && slot.may_send(self.limits);
            if let Some(since) = slot.free_since().filter(|_| is_free) {
                return Some(since);
            }
            slot.is_queued = false;
            self.free.pop_front();
        }
    }

    fn give_back(&mut self, due: Instant) {
        self.unfinished -= 1;
        if self.is_measured(due) {
            self.quota = self.quota.map(|quota| quota + 1);
        }
        self.schedule.give_back(due);
        self.wake_task();
    }

    // Wakers.

    pub(super) fn set_task(&mut self, waker: &Waker) {
        if self.task.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.task = Some(waker.clone());
        }
    }

    pub(super) fn set_waker(&mut self, conn: u32, waker: &Waker) {
        self.slots[conn as usize].set_waker(waker);
    }

    /// Wakes the tasks of all open connections.
    pub(super) fn wake_open(&self) {
        self.slots.iter().filter(|slot| slot.is_open()).for_each(Slot::wake);
    }

    fn wake_task(&mut self) {
        self.wakes_on_free = false;
        if let Some(waker) = &self.task {
            waker.wake_by_ref();
        }
    }

    // Connections.

    /// Connection `conn` is open. Returns whether it was opened before.
    pub(super) fn opened(&mut self, conn: u32) -> bool {
        self.slots[conn as usize].open()
    }

    /// Stops assigning messages to connection `conn`. It ends after its last reply.
    pub(super) fn retire(&mut self, conn: u32) {
        let assigned = self.slots[conn as usize].retire();
        assigned.into_iter().for_each(|due| self.give_back(due));
    }

    /// Connection `conn` has ended. Its assigned messages return to the schedule. Returns the
    /// outstanding ones, which are unfinished until [`finish`](Dispatcher::finish).
    pub(super) fn ended(&mut self, conn: u32) -> VecDeque<Message> {
        let (assigned, outstanding) = self.slots[conn as usize].close();
        assigned.into_iter().for_each(|due| self.give_back(due));
        outstanding
    }

    /// Connection `conn` was closed at the end of the run. Its messages stay as they are.
    pub(super) fn closed_at_end(&mut self, conn: u32) {
        self.slots[conn as usize].close_at_end();
    }

    pub(super) fn has_open(&self) -> bool {
        self.slots.iter().any(Slot::is_open)
    }

    /// Whether connection `conn` has sent all of its messages and is to be closed. After the end of
    /// the load it stays open: closing would disturb the last replies of others.
    pub(super) fn is_spent(&self, conn: u32, now: Instant) -> bool {
        self.slots[conn as usize].is_spent(self.limits) && !self.is_over(now)
    }

    /// Whether the kernel has taken the last message of connection `conn` completely.
    pub(super) fn is_whole(&self, conn: u32) -> bool {
        self.slots[conn as usize].is_whole()
    }

    /// Messages of connection `conn` without a reply.
    pub(super) fn outstanding(&self, conn: u32) -> usize {
        self.slots[conn as usize].outstanding().len()
    }

    /// When the oldest message of connection `conn` without a reply was sent.
    pub(super) fn oldest_sent_at(&self, conn: u32) -> Option<Instant> {
        self.slots[conn as usize].outstanding().front().map(|message| message.sent_at)
    }

    // Messages.

    /// Connection `conn` begins to send a message. Returns whether the message is measured.
    pub(super) fn sent(&mut self, conn: u32, due: Instant, now: Instant) -> bool {
        let is_measured = self.is_measured(due);
        let message = Message { due, sent_at: now, is_measured };
        self.slots[conn as usize].sent(message, self.limits);
        self.activity += 1;
        is_measured
    }

    /// The kernel has taken the last message of connection `conn` completely.
    pub(super) fn sent_whole(&mut self, conn: u32) {
        self.slots[conn as usize].sent_whole();
    }

    /// The reply to the oldest message of connection `conn` is complete.
    pub(super) fn replied(&mut self, conn: u32, now: Instant) -> Replied {
        self.slots[conn as usize].replied(now)
    }

    /// The reply was the expected one. Returns whether it was the connection's first.
    pub(super) fn count_served(&mut self, conn: u32, message: Message) -> bool {
        self.slots[conn as usize].count_served(message)
    }

    /// `count` messages have an outcome.
    pub(super) fn finish(&mut self, count: u64) -> LoadProgress {
        self.activity += 1;
        self.unfinished -= count;
        self.progress()
    }

    /// Takes the messages of the stream of `conn` that were due before `cutoff`. `record` gets the
    /// waits of the measured ones in nanoseconds, and how many messages have waited so long.
    /// Returns the number of measured messages.
    pub(super) fn shed(
        &mut self,
        conn: u32,
        cutoff: Instant,
        now: Instant,
        record: impl FnMut(u64, u64),
    ) -> u64 {
        let Some(window) = self.window else { return 0 };
        let limit = self.quota.unwrap_or(u64::MAX);
        let shed = self.schedule.take_before(conn, cutoff, window, now, limit, record);
        self.quota = self.quota.map(|quota| quota - shed);
        shed
    }

    // The end of the run.

    /// Measured messages without a reply.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = Message> {
        let outstanding = self.slots.iter().flat_map(Slot::outstanding);
        outstanding.copied().filter(|message| message.is_measured)
    }

    /// Takes the measured messages that were not sent. `record` gets the nanoseconds that they have
    /// waited at `waited_until`, and how many have waited so long.
    pub(super) fn take_unsent(&mut self, waited_until: Instant, mut record: impl FnMut(u64, u64)) {
        let Some(window) = self.window else { return };
        for due in self.slots.iter_mut().flat_map(|slot| slot.assigned.drain(..)) {
            if window.holds(due) {
                let waited = waited_until.saturating_duration_since(due);
                record(waited.as_nanos() as u64, 1);
            }
        }
        let left = self.quota.unwrap_or(u64::MAX);
        self.schedule.take_window(window, waited_until, left, record);
    }

    /// Measured replies of each connection that was opened.
    pub(super) fn replies(&self) -> Vec<u64> {
        let opened = self.slots.iter().filter(|slot| slot.was_opened());
        opened.map(Slot::replies).collect()
    }

    /// Connections with at least one reply.
    pub(super) fn served(&self) -> u32 {
        self.slots.iter().filter(|slot| slot.was_served()).count() as u32
    }
}
