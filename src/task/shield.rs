//! [`shield`]: a future that outlives its caller.

use std::future::Future;

use super::join::JoinHandle;
use super::spawn::spawn;

/// Runs `future` as a task, so that it goes on when the caller is cancelled.
///
/// Dropping the handle leaves the task alone, for example when a [`timeout`](crate::time::timeout)
/// around it elapses. This is asyncio's `shield`, and the same as [`spawn`](crate::spawn): the name
/// says why. Details, errors and panics are those of `spawn` and of [`JoinHandle`].
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::task::{shield, yield_now};
/// use ringloop::time::timeout;
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let is_saved = Rc::new(Cell::new(false));
///     let flag = Rc::clone(&is_saved);
///     let save = shield(async move {
///         yield_now().await;
///         flag.set(true);
///     });
///     assert!(timeout(Duration::ZERO, save).await.is_err());
///     yield_now().await;
///     assert!(is_saved.get());
/// });
/// ```
#[track_caller]
pub fn shield<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    spawn(future)
}
