//! Requests on their way to the driver.
//!
//! What lives here: the queue of requests that found the driver full, the operations that were
//! cancelled while they waited in it, the owners that gather bytes until the next enter, and the
//! two clocks that decide when a turn submits in its middle.
//!
//! ```text
//!  submit ──▶ push ─────────────────────────────▶ driver
//!               │ driver full             ▲
//!               ▼                         │ after a flush
//!            waiting ─────────────────────┘
//!               │ cancel
//!               ▼
//!            withdrawn ──▶ completed with ECANCELED by the next wait
//! ```
//!
//! **Invariant.** The queue holds each request that the slots call waiting exactly once, and no
//! request overtakes one that waits. A withdrawn request stays in the queue until it reaches the
//! front, or until more than half of the queue is withdrawn (`push_waiting`, `compact`). So
//! withdrawing costs O(1) amortised, and the queue is at most twice as long as what waits in it,
//! plus [`WITHDRAWN_MIN`].
//!
//! **There is no cap on operations in flight.** A send to a peer that does not read and a connect
//! that is not answered last as long as the peer likes, so any global cap lets a few peers stop all
//! others. The kernel keeps every completion that finds its queue full (`FEAT_NODROP`, H01).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::owner::Owner;
use super::slots::Slots;
use crate::driver::request::{Key, Request};
use crate::driver::{Driver, PushOutcome};

/// Flushes of one submission pass: enough to push a request for each of 256 × the queue's size.
const FLUSHES_PER_PASS_MAX: u32 = 512;

/// Withdrawn requests that a queue may hold whatever its length.
const WITHDRAWN_MIN: usize = 64;

#[derive(Default)]
pub(super) struct Submission {
    /// Requests that found the driver full, in order.
    waiting: RefCell<VecDeque<(Key, Request)>>,
    /// How many of them have been cancelled since.
    withdrawn_count: Cell<usize>,
    /// Operations that were cancelled before they were pushed and have not been completed.
    withdrawn: RefCell<Vec<Key>>,
    /// Owners with something to submit before the next enter.
    dirty: RefCell<Vec<Rc<dyn Owner>>>,
    /// When the oldest request that has not been submitted was pushed, or 0.
    unsubmitted_since_ns: Cell<u64>,
    /// When the ready tasks began to run, or the last flush between them.
    boundary_ns: Cell<u64>,
    /// Whether the flush of this moment is one between two polls.
    pub(super) is_between_polls: Cell<bool>,
    /// Whether the completions of a wait are being dispatched.
    pub(super) is_dispatching: Cell<bool>,
}

impl Submission {
    /// Whether the next turn has something to do here without sleeping first. Owners that were
    /// added while others prepared, as by the end of a socket, are prepared in that turn.
    pub(super) fn has_work(&self) -> bool {
        !self.withdrawn.borrow().is_empty()
            || !self.waiting.borrow().is_empty()
            || !self.dirty.borrow().is_empty()
    }

    // ---- the clocks --------------------------------------------------------------------------

    /// Notes that the driver has just entered the kernel and submitted everything.
    pub(super) fn entered(&self, now_ns: u64) {
        self.boundary_ns.set(now_ns);
        self.unsubmitted_since_ns.set(0);
    }

    /// Notes that something waits to be submitted.
    pub(super) fn note_unsubmitted(&self) {
        if self.unsubmitted_since_ns.get() == 0 {
            // The last boundary rather than another look at the clock: it can only make the flush
            // come early.
            self.unsubmitted_since_ns.set(self.boundary_ns.get().max(1));
        }
    }

    /// Notes that everything has been submitted.
    pub(super) fn note_submitted(&self) {
        self.unsubmitted_since_ns.set(0);
    }

    /// When the oldest request that has not been submitted was pushed, if there is one.
    pub(super) fn unsubmitted_since_ns(&self) -> Option<u64> {
        Some(self.unsubmitted_since_ns.get()).filter(|&since_ns| since_ns > 0)
    }

    /// Notes a flush between two polls.
    pub(super) fn set_boundary(&self, now_ns: u64) {
        self.boundary_ns.set(now_ns);
    }

    // ---- the queue ---------------------------------------------------------------------------

    /// Whether a request may be pushed at once, as it overtakes none.
    pub(super) fn is_queue_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Adds a request that could not be pushed.
    pub(super) fn wait(&self, key: Key, request: Request) {
        self.waiting.borrow_mut().push_back((key, request));
    }

    /// Moves waiting requests to the driver for as long as there is room.
    pub(super) fn push_all(&self, driver: &mut Driver, slots: &mut Slots) -> io::Result<()> {
        for _ in 0..FLUSHES_PER_PASS_MAX {
            if self.push_waiting(driver, slots) == PushOutcome::Taken {
                return Ok(());
            }
            let before_count = self.waiting.borrow().len();
            driver.flush()?;
            if self.push_waiting(driver, slots) == PushOutcome::Taken
                || self.waiting.borrow().len() == before_count
            {
                return Ok(()); // all in, or the kernel takes nothing more for now
            }
        }
        Ok(())
    }

    /// Returns `Full` if requests are left over.
    fn push_waiting(&self, driver: &mut Driver, slots: &mut Slots) -> PushOutcome {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(&(key, request)) = waiting.front() {
            if !slots.is_waiting(key) {
                self.withdrawn_count.set(self.withdrawn_count.get() - 1);
            } else if driver.push(key, request) == PushOutcome::Taken {
                slots.pushed(key);
            } else {
                return PushOutcome::Full;
            }
            waiting.pop_front();
        }
        PushOutcome::Taken
    }

    /// Takes back a request of an operation that was cancelled while it waited. Returns how many
    /// requests were looked at.
    pub(super) fn withdraw(&self, key: Key, slots: &Slots) -> usize {
        self.withdrawn.borrow_mut().push(key);
        self.withdrawn_count.set(self.withdrawn_count.get() + 1);
        self.compact(slots)
    }

    /// Takes back every request that waits.
    pub(super) fn withdraw_all(&self, slots: &Slots) {
        let waiting = self.waiting.take();
        self.withdrawn_count.set(0);
        let keys = waiting.into_iter().map(|(key, _)| key).filter(|&key| slots.is_waiting(key));
        self.withdrawn.borrow_mut().extend(keys);
    }

    /// Takes the operations that were withdrawn, for the caller to complete.
    pub(super) fn take_withdrawn(&self) -> Vec<Key> {
        self.withdrawn.take()
    }

    /// Drops the withdrawn requests of the queue if they are the larger part of it. Returns how
    /// many requests were looked at.
    fn compact(&self, slots: &Slots) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        let len = waiting.len();
        if self.withdrawn_count.get() <= WITHDRAWN_MIN.max(len / 2) {
            return 0;
        }
        waiting.retain(|&(key, _)| slots.is_waiting(key));
        self.withdrawn_count.set(0);
        len
    }

    // ---- owners ------------------------------------------------------------------------------

    pub(super) fn add_dirty(&self, owner: Rc<dyn Owner>) {
        self.dirty.borrow_mut().push(owner);
    }

    /// Lets the owners submit. Those that are added meanwhile are prepared before the next enter.
    pub(super) fn prepare_owners(&self) {
        if self.dirty.borrow().is_empty() {
            return;
        }
        let mut owners = self.dirty.take();
        for owner in owners.drain(..) {
            owner.prepare();
        }
        // Keep the longer list for its capacity.
        let added = self.dirty.replace(owners);
        self.dirty.borrow_mut().extend(added);
    }

    /// Drops owners that asked for an enter which will not come.
    pub(super) fn drop_unprepared(&self) {
        let owners = self.dirty.take();
        drop(owners); // may close sockets, which call back
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::CancelStep;
    use super::super::slots::tests::Unwatched;
    use super::*;

    /// Goal: withdrawing costs O(1) amortised, and the queue does not keep what was withdrawn.
    ///
    /// Method: 10 000 waiting receives withdrawn oldest first, newest first and in a scattered
    /// order; count the requests that are looked at, and compare the queue with what still waits.
    ///
    /// Kills: a search of the queue for each withdrawal (10⁸ looks); a queue that is never
    /// compacted.
    #[test]
    fn withdrawing_walks_the_line_a_bounded_number_of_times() {
        const COUNT: usize = 10_000;
        let orders: [fn(usize) -> usize; 3] =
            [|nth| nth, |nth| COUNT - 1 - nth, |nth| nth * 7_919 % COUNT];
        for order in orders {
            let submission = Submission::default();
            let mut slots = Slots::new();
            let request = Request::Recv { fd: -1, poll_first: false };
            let keys: Vec<Key> =
                (0..COUNT).filter_map(|_| slots.insert(Rc::new(Unwatched), 1, &request)).collect();
            submission.waiting.borrow_mut().extend(keys.iter().map(|&key| (key, request)));
            let mut looks_count = 0;
            for nth in 0..COUNT {
                let key = keys[order(nth)];
                assert_eq!(slots.cancel(key), CancelStep::Withdraw);
                looks_count += submission.withdraw(key, &slots);
                let live_count = COUNT - 1 - nth;
                let len = submission.waiting.borrow().len();
                assert!(len <= 2 * live_count + 2 * WITHDRAWN_MIN, "{len} for {live_count}");
            }
            assert!(looks_count <= 4 * COUNT, "{looks_count} looks");
        }
    }
}
