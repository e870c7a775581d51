//! The cell that passes a result from one thread to another.
//!
//! ```text
//!            finish               poll
//!  Pending ─────────▶ Done ────────────────▶ Taken
//!     │                 │ detach                ▲
//!     │                 └───────────────────────┤
//!     │ detach                       finish     │
//!     └─────────────▶ Detached ─────────────────┘
//! ```
//!
//! A result that no caller takes is dropped on the thread that finds this out. If it is a panic, it
//! is reported on the loop's thread.
//!
//! **Invariant.** The promise finishes once: when it has a result, or when it is dropped. Wakers
//! and results are woken, cloned and dropped with the lock released.
//!
//! **Forked children.** The lock may have been held by a thread of the parent. So nothing here
//! takes it in a child: polls panic, and all else has no effect.

use std::any::Any;
use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

use super::identity::{Identity, TaskId};
use super::join_error::JoinError;
use super::remote::Remote;
use crate::error::Unhandled;
use crate::primitives::{Mutex, MutexGuard};

/// The receiving side of a result.
pub(super) struct ResultCell<T> {
    state: Mutex<CellState<T>>,
    remote: Arc<Remote>,
    identity: Identity,
}

enum CellState<T> {
    Pending {
        waiter: Option<Waker>,
    },
    /// There is no receiver any more.
    Detached,
    Done(Result<T, JoinError>),
    Taken,
}

/// The sending side of a result. Dropping it unfinished sends [`JoinError::Cancelled`].
pub(super) struct Promise<T> {
    cell: Option<Arc<ResultCell<T>>>,
}

impl<T> Promise<T> {
    pub(super) fn new(
        remote: &Arc<Remote>,
        identity: Identity,
    ) -> (Promise<T>, Arc<ResultCell<T>>) {
        let cell = Arc::new(ResultCell {
            state: Mutex::new(CellState::Pending { waiter: None }),
            remote: Arc::clone(remote),
            identity,
        });
        (Promise { cell: Some(Arc::clone(&cell)) }, cell)
    }

    /// Stores the result and wakes the receiver.
    pub(super) fn finish(mut self, result: Result<T, JoinError>) {
        if let Some(cell) = self.cell.take() {
            cell.finish(result);
        }
    }

    /// Stores the result of a future whose locals panicked when they were dropped. A panic of the
    /// future itself takes precedence, and the other one is reported.
    pub(super) fn finish_with_drop_panic(
        self,
        result: Result<T, JoinError>,
        payload: Box<dyn Any + Send>,
    ) {
        let remote = self.cell.as_ref().map(|cell| Arc::clone(&cell.remote));
        let remote = remote.expect("a promise finishes once");
        if matches!(result, Err(JoinError::Panic(_))) {
            self.finish(result);
            remote.report(Unhandled::DropPanic { payload });
        } else {
            self.finish(Err(JoinError::panicked(payload)));
            remote.drop_guarded(result);
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            cell.finish(Err(JoinError::Cancelled));
        }
    }
}

impl<T> ResultCell<T> {
    pub(super) fn id(&self) -> TaskId {
        self.identity.id
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn spawned_at(&self) -> &'static Location<'static> {
        self.identity.spawned_at
    }

    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    pub(super) fn is_finished(&self) -> bool {
        self.remote.id().check_process();
        !matches!(*self.lock(), CellState::Pending { .. })
    }

    /// Takes the result, or makes `waker` the waiter.
    pub(super) fn poll_result(&self, waker: &Waker) -> Poll<Result<T, JoinError>> {
        self.remote.id().check_process();
        if let CellState::Pending { waiter: Some(waiter) } = &*self.lock()
            && waiter.will_wake(waker)
        {
            return Poll::Pending;
        }
        let waker = waker.clone();
        let mut state = self.lock();
        let former = match &mut *state {
            CellState::Pending { waiter } => waiter.replace(waker),
            CellState::Done(_) => {
                let taken = std::mem::replace(&mut *state, CellState::Taken);
                drop(state);
                let CellState::Done(result) = taken else { unreachable!("matched above") };
                return Poll::Ready(result);
            }
            CellState::Detached | CellState::Taken => {
                panic!("a handle was polled after it had returned its result")
            }
        };
        drop(state);
        drop(former);
        Poll::Pending
    }

    /// Gives up the result, when the receiver is dropped.
    pub(super) fn detach(self: &Arc<Self>) {
        if self.remote.id().is_of_parent() {
            std::mem::forget(Arc::clone(self)); // a forked child: the result belongs to the parent
            return;
        }
        let mut state = self.lock();
        let next = match &*state {
            CellState::Pending { .. } => CellState::Detached,
            _ => CellState::Taken,
        };
        let former = std::mem::replace(&mut *state, next);
        drop(state);
        match former {
            CellState::Done(result) => self.discard(result),
            CellState::Pending { waiter } => self.remote.drop_guarded(waiter),
            CellState::Detached | CellState::Taken => {}
        }
    }

    fn finish(&self, result: Result<T, JoinError>) {
        if self.remote.id().is_of_parent() {
            std::mem::forget(result); // as in `detach`
            return;
        }
        let mut state = self.lock();
        let former = std::mem::replace(&mut *state, CellState::Taken);
        match former {
            CellState::Pending { waiter } => {
                *state = CellState::Done(result);
                drop(state);
                if let Some(waiter) = waiter {
                    waiter.wake();
                }
            }
            CellState::Detached => {
                drop(state);
                self.discard(result);
            }
            CellState::Done(_) | CellState::Taken => panic!("a promise has one result"),
        }
    }

    /// Drops a result that no caller takes. A panic is reported.
    fn discard(&self, result: Result<T, JoinError>) {
        match result {
            Err(JoinError::Panic(payload)) => {
                let Identity { id: _, name, spawned_at } = self.identity.clone();
                let payload = payload.into_inner();
                self.remote.report(Unhandled::TaskPanic { name, spawned_at, payload });
            }
            other => self.remote.drop_guarded(other),
        }
    }

    /// Takes the lock. It cannot be poisoned in a bad state: no code that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, CellState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
