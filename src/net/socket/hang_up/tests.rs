//! Every order of events of the poll for the peer's end, without a ring.

use super::*;
use crate::enumeration::{task_of, task_wakers, visit_all};

const WAITERS: usize = 3;
const CODE: i32 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// A `closed()` is polled or, after the end, a wait for the end of the poll.
    Poll(usize),
    Drop(usize),
    /// The future is leaked: it waits, and is never polled or dropped.
    Forget(usize),
    Complete(Polled),
    End,
    /// From now on the reactor refuses requests.
    EndLoop,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Flight {
    is_cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Wait {
    #[default]
    No,
    Pending,
    Woken,
    Forgotten,
    /// Forgotten, and woken.
    Gone,
}

/// What the machine must have seen and done.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Expected {
    flight: Option<Flight>,
    waits: [Wait; WAITERS],
    has_happened: bool,
    /// The poll has failed, and no waiter has returned it.
    has_failed: bool,
    is_over: bool,
    has_loop_ended: bool,
}

struct World {
    hang_up: HangUp,
    waiter_ids: [WaiterId; WAITERS],
    wakers: Vec<Waker>,
    expected: Expected,
}

impl World {
    fn new() -> World {
        World {
            hang_up: HangUp::default(),
            waiter_ids: Default::default(),
            wakers: task_wakers(WAITERS),
            expected: Expected::default(),
        }
    }

    fn is_possible(&self, event: Event) -> bool {
        let Expected { flight, waits, has_loop_ended, .. } = &self.expected;
        let is_leaked = |wait: Wait| matches!(wait, Wait::Forgotten | Wait::Gone);
        match event {
            Event::Poll(waiter) => !is_leaked(waits[waiter]),
            Event::Drop(waiter) => matches!(waits[waiter], Wait::Pending | Wait::Woken),
            Event::Forget(waiter) => {
                waits[waiter] == Wait::Pending && !waits.iter().any(|&wait| is_leaked(wait))
            }
            Event::Complete(_) => flight.is_some(),
            // A future borrows the socket, which closes when none is left but leaked ones.
            Event::End => waits.iter().all(|&wait| wait == Wait::No || is_leaked(wait)),
            Event::EndLoop => !has_loop_ended,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Poll(waiter) if self.expected.is_over => self.poll_ended(waiter),
            Event::Poll(waiter) => self.poll(waiter),
            Event::Drop(waiter) => self.leave(waiter),
            Event::Forget(waiter) => {
                self.waiter_ids[waiter] = WaiterId::default();
                self.expected.waits[waiter] = Wait::Forgotten;
            }
            Event::Complete(polled) => self.complete(polled),
            Event::End => {
                self.expected.is_over = true;
                let flight = self.expected.flight.as_mut().filter(|flight| !flight.is_cancelled);
                let cancel = flight.map(|flight| {
                    flight.is_cancelled = true;
                    key()
                });
                assert_eq!(self.hang_up.end(), cancel);
            }
            Event::EndLoop => self.expected.has_loop_ended = true,
        }
    }

    fn poll(&mut self, waiter: usize) {
        let found = self.hang_up.poll();
        let must_arm = match (self.expected.has_happened, self.expected.has_failed) {
            (true, _) => {
                assert_eq!(found, HangUpPoll::Happened);
                return self.leave(waiter);
            }
            (_, true) => {
                assert_eq!(found, HangUpPoll::Failed(CODE));
                self.expected.has_failed = false;
                return self.leave(waiter);
            }
            (false, false) => self.expected.flight.is_none(),
        };
        assert_eq!(found, HangUpPoll::Wait { must_arm });
        if must_arm && !self.arm() {
            return self.leave(waiter);
        }
        self.wait(waiter);
    }

    fn poll_ended(&mut self, waiter: usize) {
        assert_eq!(self.hang_up.is_in_flight(), self.expected.flight.is_some());
        match self.expected.flight {
            Some(_) => self.wait(waiter),
            None => self.leave(waiter),
        }
    }

    fn wait(&mut self, waiter: usize) {
        let (id, waker) = (&mut self.waiter_ids[waiter], self.wakers[waiter].clone());
        drop(self.hang_up.waiters().wait(id, waker));
        self.expected.waits[waiter] = Wait::Pending;
    }

    fn leave(&mut self, waiter: usize) {
        drop(self.hang_up.leave(&mut self.waiter_ids[waiter]));
        self.waiter_ids[waiter] = WaiterId::default();
        self.expected.waits[waiter] = Wait::No;
    }

    fn complete(&mut self, polled: Polled) {
        self.expected.flight = None;
        let has_result = match polled {
            Polled::Ready => {
                self.expected.has_happened = true;
                true
            }
            Polled::Failed(_) => {
                self.expected.has_failed = true;
                true
            }
            Polled::Nothing | Polled::SpuriousEvents => false,
        };
        let must_arm = !has_result && !self.expected.is_over && self.is_waiting();
        let effects = self.hang_up.completed(polled);
        assert_eq!(effects.must_arm, must_arm);
        self.wake(effects.woken, !must_arm);
        if must_arm && !self.arm() {
            let woken = self.hang_up.wake_all();
            self.wake(woken, true);
        }
    }

    fn wake(&mut self, woken: Woken, is_all: bool) {
        let woken: Vec<usize> = woken.map(|waker| task_of(&self.wakers, &waker)).collect();
        for waiter in 0..WAITERS {
            let count = woken.iter().filter(|&&woken| woken == waiter).count();
            let wait = &mut self.expected.waits[waiter];
            let is_waiting = matches!(wait, Wait::Pending | Wait::Forgotten);
            assert_eq!(count, usize::from(is_waiting && is_all), "{waiter} is {wait:?}");
            match wait {
                Wait::Pending if is_all => *wait = Wait::Woken,
                Wait::Forgotten if is_all => *wait = Wait::Gone,
                _ => {}
            }
        }
    }

    /// Returns whether the reactor has accepted the request.
    fn arm(&mut self) -> bool {
        assert!(!self.expected.is_over, "a poll after the end");
        assert_eq!(self.expected.flight, None, "a second poll");
        let is_accepted = !self.expected.has_loop_ended;
        self.hang_up.armed(is_accepted.then(key));
        self.expected.flight = is_accepted.then_some(Flight { is_cancelled: false });
        is_accepted
    }

    fn is_waiting(&self) -> bool {
        let mut waits = self.expected.waits.iter();
        waits.any(|wait| matches!(wait, Wait::Pending | Wait::Forgotten))
    }

    fn check(&self) {
        let Expected { flight, has_happened, has_failed, .. } = self.expected;
        let is_waiting = self.is_waiting();
        assert_eq!(self.hang_up.waiters.is_waiting(), is_waiting);
        assert!(!is_waiting || flight.is_some(), "a waiter that nothing wakes");
        let state = match flight {
            Some(Flight { is_cancelled }) => {
                HangUpState::InFlight { key: (!is_cancelled).then(key) }
            }
            None if has_happened => HangUpState::Happened,
            None if has_failed => HangUpState::Failed(CODE),
            None => HangUpState::Idle,
        };
        assert_eq!(self.hang_up.state, state);
    }
}

/// The key of every poll.
fn key() -> Key {
    Key::new(1, 1, 1)
}

/// Goal: the peer's end wakes every waiter and is returned to each wait from then on. An error
/// wakes every waiter and is returned once. While a task waits, one poll is in flight. The end of
/// the socket cancels it once, and it is not armed again.
///
/// Method: every order of polls, drops, a leaked future, completions, the end of the socket and the
/// end of the loop, for three waiters.
///
/// Kills: an end that is not remembered; an error that is returned twice; a completion that wakes
/// nothing; a second poll beside one in flight; an interrupted poll that is not armed again while a
/// task waits, or that is after the end; a cancel that is requested twice; a refused poll that
/// leaves the state in flight.
#[test]
fn every_order_of_events_reports_the_end_to_each_waiter() {
    let mut events = vec![Event::Forget(0), Event::End, Event::EndLoop];
    events.extend((0..WAITERS).flat_map(|waiter| [Event::Poll(waiter), Event::Drop(waiter)]));
    events.extend(
        [Polled::Ready, Polled::SpuriousEvents, Polled::Nothing, Polled::Failed(CODE)]
            .map(Event::Complete),
    );
    let visited = visit_all(&events, |path| {
        let mut world = World::new();
        for &event in path {
            if !world.is_possible(event) {
                return None;
            }
            world.apply(event);
            world.check();
        }
        // `check` has compared the state of the machine with what is expected.
        Some((world.hang_up.is_over, world.expected))
    });
    assert!(visited.states > 150, "{visited:?}");
}
