//! Operations with one completion.
//!
//! A [`OneShot`] is the future's handle to an operation that completes once, such as a connect. The
//! memory that the request names is in the payload, which an owner of its own keeps until the
//! completion, whatever happens to the future.
//!
//! ```text
//!          submit               completion                    poll
//! Vacant ─────────▶ InFlight ───────────────▶ Done ─────────────────────▶ Vacant
//!                    │    │                    └── handle dropped: discard ──▲
//!      handle dropped│    │ no completion                                    │
//!         and cancel │    └───────────────▶ Lost ──────────── poll ──────────▶│
//!                    ▼    payload leaked                                      │
//!                 Orphaned ───────────── completion: discard ────────────────▶│
//! ```
//!
//! **Invariant.** The payload is in the owner as long as the kernel may use the memory it names
//! (`InFlight`, `Orphaned`). It leaves with the completion, or it is leaked (`Lost`).
//!
//! **Absent on purpose.** The meaning of a result: that is in `op`, one file per operation. User
//! code: wakers go to [`Reactor::wake_deferred`].

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::Reactor;
use super::owner::Owner;
use crate::driver::request::{Interest, Key, Request, Tag};
use crate::op::OpResult;

/// The only tag: an owner has one operation.
const TAG: Tag = 1;

/// What an operation lends to the kernel or keeps open for it.
///
/// Memory that the request names keeps its address when the payload moves: it is in a box, a vector
/// or the like.
pub(crate) trait Payload: 'static {
    /// The request. Called once.
    fn request(&mut self) -> Request;

    /// The descriptor and the readiness with which the kernel should have completed the operation,
    /// if there are any.
    fn watched(&self) -> Option<(RawFd, Interest)>;

    /// Disposes of a result whose future is gone: closes a descriptor, for example.
    fn discard(self, result: OpResult);

    /// Leaks the memory that the request names, as the kernel may use it at any later time, and
    /// drops the rest.
    fn leak(self);
}

/// The future's handle to an operation. Dropping it cancels the operation, and the result is
/// discarded.
pub(crate) struct OneShot<P: Payload> {
    operation: Rc<Operation<P>>,
}

/// The end of an operation.
#[derive(Debug)]
pub(crate) enum Finished<P> {
    Completed(OpResult, P),
    /// There will be no completion, for the reason of this errno. The payload was leaked.
    Lost(i32),
}

/// The owner of the operation.
struct Operation<P> {
    reactor: Rc<Reactor>,
    key: Cell<Option<Key>>,
    state: RefCell<OneShotState<P>>,
}

enum OneShotState<P> {
    InFlight { payload: P, waker: Option<Waker> },
    Orphaned { payload: P },
    Done { result: OpResult, payload: P },
    Lost { code: i32 },
    Vacant,
}

impl<P: Payload> OneShot<P> {
    /// Starts the operation. It is submitted with the next enter.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::submit`]. The payload is returned.
    pub(crate) fn submit(
        reactor: &Rc<Reactor>,
        mut payload: P,
    ) -> Result<OneShot<P>, (io::Error, P)> {
        let request = payload.request();
        let operation = Rc::new(Operation {
            reactor: Rc::clone(reactor),
            key: Cell::new(None),
            state: RefCell::new(OneShotState::InFlight { payload, waker: None }),
        });
        match reactor.submit(Rc::clone(&operation) as Rc<_>, TAG, request) {
            Ok(key) => {
                operation.key.set(Some(key));
                Ok(OneShot { operation })
            }
            Err(error) => match operation.take_state() {
                OneShotState::InFlight { payload, .. } => Err((error, payload)),
                _ => unreachable!("an operation that was not started has completed"),
            },
        }
    }

    /// Waits for the end of the operation.
    ///
    /// # Panics
    ///
    /// If the end was returned before.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Finished<P>> {
        let operation = &self.operation;
        if !operation.has_waker(waker) {
            operation.set_waker(waker.clone());
        }
        if operation.is_in_flight() {
            return Poll::Pending;
        }
        match operation.take_state() {
            OneShotState::Done { result, payload } => {
                Poll::Ready(Finished::Completed(result, payload))
            }
            OneShotState::Lost { code } => Poll::Ready(Finished::Lost(code)),
            OneShotState::Vacant => panic!("polled after the end was returned"),
            OneShotState::InFlight { .. } | OneShotState::Orphaned { .. } => {
                unreachable!("the handle is alive and the operation has ended")
            }
        }
    }
}

impl<P: Payload> Drop for OneShot<P> {
    fn drop(&mut self) {
        let operation = &self.operation;
        match operation.take_state() {
            OneShotState::InFlight { payload, waker } => {
                *operation.state.borrow_mut() = OneShotState::Orphaned { payload };
                let key = operation.key.get().expect("set when it was submitted");
                operation.reactor.cancel(key);
                drop(waker);
            }
            OneShotState::Done { result, payload } => payload.discard(result),
            OneShotState::Lost { .. } | OneShotState::Vacant => {}
            OneShotState::Orphaned { .. } => unreachable!("dropped twice"),
        }
    }
}

impl<P> Operation<P> {
    fn take_state(&self) -> OneShotState<P> {
        mem::replace(&mut self.state.borrow_mut(), OneShotState::Vacant)
    }

    fn is_in_flight(&self) -> bool {
        matches!(*self.state.borrow(), OneShotState::InFlight { .. })
    }

    /// Whether the operation has ended, or its completion will wake the task of `waker`.
    fn has_waker(&self, waker: &Waker) -> bool {
        match &*self.state.borrow() {
            OneShotState::InFlight { waker: current, .. } => {
                current.as_ref().is_some_and(|current| current.will_wake(waker))
            }
            _ => true,
        }
    }

    /// Keeps a clone of the caller's waker. Cloning and dropping wakers is user code, which may
    /// even run the loop's completions: so the state is not borrowed then, and a clone that comes
    /// too late is dropped.
    fn set_waker(&self, waker: Waker) {
        let former = match &mut *self.state.borrow_mut() {
            OneShotState::InFlight { waker: current, .. } => current.replace(waker),
            _ => Some(waker),
        };
        drop(former);
    }

    /// Leaks what the kernel may still use. On a loop that has ended this includes descriptors: an
    /// entry that the kernel has not consumed names their numbers.
    fn leak(&self, payload: P)
    where
        P: Payload,
    {
        match self.reactor.ended_ns() {
            None => payload.leak(),
            Some(_) => mem::forget(payload),
        }
    }
}

impl<P: Payload> Owner for Operation<P> {
    fn complete(self: Rc<Self>, _tag: Tag, result: OpResult) {
        assert!(!result.more, "an operation with one completion announces another: {result:?}");
        match self.take_state() {
            OneShotState::InFlight { payload, waker } => {
                *self.state.borrow_mut() = OneShotState::Done { result, payload };
                self.reactor.wake_deferred(waker);
            }
            OneShotState::Orphaned { payload } => payload.discard(result),
            OneShotState::Done { .. } | OneShotState::Lost { .. } | OneShotState::Vacant => {
                unreachable!("the operation has completed before")
            }
        }
    }

    fn abandon(self: Rc<Self>, _tag: Tag, code: i32) {
        match self.take_state() {
            OneShotState::InFlight { payload, waker } => {
                *self.state.borrow_mut() = OneShotState::Lost { code };
                self.leak(payload);
                self.reactor.wake_deferred(waker);
            }
            OneShotState::Orphaned { payload } => self.leak(payload),
            OneShotState::Done { .. } | OneShotState::Lost { .. } | OneShotState::Vacant => {
                unreachable!("the operation has completed before")
            }
        }
    }

    fn watched(&self, _tag: Tag) -> Option<(RawFd, Interest)> {
        match &*self.state.borrow() {
            OneShotState::InFlight { payload, .. } | OneShotState::Orphaned { payload } => {
                payload.watched()
            }
            OneShotState::Done { .. } | OneShotState::Lost { .. } | OneShotState::Vacant => None,
        }
    }

    fn prepare(self: Rc<Self>) {
        unreachable!("submitted at once");
    }
}
