//! The value of a `watch` channel, its version, and the waiters of both halves.
//!
//! The value is behind an `Rc`. A [`Ref`] has a reference to it, so it keeps a value that a send
//! has replaced meanwhile. While a closure of the program changes the value in place, the value is
//! taken out.
//!
//! ```text
//!            send, send_replace: another value
//!                    ┌───┐
//!                    │   ▼      a closure begins
//!                  Present ───────────────────────▶ Taken: reads and sends panic
//!                     ▲                               │
//!                     └───── it returns or panics ────┘
//! ```
//!
//! **Invariant.** No user code runs while a `RefCell` of this file is borrowed.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::{fmt, mem};

use crate::sync::wait_list::{WaitList, Woken};
use crate::sync::waking::wake_each;

pub(super) struct Shared<T> {
    /// The value, or `None` while it is changed in place.
    value: RefCell<Option<Rc<T>>>,
    /// The number of changes.
    version: Cell<u64>,
    receiver_count: Cell<usize>,
    sender_count: Cell<usize>,
    /// Receivers that wait for a change.
    pub(super) receivers: RefCell<WaitList>,
    /// Senders that wait for the end of the last receiver.
    pub(super) senders: RefCell<WaitList>,
}

impl<T> Shared<T> {
    /// A channel without a half.
    pub(super) fn new(value: T) -> Shared<T> {
        Shared {
            value: RefCell::new(Some(Rc::new(value))),
            version: Cell::new(0),
            receiver_count: Cell::new(0),
            sender_count: Cell::new(0),
            receivers: RefCell::default(),
            senders: RefCell::default(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version.get()
    }

    pub(super) fn receiver_count(&self) -> usize {
        self.receiver_count.get()
    }

    pub(super) fn sender_count(&self) -> usize {
        self.sender_count.get()
    }

    pub(super) fn add_receiver(&self) {
        self.receiver_count.set(self.receiver_count.get() + 1);
    }

    pub(super) fn add_sender(&self) {
        self.sender_count.set(self.sender_count.get() + 1);
    }

    pub(super) fn remove_receiver(&self) -> Woken {
        self.receiver_count.set(self.receiver_count.get() - 1);
        let is_last = self.receiver_count.get() == 0;
        if is_last { self.senders.borrow_mut().wake_all() } else { Woken::default() }
    }

    pub(super) fn remove_sender(&self) -> Woken {
        self.sender_count.set(self.sender_count.get() - 1);
        let is_last = self.sender_count.get() == 0;
        if is_last { self.receivers.borrow_mut().wake_all() } else { Woken::default() }
    }

    #[track_caller]
    pub(super) fn read(&self, has_changed: bool) -> Ref<T> {
        let value = self.value.borrow().as_ref().map(Rc::clone);
        let Some(value) = value else { refuse_use() };
        Ref { value, has_changed }
    }

    /// Replaces the value. Returns the former one, which `Ref`s may hold.
    #[track_caller]
    pub(super) fn replace(&self, value: T) -> Rc<T> {
        let value = Rc::new(value);
        let mut current = self.value.borrow_mut();
        let former = match &mut *current {
            Some(current) => mem::replace(current, value),
            None => {
                drop(current); // the destructor of `value` is user code
                refuse_use()
            }
        };
        drop(current);
        self.changed();
        former
    }

    /// Replaces the value and returns the former one, which no `Ref` may hold.
    #[track_caller]
    pub(super) fn exchange(&self, value: T) -> T {
        let ref_count = self.value.borrow().as_ref().map_or(0, |value| Rc::strong_count(value) - 1);
        if ref_count > 0 {
            refuse_change(ref_count);
        }
        let former = self.replace(value);
        Rc::into_inner(former).expect("the only reference")
    }

    /// Changes the value in place. The receivers are woken if `change` returns true.
    #[track_caller]
    pub(super) fn modify(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let Some(value) = self.value.take() else { refuse_use() };
        let mut taken = Taken { shared: self, value: Some(value) };
        let value = taken.value.as_mut().expect("taken above");
        let ref_count = Rc::strong_count(value) - 1;
        let Some(value) = Rc::get_mut(value) else { refuse_change(ref_count) };
        let is_changed = change(value);
        drop(taken);
        if is_changed {
            self.changed();
        }
        is_changed
    }

    fn changed(&self) {
        self.version.set(self.version.get() + 1);
        let woken = self.receivers.borrow_mut().wake_all();
        wake_each(woken);
    }
}

/// A value that a closure of the program changes. It returns to its place also after a panic.
struct Taken<'a, T> {
    shared: &'a Shared<T>,
    value: Option<Rc<T>>,
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        self.shared.value.replace(self.value.take());
    }
}

#[cold]
#[track_caller]
fn refuse_use() -> ! {
    panic!(
        "a watch channel was used inside of the closure that changes its value in place: read or \
         send before or after `send_modify` or `send_if_modified`"
    )
}

#[cold]
#[track_caller]
fn refuse_change(ref_count: usize) -> ! {
    panic!(
        "the value of a watch channel cannot be taken or changed in place while {ref_count} `Ref` \
         of it are alive: drop them before, or replace the value with `send`"
    )
}

/// The value of a `watch` channel at the time of the read.
///
/// It is a snapshot: a send replaces the value of the channel and leaves this one as it is. (In
/// tokio, a `Ref` holds a lock, and a send on the same thread would deadlock.) Two operations of
/// the sender need the value for themselves and panic while a `Ref` to the current value is alive:
/// [`Sender::send_modify`](super::Sender::send_modify), with `send_if_modified`, and
/// [`Sender::send_replace`](super::Sender::send_replace).
///
/// ```
/// use ringloop::sync::watch;
///
/// let (sender, receiver) = watch::channel(1);
/// let before = receiver.borrow();
/// sender.send(2).expect("there is a receiver");
/// assert_eq!((*before, *receiver.borrow()), (1, 2));
/// ```
pub struct Ref<T> {
    value: Rc<T>,
    has_changed: bool,
}

impl<T> Ref<T> {
    /// Whether the value was new to the receiver that has read it. False for a read by a sender.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::watch::channel(1);
    /// sender.send(2).expect("there is a receiver");
    /// assert!(receiver.borrow_and_update().has_changed());
    /// assert!(!receiver.borrow_and_update().has_changed());
    /// ```
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
