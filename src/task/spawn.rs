//! [`spawn`] and [`call_soon`]: work for the loop of this thread.

use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use super::call::{Call, CallHandle};
use super::current;
use super::executor::is_large;
use super::join::JoinHandle;

/// Spawns a task that runs `future` on the loop of this thread, from the next turn on.
///
/// The handle returns the result, or the panic, of the task. Dropping the handle detaches the task,
/// which then runs on. On a loop that is shutting down the future is dropped, and the handle
/// returns [`Cancelled`](crate::JoinError::Cancelled). This is tokio's `spawn_local`.
///
/// A future of more than 2 KiB (2 048 bytes) is moved to the heap at once. Until then it needs its
/// size on the stack, and twice its size without optimization; `spawn(Box::pin(future))` needs it
/// once in both cases.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// ringloop::run(async {
///     let task = ringloop::spawn(async {
///         ringloop::time::sleep(std::time::Duration::from_millis(1)).await;
///         "done"
///     });
///     assert_eq!(task.await.unwrap(), "done");
/// });
/// ```
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    if const { is_large::<F>() } { spawn_small(Box::pin(future)) } else { spawn_small(future) }
}

#[track_caller]
fn spawn_small<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    current::executor().spawn(future, Location::caller())
}

/// Calls `function` once, in the next turn of the loop of this thread.
///
/// It is never called inside `call_soon`. Calls and ready tasks run in the order in which they
/// became ready. A panic is reported to [`on_unhandled`](crate::Builder::on_unhandled), and the
/// loop goes on. This is asyncio's `loop.call_soon`.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// ringloop::run(async {
///     let is_called = Rc::new(Cell::new(false));
///     let flag = Rc::clone(&is_called);
///     ringloop::call_soon(move || flag.set(true));
///     assert!(!is_called.get());
///     ringloop::task::yield_now().await;
///     assert!(is_called.get());
/// });
/// ```
#[track_caller]
pub fn call_soon(function: impl FnOnce() + 'static) -> CallHandle {
    call_boxed_soon(Box::new(function))
}

#[track_caller]
fn call_boxed_soon(function: Box<dyn FnOnce()>) -> CallHandle {
    let call = Call::new(function, Location::caller());
    current::executor().call_soon(Rc::clone(&call));
    CallHandle::new(call)
}
