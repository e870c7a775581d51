//! Combinators: several futures as one.
//!
//! The macros [`select!`](crate::select), [`join!`](crate::join) and
//! [`try_join!`](crate::try_join) expand to calls of this module.
//!
//! **Invariant.** A combinator is pending when the budget of the poll is spent, and spends one unit
//! itself if its futures have spent none.

mod join;
mod list;
mod select;

#[doc(hidden)]
pub use join::{Join, Joined, MaybeDone, TryJoin, TryJoined, join, try_join};
#[doc(hidden)]
pub use list::{And, End, Start};
#[doc(hidden)]
pub use select::{Branch, Branches, Never, Select, Taken, branch, select};
