//! The state of a socket that closes, and of the `close()` that waits for it.
//!
//! **Absent on purpose.** The socket and the reactor: `close.rs` performs the close.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::linger::Linger;

/// State that exists only while a socket closes.
pub(super) struct Closing {
    pub(super) linger: Linger,
    pub(super) waiter: Option<Rc<CloseWait>>,
}

/// The outcome of a close, shared by the socket and the future of `close()`.
#[derive(Default)]
pub(in crate::net) struct CloseWait {
    is_closed: Cell<bool>,
    error: RefCell<Option<io::Error>>,
    /// The number of bytes that were lost with `error`, if they were lost while closing.
    lost_bytes: Cell<Option<usize>>,
    waker: RefCell<Option<Waker>>,
}

impl CloseWait {
    /// Waits until the descriptor has been closed.
    pub(super) fn poll_closed(&self, waker: &Waker) -> Poll<io::Result<()>> {
        if self.is_closed.get() {
            return Poll::Ready(self.error.borrow_mut().take().map_or(Ok(()), Err));
        }
        let waker = waker.clone();
        let former = self.waker.borrow_mut().replace(waker);
        drop(former);
        Poll::Pending
    }

    /// Sets the error that sending had failed with before the close, if it had.
    pub(super) fn set_error(&self, error: Option<io::Error>) {
        *self.error.borrow_mut() = error;
    }

    /// Sets the error of the sending that has ended while closing.
    pub(super) fn set_loss(&self, lost_bytes: usize, error: io::Error) {
        *self.error.borrow_mut() = Some(error);
        self.lost_bytes.set(Some(lost_bytes));
    }

    /// Takes a loss that the future has not returned.
    pub(super) fn take_loss(&self) -> Option<(usize, io::Error)> {
        let error = self.error.borrow_mut().take();
        self.lost_bytes.take().zip(error)
    }

    /// Ends the wait. Returns the waker to wake.
    #[must_use]
    pub(super) fn closed(&self) -> Option<Waker> {
        self.is_closed.set(true);
        self.waker.borrow_mut().take()
    }

    /// Ends the wait with `error`, unless it has one. Returns the waker to wake.
    #[must_use]
    pub(super) fn given_up(&self, error: impl FnOnce() -> io::Error) -> Option<Waker> {
        self.error.borrow_mut().get_or_insert_with(error);
        self.closed()
    }
}
