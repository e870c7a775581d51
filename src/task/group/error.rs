//! The errors of groups.

use std::fmt;
use std::panic::Location;

use crate::task::join_error::PanicPayload;

/// The error of a [`task_group`](crate::task_group): everything that failed in it, in order.
///
/// The first failure has ended the group. Later ones come from tasks that failed in the same turn,
/// or while they were ended. This is Python's `ExceptionGroup`, without nesting.
///
/// ```
/// use ringloop::task::{GroupError, GroupFailure};
///
/// ringloop::run(async {
///     let result: Result<(), GroupError<&str>> = ringloop::task_group(async |g| {
///         g.spawn(async { Err::<(), _>("the child failed") });
///         std::future::pending().await
///     })
///     .await;
///     let error = result.unwrap_err();
///     assert_eq!(error.to_string(), "a task of the group failed: the child failed");
///     assert!(matches!(error.first(), GroupFailure::Error("the child failed")));
///     assert_eq!(error.into_error(), "the child failed");
/// });
/// ```
pub struct GroupError<E> {
    /// In the order in which they happened. There is at least one.
    failures: Vec<GroupFailure<E>>,
}

/// One failure in a group.
pub enum GroupFailure<E> {
    /// A child or the body returned this error.
    Error(E),
    /// A child panicked, or the destructor of one of its locals did.
    Panic {
        /// The payload of the panic.
        payload: PanicPayload,
        /// The place where the child was spawned.
        spawned_at: &'static Location<'static>,
    },
}

impl<E> GroupError<E> {
    pub(super) fn new(failures: Vec<GroupFailure<E>>) -> GroupError<E> {
        assert!(!failures.is_empty(), "a group without failures has a value");
        GroupError { failures }
    }

    /// The failure that has ended the group.
    pub fn first(&self) -> &GroupFailure<E> {
        &self.failures[0]
    }

    /// All failures, in the order in which they happened.
    pub fn failures(&self) -> &[GroupFailure<E>] {
        &self.failures
    }

    /// Returns all failures, in the order in which they happened.
    pub fn into_failures(self) -> Vec<GroupFailure<E>> {
        self.failures
    }

    /// The errors that were returned, in order, without the panics.
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        self.failures.iter().filter_map(|failure| match failure {
            GroupFailure::Error(error) => Some(error),
            GroupFailure::Panic { .. } => None,
        })
    }

    /// The payloads of the panics, in order.
    pub fn panics(&self) -> impl Iterator<Item = &PanicPayload> {
        self.failures.iter().filter_map(|failure| match failure {
            GroupFailure::Error(_) => None,
            GroupFailure::Panic { payload, .. } => Some(payload),
        })
    }

    /// Returns the first error, for callers that pass on one: `group.await.map_err(
    /// GroupError::into_error)?`. The others are dropped.
    ///
    /// # Panics
    ///
    /// If a child panicked: its panic goes on, as a bug is more important than an error.
    pub fn into_error(self) -> E {
        let mut first = None;
        for failure in self.failures {
            match failure {
                GroupFailure::Error(error) => _ = first.get_or_insert(error),
                GroupFailure::Panic { payload, .. } => {
                    std::panic::resume_unwind(payload.into_inner())
                }
            }
        }
        first.expect("a group error has a failure")
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first();
        match self.failures.len() {
            1 => write!(f, "a task of the group failed: {first}"),
            count => write!(f, "{count} tasks of the group failed, the first with: {first}"),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupError").field(&self.failures).finish()
    }
}

impl<E: std::error::Error + 'static> std::error::Error for GroupError<E> {
    /// The first error that was returned.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.errors().next().map(|error| error as _)
    }
}

impl<E: fmt::Display> fmt::Display for GroupFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupFailure::Error(error) => write!(f, "{error}"),
            GroupFailure::Panic { payload, spawned_at } => {
                write!(f, "the task spawned at {spawned_at} panicked: {payload}")
            }
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for GroupFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupFailure::Error(error) => f.debug_tuple("Error").field(error).finish(),
            GroupFailure::Panic { payload, spawned_at } => f
                .debug_struct("Panic")
                .field("payload", payload)
                .field("spawned_at", &format_args!("{spawned_at}"))
                .finish(),
        }
    }
}

/// The error of [`TaskGroup::try_spawn`](super::handle::TaskGroup::try_spawn): the group has
/// failed, was cancelled or has ended. It has the future.
pub struct GroupClosed<F> {
    future: F,
}

impl<F> GroupClosed<F> {
    pub(super) fn new(future: F) -> GroupClosed<F> {
        GroupClosed { future }
    }

    /// Returns the future, which was not polled.
    pub fn into_future(self) -> F {
        self.future
    }
}

impl<F> fmt::Display for GroupClosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the task group takes no tasks any more: it has failed, was cancelled or has ended",
        )
    }
}

impl<F> fmt::Debug for GroupClosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupClosed").finish_non_exhaustive()
    }
}

impl<F> std::error::Error for GroupClosed<F> {}
