//! [`AbortOnDrop`]: a task that ends with its handle.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::join::JoinHandle;
use super::join_error::JoinError;

/// A [`JoinHandle`] that aborts its task when it is dropped.
///
/// A `JoinHandle` detaches its task instead. The future of an aborted task is dropped in the next
/// turn of the loop, and the drop of this handle does not wait for it. This is the
/// `AbortOnDropHandle` of tokio-util.
///
/// # Cancel safety
///
/// Cancel safe on `&mut handle`. An await that owns the handle aborts the task when it is dropped.
///
/// # Errors
///
/// [`JoinError`] if the task panicked or was aborted.
///
/// # Panics
///
/// As [`JoinHandle`].
///
/// ```
/// use ringloop::task::AbortOnDrop;
///
/// ringloop::run(async {
///     let task = AbortOnDrop::new(ringloop::spawn(async { 6 * 7 }));
///     assert_eq!(task.await.unwrap(), 42);
///
///     let task = AbortOnDrop::new(ringloop::spawn(std::future::pending::<()>()));
///     drop(task);
///     ringloop::task::yield_now().await;
///     assert_eq!(ringloop::Handle::current().metrics().tasks, 0);
/// });
/// ```
#[derive(Debug)]
#[must_use = "dropping it aborts the task"]
pub struct AbortOnDrop<T> {
    /// `None` after `detach`.
    handle: Option<JoinHandle<T>>,
}

impl<T> AbortOnDrop<T> {
    /// Aborts the task of `handle` when the returned value is dropped.
    pub fn new(handle: JoinHandle<T>) -> AbortOnDrop<T> {
        AbortOnDrop { handle: Some(handle) }
    }

    /// Returns the handle, which no longer aborts the task when it is dropped.
    ///
    /// ```
    /// use ringloop::task::AbortOnDrop;
    ///
    /// ringloop::run(async {
    ///     let task = AbortOnDrop::new(ringloop::spawn(async { "done" })).detach();
    ///     assert_eq!(task.await.unwrap(), "done");
    /// });
    /// ```
    pub fn detach(mut self) -> JoinHandle<T> {
        self.handle.take().expect("the handle is there until it is taken")
    }
}

/// The methods of the handle: `abort`, `abort_handle`, `is_finished`, `id`, `name`, `spawned_at`.
impl<T> Deref for AbortOnDrop<T> {
    type Target = JoinHandle<T>;

    fn deref(&self) -> &JoinHandle<T> {
        self.handle.as_ref().expect("the handle is there until it is taken")
    }
}

impl<T> From<JoinHandle<T>> for AbortOnDrop<T> {
    fn from(handle: JoinHandle<T>) -> AbortOnDrop<T> {
        AbortOnDrop::new(handle)
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.handle.as_mut().expect("the handle is there until it is taken");
        Pin::new(handle).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}
