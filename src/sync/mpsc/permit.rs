//! [`Permit`]: a slot that the program has reserved.

use std::fmt;
use std::rc::Rc;

use super::chan::Chan;
use crate::sync::gate::Held;

/// A reserved slot of a bounded channel, from
/// [`Sender::reserve`](super::Sender::reserve). Dropping it frees the slot.
#[must_use = "dropping the permit frees the slot"]
pub struct Permit<'a, T> {
    chan: &'a Rc<Chan<T>>,
    slot: Option<Held>,
}

impl<'a, T> Permit<'a, T> {
    pub(super) fn new(chan: &'a Rc<Chan<T>>, slot: Held) -> Permit<'a, T> {
        Permit { chan, slot: Some(slot) }
    }

    /// Sends a value in this slot. Does not wait.
    ///
    /// The value is sent also if the receiver was closed meanwhile, and is dropped if the receiver
    /// was dropped.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::mpsc::channel(1);
    /// let permit = sender.try_reserve().expect("a free slot");
    /// receiver.close();
    /// permit.send(1);
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn send(mut self, value: T) {
        push(self.chan, self.slot.take(), value);
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        free(self.chan, self.slot.take());
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// Uses a slot for a value. If the receiver is gone, the value is dropped.
pub(super) fn push<T>(chan: &Chan<T>, slot: Option<Held>, value: T) {
    if let Some(slot) = slot {
        slot.keep();
    }
    drop(chan.push(value));
}

/// Frees a slot that was not used.
pub(super) fn free<T>(chan: &Chan<T>, slot: Option<Held>) {
    if let Some(slot) = slot {
        drop(slot);
        chan.slot_returned();
    }
}
