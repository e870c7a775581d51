//! The state of a server: whether it accepts, and its handlers.
//!
//! ```text
//!                 close, or an error of the listener              the last handler ends
//!  Accepting ─────────────────────────────────────────▶ Closing ───────────────────────▶ Done
//!    handlers start and end                               handlers end
//! ```
//!
//! `Closing` without a handler is `Done` at once.
//!
//! **Absent on purpose.** User code: wakers leave through the results.

use std::io;

use slab::Slab;

use crate::sync::wait_list::{WaitList, Woken};
use crate::task::AbortHandle;

#[derive(Default)]
pub(super) struct ServerState {
    is_closed: bool,
    /// The handlers that have not ended. `None` while one is being spawned.
    handlers: Slab<Option<AbortHandle>>,
    /// Futures that wait for the end.
    waiters: WaitList,
    failure: Option<Failure>,
}

/// The error that has ended accepting, for any number of callers.
struct Failure {
    kind: io::ErrorKind,
    code: Option<i32>,
    text: String,
}

/// Whether a call of [`ServerState::close`] has closed the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Closed {
    Now,
    Before,
}

impl ServerState {
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_closed && self.handlers.is_empty()
    }

    pub(super) fn handler_count(&self) -> usize {
        self.handlers.len()
    }

    pub(super) fn waiters(&mut self) -> &mut WaitList {
        &mut self.waiters
    }

    /// Makes a place for a handler.
    pub(super) fn add_handler(&mut self) -> usize {
        self.handlers.insert(None)
    }

    /// Notes the task of a handler, which may have ended already.
    pub(super) fn set_task(&mut self, index: usize, task: AbortHandle) {
        if let Some(place) = self.handlers.get_mut(index) {
            *place = Some(task);
        }
    }

    /// Removes a handler that has ended. Returns the waiters if it was the last one.
    pub(super) fn handler_ended(&mut self, index: usize) -> Woken {
        let _ended = self.handlers.remove(index);
        self.wake_if_done()
    }

    /// Ends accepting. Returns the waiters if no handler is left.
    pub(super) fn close(&mut self) -> (Closed, Woken) {
        let closed = match std::mem::replace(&mut self.is_closed, true) {
            true => Closed::Before,
            false => Closed::Now,
        };
        (closed, self.wake_if_done())
    }

    /// Notes the error that has ended accepting. The first one is kept.
    pub(super) fn fail(&mut self, error: &io::Error) {
        let failure =
            Failure { kind: error.kind(), code: error.raw_os_error(), text: error.to_string() };
        self.failure.get_or_insert(failure);
    }

    /// How accepting has ended.
    pub(super) fn outcome(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(Failure { code: Some(code), .. }) => Err(io::Error::from_raw_os_error(*code)),
            Some(Failure { kind, text, .. }) => Err(io::Error::new(*kind, text.clone())),
        }
    }

    /// The tasks of all handlers, to be aborted.
    pub(super) fn tasks(&self) -> Vec<AbortHandle> {
        self.handlers.iter().filter_map(|(_, task)| task.clone()).collect()
    }

    fn wake_if_done(&mut self) -> Woken {
        if self.is_done() { self.waiters.wake_all() } else { Woken::default() }
    }
}
