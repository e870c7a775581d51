//! What the halves of a channel share: the queue, the slots, and who waits.
//!
//! ```text
//!  free slot ──── send waits, takes one ────▶ reserved ──── push ────▶ in the queue ──── take ───┐
//!      ▲                                          │ permit dropped                               │
//!      └──────────────────────────────────────────┴──────────────────────────────────────────────┘
//! ```
//!
//! The slots of a bounded channel are the permits of a gate. A sender that waits has reserved
//! nothing; only a `Permit`, which the program holds, has.
//!
//! **Invariant.** The free slots, the reserved slots and the values in the queue are as many as the
//! capacity. No user code runs while a `RefCell` of this file is borrowed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::sync::gate::Gate;
use crate::sync::wait_list::{WaitList, WaiterId, wait_in};
use crate::sync::waker_cell::{Waited, WakerCell};
use crate::sync::waking::wake_each;

use super::error::TryRecvError;

pub(super) struct Chan<T> {
    queue: RefCell<VecDeque<T>>,
    slots: Slots,
    /// The task that waits in a receive.
    receiver: WakerCell,
    /// Senders that wait for the end of the receiver.
    closed: RefCell<WaitList>,
    sender_count: Cell<usize>,
    weak_count: Cell<usize>,
    end: Cell<End>,
}

/// The slots of a channel.
pub(super) enum Slots {
    Bounded { gate: Rc<Gate>, max: usize },
    Unbounded,
}

/// Whether the receiver takes values.
///
/// ```text
///  Open ── close ──▶ Closed: takes what was sent, and what reserved slots bring
///    └──── drop ──────▶ Gone ◀──── drop ────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Open,
    Closed,
    Gone,
}

impl<T> Chan<T> {
    /// A channel with one sender.
    pub(super) fn new(slots: Slots) -> Rc<Chan<T>> {
        Rc::new(Chan {
            queue: RefCell::default(),
            slots,
            receiver: WakerCell::default(),
            closed: RefCell::default(),
            sender_count: Cell::new(1),
            weak_count: Cell::new(0),
            end: Cell::new(End::Open),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// The gate of the slots, and how many there are.
    pub(super) fn slots(&self) -> Option<(&Rc<Gate>, usize)> {
        match &self.slots {
            Slots::Bounded { gate, max } => Some((gate, *max)),
            Slots::Unbounded => None,
        }
    }

    /// Whether the receiver was closed or dropped.
    pub(super) fn is_closed(&self) -> bool {
        self.end.get() != End::Open
    }

    /// Adds a value, which has a slot, and wakes the receiver. Returns it if the receiver is gone.
    pub(super) fn push(&self, value: T) -> Result<(), T> {
        if self.end.get() == End::Gone {
            return Err(value);
        }
        self.queue.borrow_mut().push_back(value);
        self.wake_receiver();
        Ok(())
    }

    /// A reserved slot was given back. A receiver that is closed may have waited for its value.
    pub(super) fn slot_returned(&self) {
        if self.is_closed() {
            self.wake_receiver();
        }
    }

    fn wake_receiver(&self) {
        wake_each(self.receiver.take());
    }

    /// Takes the first value and frees its slot.
    pub(super) fn take(&self) -> Result<T, TryRecvError> {
        let value = self.queue.borrow_mut().pop_front();
        match value {
            Some(value) => {
                self.free_slots(1);
                Ok(value)
            }
            None if self.has_ended() => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Moves up to `limit` values to `buffer` and frees their slots. Returns their number.
    pub(super) fn take_many(
        &self,
        buffer: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, TryRecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let mut queue = self.queue.borrow_mut();
        let count = queue.len().min(limit);
        buffer.extend(queue.drain(..count));
        drop(queue);
        match count {
            0 if self.has_ended() => Err(TryRecvError::Disconnected),
            0 => Err(TryRecvError::Empty),
            _ => {
                self.free_slots(count);
                Ok(count)
            }
        }
    }

    fn free_slots(&self, count: usize) {
        if let Slots::Bounded { gate, .. } = &self.slots {
            gate.release(count);
        }
    }

    /// Whether no value will be pushed any more.
    fn has_ended(&self) -> bool {
        let is_reserved = || match &self.slots {
            Slots::Bounded { gate, max } => gate.available() + self.len() < *max,
            Slots::Unbounded => false,
        };
        self.sender_count.get() == 0 || (self.is_closed() && !is_reserved())
    }

    /// Polls a receive. `take` is [`take`](Chan::take) or [`take_many`](Chan::take_many).
    pub(super) fn poll_take<R>(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&Self) -> Result<R, TryRecvError>,
    ) -> Poll<Option<R>> {
        let mut taken = take(self);
        if matches!(taken, Err(TryRecvError::Empty))
            && self.receiver.wait(cx.waker()) == Waited::Anew
        {
            // The clone of the waker is user code, which may have sent a value.
            taken = take(self);
        }
        match taken {
            Ok(taken) => Poll::Ready(Some(taken)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Refuses further sends, and ends the waits of senders.
    pub(super) fn close(&self) {
        match self.end.get() {
            End::Open => self.end_sends(End::Closed),
            End::Closed | End::Gone => self.wake_receiver(),
        }
    }

    /// Ends all waits at once, so that a waker that panics delays none of them.
    fn end_sends(&self, end: End) {
        self.end.set(end);
        let slots = match &self.slots {
            Slots::Bounded { gate, .. } => Some(gate.end_waits()),
            Slots::Unbounded => None,
        };
        let closed = self.closed.borrow_mut().wake_all();
        wake_each(slots.into_iter().flatten().chain(closed).chain(self.receiver.take()));
    }

    /// The receiver is dropped. Drops the values that it has not taken.
    pub(super) fn receiver_dropped(&self) {
        let (own, values) = (self.receiver.take(), self.queue.take());
        match self.end.replace(End::Gone) {
            End::Open => self.end_sends(End::Gone),
            End::Closed | End::Gone => {}
        }
        drop((own, values)); // user code, which may panic
    }

    pub(super) fn sender_count(&self) -> usize {
        self.sender_count.get()
    }

    pub(super) fn weak_count(&self) -> usize {
        self.weak_count.get()
    }

    pub(super) fn add_sender(&self) {
        self.sender_count.set(self.sender_count.get() + 1);
    }

    /// Adds a sender, unless the last one was dropped.
    pub(super) fn upgrade(&self) -> bool {
        let is_possible = self.sender_count.get() > 0;
        self.sender_count.set(self.sender_count.get() + usize::from(is_possible));
        is_possible
    }

    pub(super) fn remove_sender(&self) {
        self.sender_count.set(self.sender_count.get() - 1);
        if self.sender_count.get() == 0 {
            self.wake_receiver();
        }
    }

    pub(super) fn add_weak(&self) {
        self.weak_count.set(self.weak_count.get() + 1);
    }

    pub(super) fn remove_weak(&self) {
        self.weak_count.set(self.weak_count.get() - 1);
    }
}

/// The wait of a sender for the end of the receiver.
pub(super) struct Closed<'a, T> {
    chan: &'a Chan<T>,
    waiter_id: WaiterId,
}

impl<T> Closed<'_, T> {
    pub(super) fn new(chan: &Chan<T>) -> Closed<'_, T> {
        Closed { chan, waiter_id: WaiterId::default() }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.chan.is_closed() {
            wait_in(&self.chan.closed, |list| list, &mut self.waiter_id, cx.waker());
        }
        // The clone of the waker is user code, which may have closed the receiver.
        if self.chan.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        let waker = self.chan.closed.borrow_mut().leave(&mut self.waiter_id);
        drop(waker);
    }
}
