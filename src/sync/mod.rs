//! What tasks of one loop wait for among themselves.
//!
//! What lives here: the wait list (`wait_list.rs`), and everything that is built on it:
//! locks, semaphores, cancellation tokens and channels.
//!
//! **Invariant.** A woken waiter reserves nothing: the first poll that finds an item takes it. So a
//! future that is not polled never holds a permit, a lock or a message back.
//!
//! **Absent on purpose.** The loop, its clock and its operations. Of `task`, this module uses the
//! budget and the ready queue.

mod barrier;
pub mod broadcast;
mod cancellation;
mod condvar;
pub mod cross;
mod event;
mod gate;
pub mod mpsc;
mod mutex;
mod notify;
mod numbered;
mod once_cell;
pub mod oneshot;
mod permits;
pub mod queue;
mod rwlock;
mod semaphore;
#[cfg(test)]
mod tests;
mod value;
pub(crate) mod wait_list;
pub(crate) mod waker_cell;
pub(crate) mod waking;
pub mod watch;

pub use barrier::{Barrier, BarrierWaitResult};
pub use cancellation::{
    CancellationToken, DropGuard, WaitForCancellationFuture, WaitForCancellationFutureOwned,
};
pub use condvar::Condvar;
pub use event::Event;
pub use mutex::{Mutex, MutexGuard, OwnedMutexGuard, TryLockError};
pub use notify::{Notified, Notify, OwnedNotified};
pub use once_cell::{OnceCell, SetError};
pub use queue::{PriorityQueue, Queue};
pub use rwlock::{
    OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
pub use semaphore::{
    AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError,
};
