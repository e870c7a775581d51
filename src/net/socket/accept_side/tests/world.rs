//! A model of what the owner of an [`AcceptSide`], the kernel and the program hold.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::enumeration::{task_of, task_wakers};

/// The errno of all errors.
const CODE: i32 = 24;

/// A connection that must not be dropped within a transition.
struct Token {
    id: u32,
    log: Rc<Log>,
}

#[derive(Default)]
struct Log {
    is_in_transition: Cell<bool>,
    dropped: RefCell<Vec<u32>>,
}

impl Drop for Token {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(!self.log.is_in_transition.get(), "{} dropped within a transition", self.id);
            assert!(!self.log.dropped.borrow().contains(&self.id), "{} dropped twice", self.id);
        }
        self.log.dropped.borrow_mut().push(self.id);
    }
}

/// The accept in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Flight {
    is_one: bool,
    is_cancelled: bool,
}

/// A waiter as the model expects it, in the order of places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct ExpectedWaiter {
    waiter: usize,
    is_woken: bool,
    /// An error came while it waited.
    must_fail: bool,
    is_forgotten: bool,
}

/// A listener's state machine, and what its owner, the kernel and the program would hold.
pub(super) struct World {
    side: AcceptSide<Token>,
    waiters: Vec<AcceptWaiter>,
    wakers: Vec<Waker>,
    log: Rc<Log>,
    limit: Option<(usize, Overflow)>,
    arrived_count: u32,
    queued: VecDeque<u32>,
    taken: VecDeque<Token>,
    expected: Expected,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Expected {
    flight: Option<Flight>,
    timer: Option<bool>,
    places: Vec<ExpectedWaiter>,
    queued_count: usize,
    taken_count: usize,
    is_failure_pending: bool,
    is_short: bool,
    is_prepare_due: bool,
    has_ended: bool,
    is_closed: bool,
    is_released: bool,
    is_release_waiting: bool,
    is_given_away: bool,
}

impl World {
    pub(super) fn new(limit: Option<(usize, Overflow)>) -> World {
        World {
            side: AcceptSide::new(QUEUE_MAX, limit.map(|(max, rest)| Limit::new(max, rest))),
            waiters: (0..WAITERS).map(|_| AcceptWaiter::default()).collect(),
            wakers: task_wakers(WAITERS),
            log: Rc::default(),
            limit,
            arrived_count: 0,
            queued: VecDeque::new(),
            taken: VecDeque::new(),
            expected: Expected::default(),
        }
    }

    pub(super) fn is_possible(&self, event: Event) -> bool {
        let Expected { flight, places, .. } = &self.expected;
        let is_over = self.expected.is_closed || self.expected.is_released;
        let place = |waiter| places.iter().find(|place| place.waiter == waiter);
        let is_usable = |waiter| !is_over && place(waiter).is_none_or(|place| !place.is_forgotten);
        if self.expected.is_given_away {
            return false;
        }
        match event {
            Event::Poll(waiter) => is_usable(waiter),
            Event::Drop(waiter) | Event::Forget(waiter) => {
                place(waiter).is_some() && is_usable(waiter)
            }
            Event::Arrive { more } => flight.is_some_and(|flight| {
                let is_late = flight.is_cancelled && self.expected.queued_count > QUEUE_MAX;
                !(is_late || more && flight.is_one)
            }),
            Event::Nothing | Event::Exhausted | Event::Failed => flight.is_some(),
            Event::Expire => self.expected.timer.is_some(),
            Event::Prepare => self.expected.is_prepare_due,
            Event::CloseConnection => !self.taken.is_empty(),
            // No future borrows the listener when it is closed or given away.
            Event::Close => !self.expected.is_closed && places.iter().all(|p| p.is_forgotten),
            Event::Release => !self.expected.is_closed && places.iter().all(|p| p.is_forgotten),
            Event::EndLoop => !self.expected.has_ended,
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Poll(waiter) => self.poll(waiter),
            Event::Drop(waiter) => self.leave(waiter),
            Event::Forget(waiter) => {
                self.waiters[waiter] = AcceptWaiter::default();
                let places = &mut self.expected.places;
                places.retain(|place| place.waiter != waiter || !place.is_woken);
                let place = places.iter_mut().find(|place| place.waiter == waiter);
                if let Some(place) = place {
                    place.is_forgotten = true;
                }
            }
            Event::Arrive { more } => self.arrive(more),
            Event::Nothing => {
                let effects = self.complete(Arrival::Nothing, false);
                self.perform(effects, &[]);
            }
            Event::Exhausted => self.exhaust(),
            Event::Failed => self.fail(),
            Event::Expire => {
                self.expected.timer = None;
                let effects = self.transition(AcceptSide::expired);
                self.perform(effects, &[]);
            }
            Event::Prepare => {
                self.expected.is_prepare_due = false;
                let woken = if self.expected.queued_count > 0 { self.first() } else { vec![] };
                let effects = self.transition(AcceptSide::prepared);
                self.perform(effects, &woken);
            }
            Event::CloseConnection => {
                let token = self.taken.pop_front().expect("possible");
                self.expected.taken_count -= 1;
                self.close_token(token);
            }
            Event::Close => self.close(),
            Event::Release => self.release(),
            Event::EndLoop => self.expected.has_ended = true,
        }
    }

    fn transition<T>(&mut self, run: impl FnOnce(&mut AcceptSide<Token>) -> T) -> T {
        self.log.is_in_transition.set(true);
        let result = run(&mut self.side);
        self.log.is_in_transition.set(false);
        result
    }

    fn complete(&mut self, arrival: Arrival<Token>, more: bool) -> AcceptEffects<Token> {
        if !more {
            self.expected.flight = None;
        }
        let effects = self.transition(|side| side.completed(arrival, more));
        let has_waited = std::mem::take(&mut self.expected.is_release_waiting);
        assert_eq!(effects.releaser.is_some(), has_waited, "the release looks again");
        effects
    }

    fn poll(&mut self, waiter: usize) {
        let at = self.expected.places.iter().position(|place| place.waiter == waiter);
        let must_fail = at.is_some_and(|at| self.expected.places[at].must_fail);
        let mut accept = std::mem::take(&mut self.waiters[waiter]);
        let polled = self.transition(|side| side.poll(&mut accept));
        self.waiters[waiter] = accept;
        if self.expected.queued_count > 0 {
            let AcceptPoll::Connection(token) = polled else { panic!("a connection is queued") };
            assert_eq!(Some(token.id), self.queued.pop_front(), "taken in order");
            self.expected.queued_count -= 1;
            self.leave(waiter);
            if self.limit.is_some() {
                self.taken.push_back(token);
                self.expected.taken_count += 1;
            }
        } else if self.expected.is_failure_pending || must_fail {
            assert!(matches!(polled, AcceptPoll::Failed(CODE)), "an error is returned");
            self.expected.is_failure_pending = false;
            self.leave(waiter);
        } else {
            let AcceptPoll::Pending(start) = polled else { panic!("there is nothing to take") };
            if start.is_some_and(|start| !self.start(start)) {
                return self.leave(waiter);
            }
            let (id, waker) = (&mut self.waiters[waiter].waiter_id, self.wakers[waiter].clone());
            drop(self.side.waiters().wait(id, waker));
            let place =
                ExpectedWaiter { waiter, is_woken: false, must_fail: false, is_forgotten: false };
            match at {
                Some(at) => self.expected.places[at] = place,
                None => self.expected.places.push(place),
            }
        }
    }

    fn leave(&mut self, waiter: usize) {
        let mut accept = std::mem::take(&mut self.waiters[waiter]);
        drop(self.transition(|side| side.leave(&mut accept)));
        self.waiters[waiter] = accept;
        self.expected.places.retain(|place| place.waiter != waiter);
    }

    fn arrive(&mut self, more: bool) {
        let id = self.arrived_count;
        let token = Token { id, log: Rc::clone(&self.log) };
        self.arrived_count += 1;
        self.expected.is_short = false;
        let is_shed = self.limit.is_some_and(|(max, _)| self.open_count() > max);
        let effects = self.complete(Arrival::Connection(token), more);
        if self.expected.is_closed {
            assert!(matches!(effects.refused, Some(Refused::Close(_))));
            return self.perform(effects, &[]);
        }
        if is_shed {
            assert!(matches!(effects.refused, Some(Refused::Reset(_))));
            return self.perform(effects, &[]);
        }
        assert!(effects.refused.is_none());
        self.expected.queued_count += 1;
        self.queued.push_back(id);
        let woken = self.first();
        self.perform(effects, &woken);
    }

    fn exhaust(&mut self) {
        // The owner takes a shortage for nothing if the reactor accepts no request.
        let is_over = self.expected.is_closed || self.expected.is_released;
        let is_ignored = is_over || self.expected.has_ended;
        let arrival =
            if self.expected.has_ended { Arrival::Nothing } else { Arrival::Exhausted(CODE) };
        let effects = self.complete(arrival, false);
        let is_new = !is_ignored && !self.expected.is_short;
        assert_eq!(effects.report, is_new.then_some(CODE), "reported once");
        assert_eq!(effects.start == Some(Start::BackOff), !is_ignored);
        self.expected.is_short |= !is_ignored;
        self.perform(AcceptEffects { report: None, ..effects }, &[]);
    }

    fn fail(&mut self) {
        let woken = self.waiting();
        self.expected.is_failure_pending = true;
        self.expected.places.iter_mut().for_each(|place| place.must_fail = true);
        let effects = self.complete(Arrival::Failed(CODE), false);
        self.perform(effects, &woken);
    }

    fn close(&mut self) {
        self.expected.is_closed = true;
        let queue = self.transition(AcceptSide::close);
        assert_eq!(queue.len(), self.expected.queued_count);
        self.expected.queued_count = 0;
        queue.into_iter().for_each(|token| self.close_token(token));
        let effects = self.transition(AcceptSide::disarm);
        self.perform(effects, &[]);
    }

    fn release(&mut self) {
        self.expected.is_released = true;
        self.transition(AcceptSide::release);
        let effects = self.transition(AcceptSide::disarm);
        self.perform(effects, &[]);
        if self.side.is_idle() {
            let (queue, _waker) = self.transition(AcceptSide::take_rest);
            assert_eq!(queue.len(), self.expected.queued_count, "given away with its queue");
            self.expected.is_given_away = true;
            self.expected.queued_count = 0;
            queue.into_iter().for_each(|token| self.close_token(token));
        } else {
            let waker = Waker::noop().clone();
            drop(self.transition(|side| side.wait_for_release(waker)));
            self.expected.is_release_waiting = true;
        }
    }

    fn close_token(&mut self, token: Token) {
        drop(token);
        if self.limit.is_some() {
            let effects = self.transition(AcceptSide::connection_closed);
            self.perform(effects, &[]);
        }
    }

    fn perform(&mut self, effects: AcceptEffects<Token>, expected_woken: &[usize]) {
        let AcceptEffects { report, refused, woken, releaser, stop, start, prepare } = effects;
        assert_eq!(report, None);
        match refused {
            None => {}
            Some(Refused::Close(token) | Refused::Reset(token)) => self.close_token(token),
        }
        assert_eq!(self.wake(woken), expected_woken);
        drop(releaser);
        match stop {
            None => {}
            Some(Stop::CancelAccept) => {
                let flight = self.expected.flight.as_mut().expect("an accept is in flight");
                assert!(!flight.is_cancelled, "cancelled twice");
                flight.is_cancelled = true;
            }
            Some(Stop::RemoveTimer) => {
                self.expected.timer.take().expect("a timer is set");
            }
        }
        if let Some(start) = start
            && !self.start(start)
        {
            let all = self.waiting();
            let woken = self.transition(AcceptSide::wake_all);
            assert_eq!(self.wake(woken), all);
        }
        if prepare {
            assert!(!self.expected.is_prepare_due, "one request to prepare at a time");
            self.expected.is_prepare_due = true;
        }
    }

    /// Returns whether the reactor has accepted the request.
    fn start(&mut self, start: Start) -> bool {
        let Expected { flight, timer, is_closed, is_released, has_ended, .. } = &self.expected;
        assert!(!is_closed && !is_released, "{start:?} when it is over");
        assert!(flight.is_none() && timer.is_none(), "{start:?} beside {flight:?}, {timer:?}");
        let has_room = self.limit.is_none_or(|(max, _)| self.open_count() < max);
        let is_exact = self.limit.is_some_and(|(_, rest)| rest == Overflow::LeaveInBacklog);
        let expected = match (is_exact, has_room) {
            (false, _) => Start::Accept,
            (true, true) => Start::AcceptOne,
            (true, false) => Start::WaitForRoom,
        };
        assert!(start == expected || start == Start::BackOff, "{start:?}");
        if *has_ended {
            assert_ne!(start, Start::BackOff, "no timer would fire");
            self.transition(AcceptSide::start_failed);
            return false;
        }
        match start {
            Start::Accept | Start::AcceptOne => {
                let flight = Flight { is_one: start == Start::AcceptOne, is_cancelled: false };
                self.expected.flight = Some(flight);
            }
            Start::WaitForRoom => self.expected.timer = Some(true),
            Start::BackOff => self.expected.timer = Some(false),
        }
        true
    }

    /// Marks these waiters as woken.
    fn wake(&mut self, woken: Woken) -> Vec<usize> {
        let woken: Vec<usize> = woken.map(|waker| task_of(&self.wakers, &waker)).collect();
        for &waiter in &woken {
            let mut places = self.expected.places.iter_mut();
            let place = places.find(|place| place.waiter == waiter).expect("it waits");
            assert!(!place.is_woken, "woken twice");
            place.is_woken = true;
        }
        self.expected.places.retain(|place| !(place.is_woken && place.is_forgotten));
        woken
    }

    fn waiting(&self) -> Vec<usize> {
        let waiting = self.expected.places.iter().filter(|place| !place.is_woken);
        waiting.map(|place| place.waiter).collect()
    }

    fn first(&self) -> Vec<usize> {
        self.waiting().into_iter().take(1).collect()
    }

    fn open_count(&self) -> usize {
        self.arrived_count as usize - self.log.dropped.borrow().len()
    }

    pub(super) fn check(&self) {
        let Expected { flight, timer, queued_count, .. } = self.expected;
        let Expected { is_closed, is_released, is_prepare_due, .. } = self.expected;
        assert_eq!(self.side.queue.len(), queued_count, "no connection is lost");
        assert_eq!(self.side.is_idle(), flight.is_none() && timer.is_none());
        let is_cancelled = flight.is_some_and(|flight| flight.is_cancelled);
        assert_eq!(self.side.is_cancelling(), is_cancelled);
        assert_eq!(self.side.is_prepare_due, is_prepare_due);
        let is_waiting = !self.waiting().is_empty();
        assert_eq!(self.side.waiters.is_waiting(), is_waiting);
        if is_waiting && !is_closed && !is_released {
            let is_pending = flight.is_some() || timer.is_some() || is_prepare_due;
            assert!(is_pending, "a waiter that nothing wakes");
            assert!(queued_count == 0 || is_prepare_due, "a connection that wakes no other");
        }
        if flight.is_some() && queued_count >= QUEUE_MAX {
            assert!(is_cancelled, "a full queue ends the accept");
        }
        if is_closed || is_released {
            assert!(timer.is_none() && flight.is_none_or(|flight| flight.is_cancelled));
        }
        if let Some((max, rest)) = self.limit {
            let open_count = self.side.limit.as_ref().expect("a limit").open_count;
            assert_eq!(open_count, self.open_count());
            let pending = usize::from(flight.is_some() && rest == Overflow::LeaveInBacklog);
            assert!(open_count + pending <= max, "{open_count} open, {pending} in flight");
            let has_room = timer == Some(true) && open_count < max;
            assert!(!has_room || is_prepare_due, "room that nothing notices");
        }
    }

    /// What later events depend on.
    pub(super) fn into_key(self) -> impl Ord {
        let AcceptSide { state, is_short, failure, .. } = self.side;
        (state, is_short, failure.is_pending, self.expected)
    }
}
