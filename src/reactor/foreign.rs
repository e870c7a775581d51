//! Waiting for the reactor from a foreign loop.

use std::io;
use std::os::fd::BorrowedFd;

use super::Reactor;
use super::quiescence::IdleStep;
use crate::driver::request::Wait;
use crate::driver::{Driver, PollSet};

impl Reactor {
    /// The descriptor that is readable when a turn would do something. Made by the first call.
    pub(crate) fn poll_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if self.poll_set.get().is_none() {
            let poll_set = PollSet::new()?;
            if let Some(driver) = &mut *self.driver.borrow_mut() {
                driver.join(&poll_set)?;
            }
            let _ = self.poll_set.set(poll_set);
        }
        Ok(self.poll_set.get().expect("set above").descriptor())
    }

    /// Whether a foreign loop may poll the descriptor.
    pub(crate) fn has_poll_fd(&self) -> bool {
        self.poll_set.get().is_some()
    }

    /// Begins a turn that a foreign loop runs, which looks at everything.
    pub(crate) fn begin_foreign_turn(&self) {
        if let Some(poll_set) = self.poll_set.get() {
            poll_set.begin_turn();
            self.driver.borrow().iter().for_each(Driver::drain_wake_fd);
        }
    }

    /// Prepares a sleep in a foreign loop. `may_sleep` as in [`how_long`](Reactor::how_long).
    ///
    /// A paused clock does not move here: the next turn that may sleep moves it.
    pub(crate) fn park(&self, may_sleep: bool) -> io::Result<()> {
        let Some(poll_set) = self.poll_set.get() else { return Ok(()) };
        self.fill_submission_queue()?;
        let has_completions = match &mut *self.driver.borrow_mut() {
            Some(driver) => driver.park()?,
            None => false,
        };
        let is_quiet_clock = matches!(self.idle_step(), None | Some(IdleStep::Sleep));
        if has_completions || !is_quiet_clock || self.how_long(may_sleep) == Wait::Poll {
            poll_set.notify();
        }
        Ok(())
    }

    /// Makes the descriptor follow the replacement of a failed driver.
    pub(super) fn rejoin_poll_set(&self) {
        if let Some(poll_set) = self.poll_set.get() {
            let joined = self.driver.borrow_mut().as_mut().map(|driver| driver.join(poll_set));
            if joined.is_some_and(|joined| joined.is_err()) {
                poll_set.notify(); // no memory: the foreign loop polls again for this turn at least
            }
        }
    }
}
