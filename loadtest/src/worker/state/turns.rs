//! Whose turn it is, as far as it depends on the connections; the schedule is `dispatch`'s.

use std::task::Context;
use std::time::Instant;

use crate::measure::stats;
use crate::measure::window::Window;
use crate::plan::schedule::backlog::Backlog;
use crate::worker::dispatch::{Next, Turn};
use crate::worker::state::Worker;

impl Worker {
    /// Asks for the turn of a connection: when the message that it is to send was due.
    ///
    /// `Later` means that the connection will be woken, if ever.
    pub(in crate::worker) fn turn(&self, index: u32, now: Instant, cx: &Context<'_>) -> Turn {
        loop {
            match self.next_turn(index, now, cx) {
                Turn::Now { due } if self.is_stale(due, now) => {
                    self.shed_backlog(index, now);
                    self.shed(due, now);
                }
                turn => return turn,
            }
        }
    }

    /// Sheds what is stale at once, however much it is.
    fn shed_backlog(&self, index: u32, now: Instant) {
        let (Some(window), Some(deadline)) = (self.window.get(), self.plan.deadline) else {
            return;
        };
        let Some(cutoff) = now.checked_sub(deadline) else { return };
        let limit = self.quota.get().unwrap_or(u64::MAX);
        let backlog = |origin: Instant| {
            let since = |time: Instant| time.saturating_duration_since(origin);
            // What was due before the window is in no account, and is skipped.
            let (from, until) = (since(window.from), since(cutoff.min(window.until)));
            Backlog { from: from.min(since(cutoff)), until, waited_until: since(now), limit }
        };
        let shed = self.dispatch().shed(index, backlog, stats::bucket_of, |waited_ns, count| {
            self.record(true, |recorder| recorder.record_many_ns(waited_ns, count));
        });
        let mut counters = self.counters.borrow_mut();
        counters.never_sent += shed;
        counters.shed += shed;
        drop(counters);
        self.quota.set(self.quota.get().map(|quota| quota - shed));
    }

    fn next_turn(&self, index: u32, now: Instant, cx: &Context<'_>) -> Turn {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[index as usize];
        if slot.waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        if let Some(due) = slot.assigned.pop_front() {
            let place_since = slot.free_since.unwrap_or(now);
            drop(slots);
            self.left(due, place_since, now);
            return Turn::Now { due };
        }
        let Some(window) = self.window.get() else { return Turn::Later };
        if !slot.may_send(&self.plan) || self.is_draining() || self.quota.get() == Some(0) {
            return Turn::Later;
        }
        let place_since = *slot.free_since.get_or_insert(now);
        let turn = self.dispatch().turn(index, &mut slot.is_queued, now, window.until);
        if let Turn::Now { due } = turn {
            self.taken(due, window);
            // Others may have been free for longer: one of them could have sent it before.
            let others = self.dispatch().free_since(|index| slots[index as usize].look(&self.plan));
            drop(slots);
            self.left(due, others.map_or(place_since, |others| others.min(place_since)), now);
        }
        turn
    }

    /// Whether it is too late to send a message (`--deadline`).
    fn is_stale(&self, due: Instant, now: Instant) -> bool {
        self.plan.deadline.is_some_and(|deadline| now.saturating_duration_since(due) > deadline)
    }

    /// Lets a message go that was to be sent now. Whoever wanted it has waited for so long, and would
    /// have waited longer.
    fn shed(&self, due: Instant, now: Instant) {
        if self.window.get().is_some_and(|window| window.holds(due)) {
            let mut counters = self.counters.borrow_mut();
            counters.never_sent += 1;
            counters.shed += 1;
            drop(counters);
            let waited_ns = now.saturating_duration_since(due).as_nanos() as u64;
            self.record(true, |recorder| recorder.record_ns(waited_ns));
        }
        self.finish_messages(1);
    }

    /// A message has its turn, to leave or to be shed. It is late because of us: not before it was due, and not before
    /// there was a place for it.
    fn left(&self, due: Instant, place_since: Instant, now: Instant) {
        if self.is_open_loop() {
            let is_measured = self.window.get().is_some_and(|window| window.holds(due));
            let lag = now.saturating_duration_since(due.max(place_since));
            self.record(is_measured, |recorder| recorder.record_lag(lag));
        }
    }

    fn taken(&self, due: Instant, window: Window) {
        self.unfinished.set(self.unfinished.get() + 1);
        if window.holds(due) {
            self.quota.set(self.quota.get().map(|quota| quota - 1));
        }
    }

    /// Gives every message that is due to a free connection, and says what to wait for.
    pub(in crate::worker) fn hand_out(&self, now: Instant) -> Next {
        let Some(window) = self.window.get() else { return Next::Nothing };
        let mut slots = self.slots.borrow_mut();
        let mut dispatch = self.dispatch();
        loop {
            if self.is_draining() || self.quota.get() == Some(0) {
                return Next::Nothing;
            }
            let has_place = |index: u32| {
                let slot = &mut slots[index as usize];
                slot.is_queued = false;
                slot.is_open && slot.may_send(&self.plan)
            };
            match dispatch.hand_out(now, window.until, has_place) {
                Err(next) => return next,
                Ok((index, due)) => {
                    self.taken(due, window);
                    let slot = &mut slots[index as usize];
                    slot.assigned.push_back(due);
                    if slot.may_send(&self.plan) {
                        slot.is_queued = true;
                        dispatch.queue(index);
                    }
                    if let Some(waker) = &slot.waker {
                        waker.wake_by_ref();
                    }
                }
            }
        }
    }
}
