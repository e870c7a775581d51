//! Every interleaving of a few waiters of a primitive that is built on a gate.
//!
//! The primitive is the real one. A waiter of the enumeration is a task of [`MiniExecutor`] with
//! one future of the primitive, which may be polled, parked (it stays alive and nothing polls it)
//! or dropped, and which becomes a guard. A model beside it knows which waiters are polled
//! whenever they were woken. These must be served in their order, whatever the others do.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::mini_executor::{Entry, MiniExecutor};
use crate::enumeration::{Visited, visit_all};
use crate::sync::gate::Gate;
use crate::sync::permits::Snapshot;

/// More entries than run in any drained path. Beyond that the rechecks do not end.
const ENTRIES_MAX: usize = 1000;

/// A primitive with waiters that need a number of permits each.
pub(in crate::sync) trait Subject: 'static {
    type Guard: 'static;

    fn gate(&self) -> &Rc<Gate>;

    /// The future of waiter `index`.
    fn wait(self: Rc<Self>, index: usize) -> impl Future<Output = Self::Guard> + 'static;

    /// Tries to take one permit, and drops it.
    fn attempt(&self) -> bool;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// Polls a future, also one that was not woken or that was parked.
    Poll(usize),
    /// Drops a future or a guard.
    Drop(usize),
    /// Drops it within the poll of a task that waits itself.
    DropInWaitingTask(usize),
    /// From now on nothing polls the future, until `Poll`. Paths without a later `Poll` or `Drop`
    /// of it are those of a future that is leaked.
    Park(usize),
    Attempt,
    /// Runs the first entry of the ready queue.
    Run,
}

struct Waiter<Guard> {
    state: State<Guard>,
    need: usize,
    /// The number of its place.
    number: Option<u64>,
    /// Nothing polls it, so others may overtake it.
    is_parked: bool,
}

enum State<Guard> {
    Absent,
    Pending(Pin<Box<dyn Future<Output = Guard>>>),
    Holding(#[allow(dead_code, reason = "held for its drop")] Guard),
}

/// Whether a waiter is absent, pending or holding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Absent,
    Pending,
    Holding,
}

struct Rig<S: Subject> {
    waiters: Vec<Waiter<S::Guard>>, // dropped before the loop
    subject: Rc<S>,
    permits_count: usize,
    executor: MiniExecutor,
}

/// Everything that later events depend on. Waiters are labelled by their places, so that paths that
/// differ in names only are continued once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::sync) struct Key {
    permits: Snapshot,
    waiters: Vec<(Kind, usize, bool)>,
    entries: Vec<Entry>,
}

/// Visits all interleavings of waiters that need `needs`, on a primitive with `permits_count`
/// permits.
pub(in crate::sync) fn visit<S: Subject>(
    needs: &[usize],
    permits_count: usize,
    subject: impl Fn() -> S,
) -> Visited {
    let mut events = vec![Event::Run, Event::Attempt];
    for index in 0..needs.len() {
        events.extend([Event::Poll(index), Event::Drop(index), Event::DropInWaitingTask(index)]);
        events.push(Event::Park(index));
    }
    let checked = RefCell::new(BTreeSet::new());
    let visited = visit_all(&events, |path| {
        let mut rig = Rig::new(needs, permits_count, subject());
        for &event in path {
            if !rig.apply(event) {
                return None;
            }
        }
        let key = rig.key();
        if checked.borrow_mut().insert(key.clone()) {
            rig.check_progress();
        }
        Some(key)
    });
    report::<S>(&format!("requests {needs:?} for {permits_count}"), visited);
    visited
}

/// Prints the size of an enumeration of `T`, if it is a large one.
pub(in crate::sync) fn report<T>(what: &str, visited: Visited) {
    if is_exhaustive() {
        eprintln!("{}, {what}: {visited:?}", std::any::type_name::<T>());
    }
}

/// Whether the environment asks for the large enumerations, which take minutes.
pub(in crate::sync) fn is_exhaustive() -> bool {
    std::env::var_os("RINGLOOP_TEST_EXHAUSTIVE").is_some()
}

impl<S: Subject> Rig<S> {
    fn new(needs: &[usize], permits_count: usize, subject: S) -> Rig<S> {
        let waiter = |&need| Waiter { state: State::Absent, need, number: None, is_parked: false };
        Rig {
            waiters: needs.iter().map(waiter).collect(),
            subject: Rc::new(subject),
            permits_count,
            executor: MiniExecutor::new(needs.len()),
        }
    }

    /// Applies an event. Returns false if it cannot occur.
    fn apply(&mut self, event: Event) -> bool {
        let kind = |index: usize| self.waiters[index].kind();
        let is_possible = match event {
            // Of absent waiters with equal needs, the first stands for all.
            Event::Poll(index) => match kind(index) {
                Kind::Absent => {
                    let need = self.waiters[index].need;
                    let is_same = |other: &Waiter<_>| other.record() == (Kind::Absent, need, false);
                    self.waiters.iter().position(is_same) == Some(index)
                }
                kind => kind == Kind::Pending,
            },
            Event::Drop(index) => matches!(kind(index), Kind::Pending | Kind::Holding),
            Event::DropInWaitingTask(index) => kind(index) == Kind::Holding,
            Event::Park(index) => kind(index) == Kind::Pending && !self.waiters[index].is_parked,
            Event::Attempt | Event::Run => true,
        };
        if !is_possible {
            return false;
        }
        match event {
            Event::Poll(index) => self.poll(index),
            Event::Drop(index) => drop(self.waiters[index].take()),
            Event::DropInWaitingTask(index) => {
                let guard = self.waiters[index].take();
                self.executor.in_a_waiting_task(|| drop(guard));
            }
            Event::Park(index) => {
                self.waiters[index].is_parked = true;
            }
            Event::Attempt => self.attempt(),
            Event::Run => return self.run_next(),
        }
        self.check_permits();
        true
    }

    /// Runs one entry of the queue. A woken waiter is polled, unless it is parked or gone.
    fn run_next(&mut self) -> bool {
        let Some(entry) = self.executor.run_next() else { return false };
        if let Entry::Task(index) = entry
            && self.waiters[index].kind() == Kind::Pending
            && !self.waiters[index].is_parked
        {
            self.poll(index);
        }
        self.check_permits();
        true
    }

    fn poll(&mut self, index: usize) {
        let waiter = &mut self.waiters[index];
        if let State::Absent = waiter.state {
            let future = Rc::clone(&self.subject).wait(index);
            waiter.state = State::Pending(Box::pin(future));
        }
        let State::Pending(future) = &mut waiter.state else { unreachable!() };
        let available = self.subject.gate().available();
        let waker = self.executor.waker(index);
        let outcome = future.as_mut().poll(&mut Context::from_waker(&waker));
        waiter.is_parked = false;
        match outcome {
            Poll::Pending => {
                let newest = self.subject.gate().newest_number();
                waiter.number = waiter.number.or(newest);
            }
            Poll::Ready(guard) => {
                let (number, need) = (waiter.number.take(), waiter.need);
                waiter.state = State::Holding(guard);
                self.check_order(number, need, available);
            }
        }
    }

    /// Checks that a poll has overtaken no waiter: what it left suffices for those before it.
    fn check_order(&self, number: Option<u64>, need: usize, available: usize) {
        let before = self.waiters.iter().filter(|waiter| waiter.is_served_before(number));
        let needed_before: usize = before.map(|waiter| waiter.need).sum();
        assert!(needed_before + need <= available, "overtook {needed_before} of {available}");
    }

    fn attempt(&mut self) {
        let available = self.subject.gate().available();
        if self.subject.attempt() {
            self.check_order(None, 1, available);
        }
    }

    /// Checks that no permit was lost, and that none has two owners.
    fn check_permits(&self) {
        let holding = self.waiters.iter().filter(|waiter| waiter.kind() == Kind::Holding);
        let held: usize = holding.map(|waiter| waiter.need).sum();
        assert_eq!(held + self.subject.gate().available(), self.permits_count);
    }

    /// Runs the queue until it is empty, and checks that no waiter waits for permits that are free.
    fn check_progress(&mut self) {
        let is_large_and_parked = |waiter: &Waiter<_>| waiter.need > 1 && waiter.is_parked;
        if self.waiters.iter().any(is_large_and_parked) {
            // A large request in front that was parked after the last release or arrival blocks
            // until the next one.
            self.subject.gate().release(0);
        }
        self.drain();
        let served = self.waiters.iter().filter(|waiter| waiter.is_served_before(None));
        let mut served: Vec<_> = served.map(|waiter| (waiter.number, waiter.need)).collect();
        served.sort();
        if let Some((_, need)) = served.first() {
            assert!(*need > self.subject.gate().available(), "the first waiter was not woken");
        } else if self.subject.gate().available() > 0 && !self.subject.attempt() {
            self.drain();
            assert!(self.subject.attempt(), "blocked by waiters that nothing polls");
        }
    }

    fn drain(&mut self) {
        for _ in 0..ENTRIES_MAX {
            if !self.run_next() {
                return;
            }
        }
        panic!("{ENTRIES_MAX} entries have run, and the queue is not empty");
    }

    fn key(&self) -> Key {
        let mut order: Vec<usize> = (0..self.waiters.len()).collect();
        let entries = self.executor.entries();
        order.sort_by_key(|&index| {
            let waiter = &self.waiters[index];
            let in_queue = entries.iter().position(|entry| *entry == Entry::Task(index));
            (waiter.number.unwrap_or(u64::MAX), waiter.record(), in_queue)
        });
        let label = |index: usize| order.iter().position(|other| *other == index).expect("known");
        let label_of_number = |number: u64| {
            let is_numbered = |waiter: &Waiter<_>| waiter.number == Some(number);
            label(self.waiters.iter().position(is_numbered).expect("a known number")) as u64
        };
        let relabelled = |entry: &Entry| match *entry {
            Entry::Task(index) => Entry::Task(label(index)),
            Entry::Recheck => Entry::Recheck,
        };
        Key {
            permits: self.subject.gate().snapshot(label_of_number),
            waiters: order.iter().map(|&index| self.waiters[index].record()).collect(),
            entries: entries.iter().map(relabelled).collect(),
        }
    }
}

impl<Guard> Waiter<Guard> {
    fn kind(&self) -> Kind {
        match self.state {
            State::Absent => Kind::Absent,
            State::Pending(_) => Kind::Pending,
            State::Holding(_) => Kind::Holding,
        }
    }

    fn record(&self) -> (Kind, usize, bool) {
        (self.kind(), self.need, self.is_parked)
    }

    /// Whether it waits before the place `number` (`None`: the end), and is polled when woken.
    fn is_served_before(&self, number: Option<u64>) -> bool {
        let is_before = number.is_none_or(|number| self.number.is_some_and(|own| own < number));
        self.kind() == Kind::Pending && !self.is_parked && is_before
    }

    fn take(&mut self) -> State<Guard> {
        self.number = None;
        self.is_parked = false;
        std::mem::replace(&mut self.state, State::Absent)
    }
}
