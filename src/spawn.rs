//! Free functions that put work on the loop of this thread.

use std::future::Future;
use std::panic::Location;

use crate::runtime::context;
use crate::task::{Call, CallHandle, JoinHandle};

/// Makes a task of `future`. It runs beside everything else on this loop, from the next turn on.
///
/// The handle gives the result, or the panic. Dropping it detaches the task, which then runs on by
/// itself. On a loop that is shutting down the future is dropped and the handle says `Cancelled`.
///
/// # Panics
///
/// If no loop runs on this thread.
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    context::current().executor.spawn(future, Location::caller())
}

/// Calls `function` once in the loop's next turn, in order with the tasks that are ready. Never
/// inline. A panic reaches [`on_unhandled`](crate::Builder::on_unhandled), and the loop goes on.
///
/// # Panics
///
/// If no loop runs on this thread.
#[track_caller]
pub fn call_soon(function: impl FnOnce() + 'static) -> CallHandle {
    let call = Call::new(function, Location::caller());
    context::current().executor.call_soon(std::rc::Rc::clone(&call));
    CallHandle::new(call)
}
