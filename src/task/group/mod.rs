//! [`task_group`]: tasks that end together.
//!
//! The state of a group (`state.rs`) is plain data; `shared.rs` performs its effects. A child
//! (`child.rs`) is a task whose errors and panics go to the group. The future of the group
//! (`run.rs`) polls the body and waits for the children. `start.rs` waits until a child is ready.
//!
//! **Invariant.** The group's future is ready only when its body and the locals of all its children
//! have been dropped.
//!
//! **Absent on purpose.** Children that borrow: a task is `'static`. They are in
//! [`scope`](crate::task::scope), whose children are no tasks.

mod child;
mod error;
mod handle;
mod run;
mod shared;
mod start;
mod state;

pub use child::ChildHandle;
pub use error::{GroupClosed, GroupError, GroupFailure};
pub use handle::TaskGroup;
pub use run::task_group;
pub use start::{Ready, StartError};
