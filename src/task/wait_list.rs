//! Tasks that wait for the same thing, first come, first served.
//!
//! The rule that older loops got wrong: a waiter that was woken and then dropped must pass its wake
//! on, or the thing it was woken for waits for ever while others sleep.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::Waker;

#[derive(Default)]
pub(crate) struct WaitList {
    waiters: RefCell<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    /// Waiters that were woken and have not come back.
    woken_count: usize,
}

/// One waiter's place. Starts without one.
#[derive(Default, Debug)]
pub(crate) struct Ticket(Option<u64>);

impl WaitList {
    /// Takes a place, or keeps the one it has, with this waker.
    pub(crate) fn wait(&self, ticket: &mut Ticket, waker: &Waker) {
        let waker = waker.clone(); // cloning and dropping are user code: not under the borrow
        let former = {
            let mut waiters = self.waiters.borrow_mut();
            let place = ticket.0.and_then(|number| {
                waiters.queue.iter_mut().find(|(candidate, _)| *candidate == number)
            });
            match place {
                Some((_, current)) => Some(std::mem::replace(current, waker)),
                None => {
                    // Woken, and nothing was there: it waits again.
                    waiters.woken_count -= usize::from(ticket.0.is_some());
                    let number = waiters.next_ticket;
                    waiters.next_ticket += 1;
                    waiters.queue.push_back((number, waker));
                    ticket.0 = Some(number);
                    None
                }
            }
        };
        drop(former);
    }

    /// Takes the first waiter's waker, for the caller to wake when nothing is borrowed.
    pub(crate) fn next(&self) -> Option<Waker> {
        let mut waiters = self.waiters.borrow_mut();
        let (_, waker) = waiters.queue.pop_front()?;
        waiters.woken_count += 1;
        Some(waker)
    }

    /// How many things belong to others: to waiters that were woken and have not come back. None,
    /// for one of them.
    pub(crate) fn woken_before(&self, ticket: &Ticket) -> usize {
        let waiters = self.waiters.borrow();
        let is_waiting = |number| waiters.queue.iter().any(|&(candidate, _)| candidate == number);
        match ticket.0 {
            Some(number) if !is_waiting(number) => 0, // woken itself
            _ => waiters.woken_count,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiters.borrow().queue.is_empty()
    }

    /// Gives the place up. Returns whether the waiter had been woken, in which case the caller
    /// passes the wake on if there is still something to wake for.
    #[must_use]
    pub(crate) fn leave(&self, ticket: &mut Ticket) -> Left {
        let Some(number) = ticket.0.take() else {
            return Left::NeverWaited;
        };
        let removed = {
            let mut waiters = self.waiters.borrow_mut();
            let place = waiters.queue.iter().position(|(candidate, _)| *candidate == number);
            let removed = place.and_then(|place| waiters.queue.remove(place));
            waiters.woken_count -= usize::from(removed.is_none());
            removed
        };
        match removed {
            Some(_waker) => Left::StillWaiting,
            None => Left::AlreadyWoken,
        }
    }
}

/// How a waiter left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    NeverWaited,
    StillWaiting,
    AlreadyWoken,
}
