//! [`Builder`]: tasks with names.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use super::current;
use super::executor::is_large;
use super::join::JoinHandle;

/// The settings of a task: its name.
///
/// The name is in reports of panics and slow polls, and in the table of tasks
/// ([`Handle::tasks`](crate::Handle::tasks)). A task without a name, as [`spawn`](crate::spawn)
/// makes them, is identified by its number and the place where it was spawned, and costs nothing
/// for the name. This is the `name` of asyncio's `create_task`, in the form of tokio's
/// `task::Builder`.
///
/// ```
/// ringloop::run(async {
///     let task = ringloop::task::Builder::new().name("greeter").spawn(async {
///         ringloop::task::current().unwrap().name().map(str::to_owned)
///     });
///     assert_eq!(task.await.unwrap().as_deref(), Some("greeter"));
/// });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct Builder {
    name: Option<Arc<str>>,
}

impl Builder {
    /// A builder of a task without a name.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Sets the name of the task: a `&str`, a `String`, or an `Arc<str>` that several tasks share.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Spawns a task that runs `future` on the loop of this thread, from the next turn on.
    ///
    /// Details: [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(self, future: F) -> JoinHandle<F::Output> {
        if const { is_large::<F>() } {
            self.spawn_small(Box::pin(future))
        } else {
            self.spawn_small(future)
        }
    }

    #[track_caller]
    fn spawn_small<F: Future + 'static>(self, future: F) -> JoinHandle<F::Output> {
        current::executor().spawn_named(future, Location::caller(), self.name)
    }
}
