//! Scopes that can be cancelled, and shields against it.
//!
//! A cancel is level-triggered: from then on, no leaf operation inside of the scope completes.
//! While its scope is cancelled, a future is polled in a mode in which leaves are pending without
//! being polled (`coop::cancelled`). If it is pending, the scope drops it, unless a shield inside
//! of it is active: then the scope waits until the shield has ended. A cancel from within the scope
//! ends the budget of the poll (`coop::interrupt`), so that the next leaf does not complete either.
//!
//! ```text
//!           cancel              pending, no shield is active
//!  Running ────────▶ Cancelled ──────────────────────────────▶ Ended: the future is dropped
//!     │                  │
//!     └──────────────────┴─────▶ Ended: the future is ready, and its value wins
//! ```
//!
//! **Invariant.** A shield counts in each scope around it, up to the next shield. It is the scope
//! itself that is counted in, not the poll: a combinator that polls only woken branches does not
//! hide an active shield.
//!
//! **Absent on purpose.** Clocks: `time::deadline_scope` is built on this.

mod cancel_scope;
mod scope;
mod shielded;

pub use cancel_scope::{Cancelled, cancel_scope};
pub use shielded::shielded;

pub(crate) use scope::{Scope, ScopePoll, deadline_ns, with_deadline};
