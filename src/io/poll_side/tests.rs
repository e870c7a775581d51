//! Every order of events of one direction, without a ring.

use super::*;
use crate::enumeration::{task_of, task_wakers, visit_all};

const WAITERS: usize = 3;
const CODE: i32 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Poll(usize),
    Drop(usize),
    /// The future is forgotten: it waits, and is never polled or dropped.
    Forget(usize),
    Complete {
        polled: Polled,
        more: bool,
    },
    Close,
    /// From now on the reactor refuses requests.
    EndLoop,
}

/// The poll in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Flight {
    is_for_changes: bool,
    is_cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Wait {
    #[default]
    No,
    Waiting,
    /// Woken because the loop refuses polls.
    Woken,
    /// Woken by a result.
    Answered,
    Forgotten,
    /// Forgotten, and woken.
    Gone,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Expected {
    flight: Option<Flight>,
    waits: [Wait; WAITERS],
    failure: Option<i32>,
    is_closed: bool,
    has_ended: bool,
}

struct World {
    side: PollSide,
    waiters: [PollWaiter; WAITERS],
    wakers: Vec<Waker>,
    expected: Expected,
}

impl World {
    fn new() -> World {
        World {
            side: PollSide::default(),
            waiters: Default::default(),
            wakers: task_wakers(WAITERS),
            expected: Expected::default(),
        }
    }

    fn is_possible(&self, event: Event) -> bool {
        let Expected { flight, waits, failure: _, is_closed, has_ended } = &self.expected;
        let is_forgotten = |wait: Wait| matches!(wait, Wait::Forgotten | Wait::Gone);
        match event {
            Event::Poll(waiter) => !is_closed && !is_forgotten(waits[waiter]),
            Event::Drop(waiter) => {
                !matches!(waits[waiter], Wait::No) && !is_forgotten(waits[waiter])
            }
            Event::Forget(waiter) => {
                waits[waiter] == Wait::Waiting && !waits.contains(&Wait::Forgotten)
            }
            Event::Complete { polled, more } => flight.is_some_and(|flight| {
                let goes_on = matches!(polled, Polled::Ready | Polled::SpuriousEvents);
                !more || goes_on && flight.is_for_changes
            }),
            Event::Close => {
                !is_closed && waits.iter().all(|&wait| wait == Wait::No || is_forgotten(wait))
            }
            Event::EndLoop => !has_ended,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Poll(waiter) => self.poll(waiter),
            Event::Drop(waiter) => self.leave(waiter),
            Event::Forget(waiter) => {
                self.waiters[waiter] = PollWaiter::default();
                self.expected.waits[waiter] = Wait::Forgotten;
            }
            Event::Complete { polled, more } => self.complete(polled, more),
            Event::Close => {
                self.expected.is_closed = true;
                let effects = self.side.close();
                assert_eq!(effects.start, None);
                self.perform(effects, false);
            }
            Event::EndLoop => self.expected.has_ended = true,
        }
    }

    fn poll(&mut self, waiter: usize) {
        let polled = self.side.poll(&mut self.waiters[waiter]);
        if self.expected.waits[waiter] == Wait::Answered {
            let failure = self.expected.failure;
            assert_eq!(polled, failure.map_or(WaitPoll::Ready, WaitPoll::Failed));
            return self.leave(waiter);
        }
        let WaitPoll::Pending(start) = polled else { panic!("{polled:?} without a result") };
        if let Some(start) = start {
            assert_eq!(start, Start::Once);
            if !self.start(start) {
                return self.leave(waiter);
            }
        }
        let (id, waker) = (&mut self.waiters[waiter].waiter_id, self.wakers[waiter].clone());
        drop(self.side.waiters().wait(id, waker));
        self.expected.waits[waiter] = Wait::Waiting;
    }

    fn leave(&mut self, waiter: usize) {
        drop(self.side.leave(&mut self.waiters[waiter]));
        self.waiters[waiter] = PollWaiter::default();
        self.expected.waits[waiter] = Wait::No;
    }

    fn complete(&mut self, polled: Polled, more: bool) {
        if !more {
            self.expected.flight = None;
        }
        let failure = match polled {
            Polled::Ready => Some(None),
            Polled::Failed(code) => Some(Some(code)),
            Polled::SpuriousEvents | Polled::Nothing => None,
        };
        if let Some(failure) = failure {
            self.expected.failure = failure;
            for wait in &mut self.expected.waits {
                // A woken waiter that was not polled yet gets the later result.
                *wait = if *wait == Wait::Woken { Wait::Answered } else { *wait };
            }
        }
        let effects = self.side.completed(polled, more);
        if let Some(start) = effects.start {
            let is_for_changes = polled == Polled::SpuriousEvents;
            assert_eq!(start == Start::Changes, is_for_changes, "it would spin, or wait too long");
            assert!(self.is_waiting(), "a poll that no task waits for");
        }
        self.perform(effects, failure.is_some());
        let is_cancelled = self.expected.flight.is_none_or(|flight| flight.is_cancelled);
        assert!(failure.is_none() || is_cancelled, "a poll that goes on after its result");
    }

    /// Performs what a transition returned. With a result every waiter is woken, else none.
    fn perform(&mut self, effects: PollEffects, is_result: bool) {
        let PollEffects { woken, cancel, start } = effects;
        self.wake(woken, is_result, Wait::Answered);
        if cancel {
            let flight = self.expected.flight.as_mut().expect("a poll is in flight");
            assert!(!flight.is_cancelled, "cancelled twice");
            flight.is_cancelled = true;
        }
        if let Some(start) = start
            && !self.start(start)
        {
            let woken = self.side.wake_all();
            self.wake(woken, true, Wait::Woken);
        }
    }

    fn wake(&mut self, woken: Woken, is_all: bool, now: Wait) {
        let woken: Vec<usize> = woken.map(|waker| task_of(&self.wakers, &waker)).collect();
        for waiter in 0..WAITERS {
            let count = woken.iter().filter(|&&woken| woken == waiter).count();
            let wait = &mut self.expected.waits[waiter];
            let is_waiting = matches!(wait, Wait::Waiting | Wait::Forgotten);
            assert_eq!(count, usize::from(is_waiting && is_all), "{waiter} is {wait:?}");
            match wait {
                Wait::Waiting if is_all => *wait = now,
                Wait::Forgotten if is_all => *wait = Wait::Gone,
                _ => {}
            }
        }
    }

    /// Returns whether the reactor has accepted the request.
    fn start(&mut self, start: Start) -> bool {
        assert!(!self.expected.is_closed, "{start:?} after the close");
        assert_eq!(self.expected.flight, None, "{start:?} beside a poll");
        if self.expected.has_ended {
            self.side.start_failed();
            return false;
        }
        let is_for_changes = start == Start::Changes;
        self.expected.flight = Some(Flight { is_for_changes, is_cancelled: false });
        true
    }

    fn is_waiting(&self) -> bool {
        let mut waits = self.expected.waits.iter();
        waits.any(|wait| matches!(wait, Wait::Waiting | Wait::Forgotten))
    }

    fn check(&self) {
        let Expected { flight, is_closed, .. } = &self.expected;
        let is_waiting = self.is_waiting();
        assert_eq!(self.side.waiters.is_waiting(), is_waiting);
        assert!(!is_waiting || *is_closed || flight.is_some(), "a waiter that nothing wakes");
        assert!(!is_closed || flight.is_none_or(|flight| flight.is_cancelled), "a poll that stays");
        let state = match flight {
            None => PollState::Idle,
            Some(Flight { is_cancelled: false, .. }) => PollState::InFlight,
            Some(Flight { is_cancelled: true, .. }) => PollState::Cancelling,
        };
        assert_eq!(self.side.state, state);
    }
}

/// Goal: a result wakes every waiter once and is returned to each that waited for it, and to none
/// that began later. While a task waits, a poll is in flight. Spurious events are followed by a
/// poll for changes, which ends with its first result. A closed watch polls no more.
///
/// Method: every order of polls, drops, a forgotten future, completions, the close and the end of
/// the loop, for three waiters.
///
/// Kills: a result that is kept for the next waiter; a result that wakes one waiter; an ordinary
/// poll after spurious events, or a poll for changes after others; a poll for changes that stays
/// after its result; a cancel that is requested twice; a poll after the close; a refused poll that
/// wakes no waiter.
#[test]
fn every_order_of_events_answers_each_waiter() {
    let mut events = vec![Event::Forget(0), Event::Close, Event::EndLoop];
    events.extend((0..WAITERS).flat_map(|waiter| [Event::Poll(waiter), Event::Drop(waiter)]));
    for polled in [Polled::Ready, Polled::SpuriousEvents, Polled::Nothing, Polled::Failed(CODE)] {
        events.extend([true, false].map(|more| Event::Complete { polled, more }));
    }
    let visited = visit_all(&events, |path| {
        let mut world = World::new();
        for &event in path {
            if !world.is_possible(event) {
                return None;
            }
            world.apply(event);
            world.check();
        }
        Some((world.side.state, world.side.failure, world.expected))
    });
    assert!(visited.states > 500, "{visited:?}");
}
