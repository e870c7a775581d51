//! The executor: tasks, the ready queue, wakes from any thread, and threads for blocking jobs.
//!
//! A task lives in a cell of the `async-task` crate, which has its state machine, its waker and its
//! reference counts. This module adds the ready queue of the loop (`queue`), the inbox for wakes
//! and calls from other threads (`remote`, whose public face is `remote_handle`), the cell that
//! passes a result to its `JoinHandle` (`join`), the cell that passes a result between threads
//! (`result_cell`), the pool of threads (`blocking`), the combinators of futures (`combine`), and
//! the budget that makes an always-ready task yield (`coop`).
//!
//! **Invariant.** Futures are polled and dropped on the loop's thread only, and never inside
//! `spawn` or `wake`. Every `Waker` may be used on any thread, at any time, also after the loop has
//! ended.
//!
//! **Absent on purpose.** Sockets, clocks and drivers: of the loop, this module uses wakers only.

mod abort;
mod abort_on_drop;
mod blocking;
mod budget;
mod builder;
mod call;
pub(crate) mod cancel;
mod cell;
pub mod combine;
pub(crate) mod coop;
pub(crate) mod current;
mod ended;
pub(crate) mod executor;
mod gather;
mod group;
mod handle_set;
mod identity;
mod info;
mod inherit;
mod join;
mod join_error;
mod join_set;
mod local;
pub(crate) mod park;
mod polled;
pub(crate) mod queue;
mod registry;
mod remote;
mod remote_handle;
mod remote_join;
mod report;
mod result_cell;
mod scheduled;
mod shield;
mod shuffle;
mod spawn;
mod supervised;
mod wait;
mod yield_now;

pub use abort::AbortHandle;
pub use abort_on_drop::AbortOnDrop;
pub use blocking::{BlockingHandle, spawn_blocking};
pub use budget::{Unconstrained, consume_budget, has_budget_remaining, unconstrained};
pub use builder::Builder;
pub use call::CallHandle;
pub use cancel::{Cancelled, cancel_scope, shielded};
pub use combine::{
    JoinAll, Race, Scope, ScopeHandle, TryJoinAll, join_all, race, scope, try_join_all,
};
pub use current::current;
pub use gather::{Gather, GatherError, GatherResults, gather, gather_results};
pub use group::{
    ChildHandle, GroupClosed, GroupError, GroupFailure, Ready, StartError, TaskGroup, task_group,
};
pub use identity::TaskId;
pub use info::{CurrentTask, TaskInfo};
pub use join::JoinHandle;
pub use join_error::{JoinError, PanicPayload};
pub use join_set::JoinSet;
pub use local::{AccessError, LocalKey, LocalSlot, TaskLocalFuture};
pub use polled::PollKind;
pub use remote_handle::{RemoteHandle, RuntimeClosed};
pub use remote_join::RemoteJoinHandle;
pub use shield::shield;
pub use spawn::{call_soon, spawn};
pub use wait::{Done, When, wait, wait_results};
pub use yield_now::yield_now;

pub(crate) use blocking::{Limits as BlockingLimits, OnBusy, Pool as BlockingPool, PoolCounts};
pub(crate) use call::Call;
pub(crate) use executor::{Executor, is_large};
pub(crate) use polled::Polled;
pub(crate) use remote::{MainWaker, Remote};
pub(crate) use report::Report;
