//! Free functions that put work on the loop of this thread.

use std::future::Future;
use std::panic::Location;

use crate::runtime::context;
use crate::task::{Call, CallHandle, JoinHandle, is_large};

/// Makes a task of `future`. It runs beside everything else on this loop, from the next turn on.
///
/// The handle gives the result, or the panic. Dropping it detaches the task, which then runs on by
/// itself. On a loop that is shutting down the future is dropped and the handle says `Cancelled`.
///
/// A future of more than 2 KiB is moved to the heap at once. It needs its size on the stack until
/// then, and twice its size without optimization; `spawn(Box::pin(future))` needs it once in both.
///
/// # Panics
///
/// If no loop runs on this thread.
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    if const { is_large::<F>() } { spawn_small(Box::pin(future)) } else { spawn_small(future) }
}

#[track_caller]
fn spawn_small<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
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
    call_boxed_soon(Box::new(function))
}

#[track_caller]
fn call_boxed_soon(function: Box<dyn FnOnce()>) -> CallHandle {
    let call = Call::new(function, Location::caller());
    context::current().executor.call_soon(std::rc::Rc::clone(&call));
    CallHandle::new(call)
}
