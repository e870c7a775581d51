//! [`CancellationToken`]: asks tasks to end, in a tree.
//!
//! The tree (`tree.rs`) is plain data, shared by all tokens that descend from one root. Futures
//! that wait for a cancel are in `wait.rs`.
//!
//! **Invariant.** A cancel has reached all descendants before the first waker is woken. Wakers are
//! woken with no `RefCell` borrowed, so they may cancel, make and drop tokens.
//!
//! **Absent on purpose.** Tasks: a token does not end the tasks that wait for it.

mod guard;
mod token;
mod tree;
mod wait;

pub use guard::DropGuard;
pub use token::CancellationToken;
pub use wait::{WaitForCancellationFuture, WaitForCancellationFutureOwned};
