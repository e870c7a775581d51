//! The end of a driver before the end of its loop.
//!
//! Where a sandbox forbids `io_uring_enter` after the start, the driver cannot go on, and what it
//! has in flight may never complete. Hanging would be worst, and a panic would leave the program no
//! chance to report the failure. So every operation in flight ends here, as if cancelled, and every
//! later one is refused with the reason. Tasks, timers and wakes go on, because they need no driver
//! (`driver::failed`).
//!
//! **Lent memory stays lent.** It is not known whether the kernel will still read or
//! write that memory, so the owners leak it (`Owner::abandon`): a bounded loss, once.

use std::io;

use super::Reactor;
use super::phase::{Failure, ReactorPhase};
use super::slots::Recipient;
use crate::driver::Drained;
use crate::error::{Unhandled, completion_dropped, runtime_closed};
use crate::op::OpResult;
use crate::sys::errno;

/// Batches that are taken from the queue of a driver that has failed: more than it holds.
const REAPS_MAX: u32 = 64;

impl Reactor {
    /// Replaces a driver that has failed, and ends what is in flight. Call with nothing borrowed.
    pub(crate) fn fail_driver(&self, cause: &io::Error) {
        let is_over = self.failure.get().is_some() || self.phase.get() == ReactorPhase::Closed;
        assert!(!is_over, "the replacement of a failed driver has failed: {cause}");
        let driver = self.driver.borrow().as_ref().expect("open until closed").kind();
        let failure = Failure { driver, code: cause.raw_os_error().unwrap_or(errno::EIO) };
        self.failure.set(Some(failure));
        // Before any operation ends: its owner may try again, which is then refused.
        self.phase.set(ReactorPhase::Broken);
        self.complete_waiting();
        self.collect_last();
        let stuck = self.slots.borrow_mut().take_all();
        let driver = self.driver.borrow_mut().take().expect("looked at above");
        let (sleeper, drained) = driver.fail(self.clock.kernel());
        *self.driver.borrow_mut() = Some(sleeper);
        self.rejoin_poll_set();
        for Recipient { owner, tag, .. } in stuck {
            match drained {
                Drained::No => owner.abandon(tag, errno::ECANCELED),
                Drained::Yes => {
                    let answer = OpResult { result: -errno::ECANCELED, more: false, buffer: None };
                    owner.complete(tag, answer);
                }
            }
        }
        self.report(Unhandled::DriverFailed { error: failure.error() });
    }

    /// Why no operation can be started.
    pub(crate) fn refusal(&self) -> io::Error {
        self.failure().unwrap_or_else(runtime_closed)
    }

    /// Why the driver failed, if it has.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failure.get().map(Failure::error)
    }

    /// The error of an operation that ended with `code`. It names the driver's
    /// failure if that has ended the operation.
    pub(crate) fn error_of(&self, code: i32) -> io::Error {
        match self.failure() {
            Some(failure) if code == errno::ECANCELED => failure,
            _ if code == errno::EBADR => completion_dropped(),
            _ => io::Error::from_raw_os_error(code),
        }
    }

    /// Dispatches the completions that are in the queue, without entering the kernel.
    pub(super) fn collect_last(&self) {
        for _ in 0..REAPS_MAX {
            if self.reap_rest() == 0 {
                return;
            }
        }
    }

    /// Dispatches one batch of what is in the queue already. Some completions carry connections,
    /// which no other code would close.
    fn reap_rest(&self) -> usize {
        let mut batch = std::mem::take(&mut *self.batch.borrow_mut());
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            driver.reap(&mut batch);
        }
        let count = batch.len();
        for completion in batch.drain(..) {
            self.dispatch(completion);
        }
        *self.batch.borrow_mut() = batch;
        count
    }
}
