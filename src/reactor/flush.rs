//! The moments at which a reactor submits: before an enter, and between two polls.

use std::io;
use std::rc::Rc;

use super::Reactor;
use super::owner::Owner;
use super::phase::ReactorPhase;
use super::slots::Recipient;
use crate::driver::Driver;
use crate::driver::request::Wait;
use crate::op::OpResult;
use crate::sys::errno;

impl Reactor {
    /// Notes that something waits to be submitted.
    pub(super) fn note_unsubmitted(&self) {
        self.quiescence.is_quiet.set(false);
        self.submission.note_unsubmitted();
    }

    /// Has [`Owner::prepare`] called before the next enter, so that an owner can submit once what
    /// it was given in several pieces.
    pub(crate) fn prepare_later(&self, owner: Rc<dyn Owner>) {
        if self.phase.get() == ReactorPhase::Closed || self.is_of_parent() {
            return; // there is no next enter, and the list would never release the owner
        }
        self.note_unsubmitted();
        self.submission.add_dirty(owner);
    }

    /// Lets owners submit, and moves waiting requests to the driver for as long as there is room.
    pub(crate) fn fill_submission_queue(&self) -> io::Result<()> {
        self.submission.prepare_owners();
        match &mut *self.driver.borrow_mut() {
            Some(driver) => self.submission.push_all(driver, &mut self.slots.borrow_mut()),
            None => Ok(()),
        }
    }

    /// Submits what is pending, without waiting.
    pub(crate) fn submit_pending(&self) -> io::Result<()> {
        self.fill_submission_queue()?;
        self.submission.note_submitted();
        match &mut *self.driver.borrow_mut() {
            Some(driver) => driver.flush(),
            None => Ok(()),
        }
    }

    /// Submits what is pending if it has waited long enough or there is much of it. Called between
    /// polls, so that one task's reply does not wait for the next task's computation.
    pub(crate) fn flush_if_due(&self, delay_max_ns: u64) -> io::Result<()> {
        let Some(since_ns) = self.submission.unsubmitted_since_ns() else {
            return Ok(());
        };
        let now_ns = self.kernel_now_ns();
        let is_due = now_ns.saturating_sub(since_ns) >= delay_max_ns
            || self.driver.borrow_mut().as_mut().is_some_and(Driver::is_half_full);
        if !is_due {
            return Ok(());
        }
        self.submission.set_boundary(now_ns);
        self.submission.is_between_polls.set(true);
        let outcome = self.submit_pending();
        self.submission.is_between_polls.set(false);
        outcome
    }

    /// Whether every task that was ready has been polled. For owners that are preparing.
    pub(crate) fn have_tasks_run(&self) -> bool {
        !self.submission.is_between_polls.get()
    }

    /// Submits what is pending and dispatches what has completed, in the middle of a turn. Wakers
    /// run where they always do. For a caller that cannot wait for the end of the turn.
    ///
    /// Does nothing while completions are dispatched, which may end in the destructor of a leaked
    /// waker: later completions would overtake the rest of those.
    pub(crate) fn collect_now(&self) {
        if !self.is_accepting() || self.submission.is_dispatching.get() {
            return;
        }
        let was_between_polls = self.submission.is_between_polls.replace(true);
        let filled = self.fill_submission_queue();
        self.submission.is_between_polls.set(was_between_polls);
        if filled.is_ok() {
            let _ = self.wait(Wait::Poll); // an error comes again in the next turn
        }
    }

    /// Completes the operations that were cancelled before they were pushed.
    pub(super) fn complete_withdrawn(&self) {
        for key in self.submission.take_withdrawn() {
            let Recipient { owner, tag, .. } = self.slots.borrow_mut().remove_unpushed(key);
            let result = OpResult { result: -errno::ECANCELED, more: false, buffer: None };
            owner.complete(tag, result);
        }
    }
}
