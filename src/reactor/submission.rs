//! Requests on their way to the driver.
//!
//! What lives here: the line of requests that found the submission queue full, the operations that
//! were cancelled while they stood in it, the owners that gather bytes until the next enter, and
//! the two clocks that decide when a turn submits in its middle.
//!
//! ```text
//!  submit ──▶ push ─────────────────────────────▶ driver
//!               │ queue full              ▲
//!               ▼                         │ after a flush
//!            waiting ─────────────────────┘
//!               │ cancel
//!               ▼
//!            withdrawn ──▶ answered with ECANCELED by the next wait
//! ```
//!
//! **Invariant.** The line holds each request that the slots call waiting exactly once. A withdrawn
//! request stays in the line until it reaches the front, or until more than half of the line is
//! withdrawn (`push_waiting`, `compact`), so withdrawing costs O(1) amortised and the line is at
//! most twice as long as what waits in it, plus [`WITHDRAWN_MIN`].
//!
//! **There is no cap on operations in flight.** A send to a peer that does not read and a connect
//! that is not answered last as long as the peer likes, so any global cap lets a few peers stop all
//! others. The kernel keeps every completion that finds its queue full (`FEAT_NODROP`, H01).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::owner::Owner;
use super::slots::{Recipient, Slots};
use super::{Reactor, ReactorPhase};
use crate::driver::request::{Key, Request, Wait};
use crate::driver::{Driver, PushOutcome};
use crate::op::OpResult;
use crate::sys::errno;

/// Flushes of one submission pass: enough to push a request for each of 256 × the queue's size.
const FLUSHES_PER_PASS_MAX: u32 = 512;

/// Withdrawn requests that a line may hold whatever its length.
const WITHDRAWN_MIN: usize = 64;

#[derive(Default)]
pub(super) struct Submission {
    /// Requests that found the submission queue full, in order.
    waiting: RefCell<VecDeque<(Key, Request)>>,
    /// How many of them have been cancelled since.
    withdrawn_count: Cell<usize>,
    /// Operations that were cancelled before they were pushed and have not been answered.
    withdrawn: RefCell<Vec<Key>>,
    /// Owners with something to submit before the next enter.
    dirty: RefCell<Vec<Rc<dyn Owner>>>,
    /// When the oldest request that has not been submitted was pushed, or 0.
    unsubmitted_since_ns: Cell<u64>,
    /// When the ready tasks began to run, or the last flush between them.
    boundary_ns: Cell<u64>,
    /// Whether the flush of this moment is one between two polls.
    is_between_polls: Cell<bool>,
    /// Whether answers of a wait are being handed out.
    pub(super) is_answering: Cell<bool>,
}

impl Submission {
    /// Whether the next turn has something to do here without sleeping first. Owners that were added
    /// while others prepared, as by the end of a socket, are prepared in that turn.
    pub(super) fn has_work(&self) -> bool {
        !self.withdrawn.borrow().is_empty()
            || !self.waiting.borrow().is_empty()
            || !self.dirty.borrow().is_empty()
    }

    /// The driver has just entered the kernel and submitted everything.
    pub(super) fn entered(&self, now_ns: u64) {
        self.boundary_ns.set(now_ns);
        self.unsubmitted_since_ns.set(0);
    }

    pub(super) fn note_unsubmitted(&self) {
        if self.unsubmitted_since_ns.get() == 0 {
            // The last boundary rather than another look at the clock: it can only make the flush
            // come early.
            self.unsubmitted_since_ns.set(self.boundary_ns.get().max(1));
        }
    }

    /// Returns how many requests it has looked at.
    fn withdraw(&self, key: Key, slots: &Slots) -> usize {
        self.withdrawn.borrow_mut().push(key);
        self.withdrawn_count.set(self.withdrawn_count.get() + 1);
        self.compact(slots)
    }

    /// Drops the withdrawn requests of the line if they are the larger part of it. Returns how many
    /// requests it has looked at.
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
}

impl Reactor {
    /// Has [`Owner::prepare`] called before the next enter, so that an owner can submit once what
    /// it was given in several pieces.
    pub(crate) fn prepare_later(&self, owner: Rc<dyn Owner>) {
        if self.phase.get() == ReactorPhase::Closed || self.is_of_parent() {
            return; // there is no next enter, and the list would never release the owner
        }
        self.submission.note_unsubmitted();
        self.submission.dirty.borrow_mut().push(owner);
    }

    /// Submits what is pending if it has waited long enough or there is much of it. Called between
    /// polls, so that one task's reply does not wait for the next task's computation.
    pub(crate) fn flush_if_due(&self, delay_max_ns: u64) -> io::Result<()> {
        let since_ns = self.submission.unsubmitted_since_ns.get();
        if since_ns == 0 {
            return Ok(());
        }
        let now_ns = self.clock.now_ns();
        let is_due = now_ns.saturating_sub(since_ns) >= delay_max_ns
            || self.driver.borrow_mut().as_mut().is_some_and(Driver::is_half_full);
        if !is_due {
            return Ok(());
        }
        self.submission.boundary_ns.set(now_ns);
        self.submission.is_between_polls.set(true);
        let outcome = self.submit_pending();
        self.submission.is_between_polls.set(false);
        outcome
    }

    /// For owners that are preparing: whether every task that was ready has been polled.
    pub(crate) fn have_tasks_run(&self) -> bool {
        !self.submission.is_between_polls.get()
    }

    /// Submits what is pending and takes in what has completed, in the middle of a turn. Wakers run
    /// where they always do. For a caller that cannot wait for the end of the turn.
    ///
    /// Does nothing while answers are handed out, which may end in the destructor of a forgotten waker:
    /// later answers would overtake the rest of those.
    pub(crate) fn collect_now(&self) {
        if !self.is_accepting() || self.submission.is_answering.get() {
            return;
        }
        let was_between_polls = self.submission.is_between_polls.replace(true);
        let filled = self.fill_submission_queue();
        self.submission.is_between_polls.set(was_between_polls);
        if filled.is_ok() {
            let _ = self.wait_for(Wait::Poll); // an error comes again in the next turn
        }
    }

    pub(crate) fn submit_pending(&self) -> io::Result<()> {
        self.fill_submission_queue()?;
        self.submission.unsubmitted_since_ns.set(0);
        self.flush_driver()
    }

    pub(super) fn push_or_wait(&self, key: Key, request: Request) {
        self.submission.note_unsubmitted();
        let mut waiting = self.submission.waiting.borrow_mut();
        if waiting.is_empty() && self.push(key, request) == PushOutcome::Taken {
            return;
        }
        waiting.push_back((key, request));
    }

    /// Takes back a request that waits in the line. Its operation is answered by the next wait.
    pub(super) fn withdraw(&self, key: Key) {
        self.submission.withdraw(key, &self.slots.borrow());
    }

    /// Takes back every request that waits in the line.
    pub(super) fn withdraw_all(&self) {
        let submission = &self.submission;
        let slots = self.slots.borrow();
        let waiting = submission.waiting.take();
        submission.withdrawn_count.set(0);
        let keys = waiting.into_iter().map(|(key, _)| key).filter(|&key| slots.is_waiting(key));
        submission.withdrawn.borrow_mut().extend(keys);
    }

    /// Answers the operations that were cancelled before they were pushed.
    pub(super) fn answer_withdrawn(&self) -> usize {
        let withdrawn = std::mem::take(&mut *self.submission.withdrawn.borrow_mut());
        for &key in &withdrawn {
            let Recipient { owner, tag, .. } = self.slots.borrow_mut().remove_unpushed(key);
            let answer = OpResult { result: -errno::ECANCELED, more: false, buffer: None };
            owner.complete(tag, answer);
        }
        withdrawn.len()
    }

    /// Lets owners submit, and moves waiting requests to the queue for as long as there is room.
    pub(super) fn fill_submission_queue(&self) -> io::Result<()> {
        self.prepare_owners();
        for _ in 0..FLUSHES_PER_PASS_MAX {
            if self.push_waiting() == PushOutcome::Taken {
                return Ok(());
            }
            let before_count = self.submission.waiting.borrow().len();
            self.flush_driver()?;
            if self.push_waiting() == PushOutcome::Taken
                || self.submission.waiting.borrow().len() == before_count
            {
                return Ok(()); // all in, or the kernel takes nothing more for now
            }
        }
        Ok(())
    }

    pub(super) fn prepare_owners(&self) {
        let dirty = &self.submission.dirty;
        if dirty.borrow().is_empty() {
            return;
        }
        let mut owners = std::mem::take(&mut *dirty.borrow_mut());
        for owner in owners.drain(..) {
            owner.prepare();
        }
        // What preparing has added is prepared before the next enter.
        let added = std::mem::replace(&mut *dirty.borrow_mut(), owners);
        dirty.borrow_mut().extend(added);
    }

    /// Lets go of owners that asked for an enter which will not come.
    pub(super) fn drop_unprepared(&self) {
        let owners = self.submission.dirty.take();
        drop(owners); // may close sockets, which call back
    }

    /// `Full` if requests are left over.
    fn push_waiting(&self) -> PushOutcome {
        let submission = &self.submission;
        loop {
            let Some(&(key, request)) = submission.waiting.borrow().front() else {
                return PushOutcome::Taken;
            };
            if !self.slots.borrow().is_waiting(key) {
                submission.withdrawn_count.set(submission.withdrawn_count.get() - 1);
            } else if self.push(key, request) == PushOutcome::Full {
                return PushOutcome::Full;
            }
            submission.waiting.borrow_mut().pop_front();
        }
    }

    fn push(&self, key: Key, request: Request) -> PushOutcome {
        let outcome = match &mut *self.driver.borrow_mut() {
            Some(driver) => driver.push(key, request),
            None => unreachable!("phase {:?} without a driver", self.phase.get()),
        };
        if outcome == PushOutcome::Taken {
            self.slots.borrow_mut().pushed(key);
        }
        outcome
    }

    fn flush_driver(&self) -> io::Result<()> {
        match &mut *self.driver.borrow_mut() {
            Some(driver) => driver.flush(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::CancelStep;
    use super::super::slots::tests::Unwatched;
    use super::*;

    /// Goal: withdrawing costs O(1) amortised, and the line does not keep what was withdrawn.
    ///
    /// Method: 10 000 waiting receives withdrawn oldest first, newest first and in a scattered
    /// order; count the requests that are looked at, and compare the line with what still waits.
    ///
    /// Kills: a search of the line for each withdrawal (10⁸ looks); a line that is never compacted.
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
                assert_eq!(slots.cancel(key), CancelStep::AnswerNow);
                looks_count += submission.withdraw(key, &slots);
                let live_count = COUNT - 1 - nth;
                let len = submission.waiting.borrow().len();
                assert!(len <= 2 * live_count + 2 * WITHDRAWN_MIN, "{len} for {live_count}");
            }
            assert!(looks_count <= 4 * COUNT, "{looks_count} looks");
        }
    }
}
