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
                waiters
                    .queue
                    .iter_mut()
                    .find(|(candidate, _)| *candidate == number)
            });
            match place {
                Some((_, current)) => Some(std::mem::replace(current, waker)),
                None => {
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
        self.waiters
            .borrow_mut()
            .queue
            .pop_front()
            .map(|(_, waker)| waker)
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
            let place = waiters
                .queue
                .iter()
                .position(|(candidate, _)| *candidate == number);
            place.and_then(|place| waiters.queue.remove(place))
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
