//! Combinators: several futures as one.
//!
//! The macros [`select!`](crate::select), [`join!`](crate::join) and [`try_join!`](crate::try_join)
//! expand to calls of this module. [`join_all`], [`try_join_all`] and [`race`] take any number of
//! futures of one type. A [`scope`] takes futures while it runs.
//!
//! **Invariant.** A combinator is pending when the budget of the poll is spent, and spends one unit
//! itself if its futures have spent none.

mod children;
mod join;
mod join_all;
mod list;
mod race;
mod scope;
mod select;
mod wakes;

pub use join_all::{JoinAll, TryJoinAll, join_all, try_join_all};
pub use race::{Race, race};
pub use scope::{Scope, ScopeHandle, scope};

#[doc(hidden)]
pub use join::{Join, Joined, MaybeDone, TryJoin, TryJoined, join, try_join};
#[doc(hidden)]
pub use list::{And, End, Start};
#[doc(hidden)]
pub use select::{Branch, Branches, Never, Select, Taken, branch, select};
