//! The values of a `broadcast` channel, and which receivers have not taken them.
//!
//! Values have positions, counted from 0. The ring keeps the values from `start` to `end`, at most
//! `capacity`. A receiver has the position of its next value.
//!
//! ```text
//!            start                    end
//!   … gone │ value │ value │ value │ (next send)
//!              ▲               ▲
//!          receiver A      receiver B        remaining: 1, 1, 2
//! ```
//!
//! **Invariant.** `remaining` of a value is the number of receivers whose position is at or before
//! it. So it never falls from one value to the next, the values that all receivers have taken are
//! at the front, and they leave the ring at once.
//!
//! **Absent on purpose.** User code. Values are behind an `Rc`, so that a receiver takes a
//! reference while the ring is borrowed and clones the value when it is not.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::error::TryRecvError;
use crate::sync::wait_list::{WaitList, Woken};

/// What the halves of one channel share. No user code runs while it is borrowed.
pub(super) type Shared<T> = Rc<RefCell<Ring<T>>>;

pub(super) struct Ring<T> {
    slots: VecDeque<Slot<T>>,
    capacity: usize,
    /// The position of the next value that is sent.
    end: u64,
    receiver_count: usize,
    sender_count: usize,
    /// Receivers that wait for a value.
    pub(super) receivers: WaitList,
    /// Senders that wait for the end of the last receiver.
    pub(super) senders: WaitList,
}

struct Slot<T> {
    value: Rc<T>,
    /// The number of receivers that have not taken the value.
    remaining: usize,
}

/// What a send leaves to the caller, when the borrow has ended.
#[must_use = "dropping values and waking tasks is user code"]
pub(super) struct Sent<T> {
    pub(super) woken: Woken,
    /// The value that was overwritten.
    pub(super) oldest: Option<Rc<T>>,
}

/// What the removal of a receiver leaves to the caller, when the borrow has ended.
#[must_use = "dropping values and waking tasks is user code"]
pub(super) struct Removed<T> {
    pub(super) woken: Woken,
    /// Values that left the ring.
    pub(super) values: Vec<Rc<T>>,
}

impl<T> Ring<T> {
    /// A ring with one sender and no receiver.
    pub(super) fn new(capacity: usize) -> Ring<T> {
        Ring {
            slots: VecDeque::new(),
            capacity,
            end: 0,
            receiver_count: 0,
            sender_count: 1,
            receivers: WaitList::default(),
            senders: WaitList::default(),
        }
    }

    /// The position of the oldest value.
    fn start(&self) -> u64 {
        self.end - self.slots.len() as u64
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The number of values that some receiver has not taken.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn receiver_count(&self) -> usize {
        self.receiver_count
    }

    pub(super) fn sender_count(&self) -> usize {
        self.sender_count
    }

    pub(super) fn add_sender(&mut self) {
        self.sender_count += 1;
    }

    /// Adds a receiver of all later values. Returns its position.
    pub(super) fn add_receiver(&mut self) -> u64 {
        self.receiver_count += 1;
        self.end
    }

    /// Adds a value, in place of the oldest one if the ring is full. Returns the value if there is
    /// no receiver.
    pub(super) fn send(&mut self, value: Rc<T>) -> Result<Sent<T>, Rc<T>> {
        if self.receiver_count == 0 {
            return Err(value);
        }
        let is_full = self.slots.len() == self.capacity;
        let oldest = if is_full { self.slots.pop_front() } else { None };
        self.slots.push_back(Slot { value, remaining: self.receiver_count });
        self.end += 1;
        Ok(Sent { woken: self.receivers.wake_all(), oldest: oldest.map(|slot| slot.value) })
    }

    /// Takes the next value of a receiver, and moves its position.
    pub(super) fn take(&mut self, position: &mut u64) -> Result<Rc<T>, TryRecvError> {
        let start = self.start();
        if *position < start {
            let missed_count = start - *position;
            *position = start;
            return Err(TryRecvError::Lagged(missed_count));
        }
        let index = (*position - start) as usize;
        let Some(slot) = self.slots.get_mut(index) else {
            let is_closed = self.sender_count == 0;
            return Err(if is_closed { TryRecvError::Closed } else { TryRecvError::Empty });
        };
        *position += 1;
        slot.remaining -= 1;
        if slot.remaining > 0 {
            return Ok(Rc::clone(&slot.value));
        }
        assert_eq!(index, 0, "values that all receivers have taken are at the front");
        let slot = self.slots.pop_front().expect("the slot at the front");
        Ok(slot.value)
    }

    /// Removes a receiver. The values that only it had not taken leave the ring.
    pub(super) fn remove_receiver(&mut self, position: u64) -> Removed<T> {
        self.receiver_count -= 1;
        let taken_count = position.saturating_sub(self.start()) as usize;
        self.slots.iter_mut().skip(taken_count).for_each(|slot| slot.remaining -= 1);
        let gone_count = self.slots.iter().take_while(|slot| slot.remaining == 0).count();
        let values = self.slots.drain(..gone_count).map(|slot| slot.value).collect();
        let is_last = self.receiver_count == 0;
        let woken = if is_last { self.senders.wake_all() } else { Woken::default() };
        Removed { woken, values }
    }

    pub(super) fn remove_sender(&mut self) -> Woken {
        self.sender_count -= 1;
        if self.sender_count == 0 { self.receivers.wake_all() } else { Woken::default() }
    }
}
