//! The interfaces through which the reactor calls the owners of operations and timers.
//!
//! **Invariant.** The reactor holds no borrow of itself while it calls an owner, except in
//! [`Owner::watched`]. An owner runs no user code: wakers go to `Reactor::wake_deferred`.

use std::os::fd::RawFd;
use std::rc::Rc;

use crate::driver::request::{Interest, Tag};
use crate::op::OpResult;

/// The owner of operations, and of the memory that they lend to the kernel.
pub(crate) trait Owner {
    /// Handles one completion of the operation with this tag.
    fn complete(self: Rc<Self>, tag: Tag, result: OpResult);

    /// Ends the operation without a completion: the driver has failed (`code` is `ECANCELED`), or
    /// the kernel has dropped the completion (`EBADR`). The kernel may still read or write what it
    /// was lent, so that memory must be leaked. With `EBADR` received bytes may be missing.
    fn abandon(self: Rc<Self>, tag: Tag, code: i32);

    /// The descriptor and the readiness with which the kernel should have completed the operation,
    /// if there are any. Called under a borrow of the reactor.
    fn watched(&self, tag: Tag) -> Option<(RawFd, Interest)>;

    /// Submits what the owner has gathered. Called before the next enter, if the owner has asked
    /// for it with `Reactor::prepare_later`.
    fn prepare(self: Rc<Self>);
}

/// The owner of a timer that does more than wake a task. The rules of [`Owner`] hold.
pub(crate) trait Expire {
    /// Handles the end of the timer.
    fn expire(self: Rc<Self>);

    /// Whether the timer is still needed once the tasks are gone.
    fn outlives_tasks(&self) -> bool;
}
