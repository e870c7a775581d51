//! Jobs as members of a [`JoinSet`](crate::task::JoinSet), which takes results from join cells.
//!
//! ```text
//!   thread of the pool                          the loop
//!   job ──finish──▶ ResultCell ──wake──▶ relay task ──finish──▶ JoinCell ──▶ JoinSet
//! ```
//!
//! The relay task has the number and the place of the job. An abort of a join cell wakes the waker
//! of its header. In the cell of a job this is the [`AbortJob`](super::handle::AbortJob), so that a
//! job that has started runs to its end and its result reaches the set. An abort of the relay task
//! would drop that result.
//!
//! **Invariant.** The join cell gets one result: that of the job, or
//! [`Cancelled`](super::super::JoinError::Cancelled) when the loop drops the relay task.

use std::panic::Location;
use std::rc::Rc;

use super::super::current;
use super::super::join::JoinHandle;
use super::super::supervised::Ending;
use super::handle::BlockingHandle;

/// Queues a job of this thread's loop, and returns a join handle to it.
pub(crate) fn spawn_joined<F, T>(
    function: F,
    spawned_at: &'static Location<'static>,
) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let executor = current::executor();
    let job = BlockingHandle::spawn(executor.blocking(), function, spawned_at);
    let identity = job.identity().clone();
    let cell = executor.new_cell(identity.clone());
    if let Some(abort) = job.abort_waker() {
        cell.header().set_waker(abort);
    }
    let mut ending = Ending::new(Rc::clone(&cell));
    let relay = async move { ending.finish(job.await) };
    drop(executor.spawn_as(relay, identity)); // the loop keeps the task
    JoinHandle::new(cell)
}
