//! Every interleaving of a few waiters of a primitive, against a model of the primitive.
//!
//! The primitive is the real one. A waiter is a task of [`MiniExecutor`] with one future, which may
//! be created, polled, dropped, or parked: it stays alive and nothing polls it. Paths in which it
//! stays parked are those of a future that is forgotten. The model knows what each poll must
//! return. [`interleavings`](super::interleavings) has the primitives that lend permits.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::interleavings::report;
use super::mini_executor::{Entry, MiniExecutor};
use crate::enumeration::{Visited, visit_all};

/// More entries than run in any drained path. Beyond that the rechecks do not end.
const ENTRIES_MAX: usize = 1000;

/// The number of lists on which a waiter may be.
const LISTS: usize = 2;

pub(in crate::sync) type Wait<T> = Pin<Box<dyn Future<Output = T>>>;

/// The numbers of the waiters on one list.
#[derive(Default)]
pub(in crate::sync) struct Numbers {
    /// The number of the waiter that was the last one to begin to wait.
    pub(in crate::sync) newest: Option<u64>,
    /// The waiters that have not been woken, in order.
    pub(in crate::sync) waiting: Vec<u64>,
}

/// What the rig knows of a waiter.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::sync) struct Facts {
    /// It has a future.
    pub(in crate::sync) is_present: bool,
    /// Nothing polls it, so others may overtake it.
    pub(in crate::sync) is_parked: bool,
    /// Its numbers on the lists, also after it was woken, until a poll takes it off.
    pub(in crate::sync) places: [Option<u64>; LISTS],
}

/// What a notification of all is to a waiter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(in crate::sync) enum Dismissal {
    /// There was none since it began to wait.
    #[default]
    None,
    /// Its wait ends, and it has no claim to a notification.
    Dismissed,
    /// It had been woken for a notification before. It takes it if it is polled before the recheck
    /// passes over it.
    WhileAwake,
}

/// A primitive and what it must do.
pub(in crate::sync) trait Model: 'static {
    /// An operation of the primitive that is no wait.
    type Step: Copy + Debug;
    type Output: 'static;
    /// What later events depend on, of one waiter.
    type WaiterKey: Ord + Copy + Debug;
    /// What later events depend on, of the primitive and the model.
    type Key: Ord + Clone + Debug;

    /// The future of a waiter.
    fn wait(&mut self, index: usize) -> Wait<Self::Output>;

    /// Checks the outcome of a poll. `before` is what the waiter was.
    fn polled(&mut self, index: usize, before: Facts, facts: &[Facts], outcome: Poll<Self::Output>);

    /// Follows the drop of a future. `before` is what the waiter was.
    fn dropped(&mut self, index: usize, before: Facts, facts: &[Facts]);

    /// Takes a step, if it is possible.
    fn step(&mut self, step: Self::Step, facts: &[Facts]) -> Stepped;

    /// Follows an entry of the ready queue that has run, maybe a recheck.
    fn turned(&mut self, _facts: &[Facts]) {}

    /// The lists of the primitive.
    fn numbers(&self) -> [Numbers; LISTS];

    /// Checks the primitive after an event.
    fn check(&self, facts: &[Facts]);

    /// Whether a waiter must return when it is polled.
    fn is_due(&self, index: usize, facts: &[Facts]) -> bool;

    /// A wait that must end once the queue has run, while no waiter is left that is polled.
    fn newcomer(&mut self) -> Option<Wait<Self::Output>> {
        None
    }

    fn waiter_key(&self, index: usize) -> Self::WaiterKey;

    /// Whether the place of a waiter has no effect any more.
    fn is_placeless(&self, index: usize) -> bool;

    /// The state of the primitive. `label` replaces the number on a list.
    fn key(&self, label: &dyn Fn(usize, u64) -> u64) -> Self::Key;
}

/// What a step has done.
pub(in crate::sync) enum Stepped {
    Impossible,
    Done,
    /// The waiter is polled as a part of the step.
    Polls(usize),
}

#[derive(Clone, Copy, Debug)]
enum Event<Step> {
    /// Creates a future and does not poll it.
    Create(usize),
    /// Polls a future, also one that was not woken or that was parked.
    Poll(usize),
    Drop(usize),
    /// From now on nothing polls the future, until `Poll`.
    Park(usize),
    Step(Step),
    /// A step within the poll of a task that waits itself.
    StepInWaitingTask(Step),
    /// Runs the first entry of the ready queue.
    Run,
}

struct Rig<M: Model> {
    futures: Vec<Option<Wait<M::Output>>>, // dropped before the loop
    facts: Vec<Facts>,
    model: M,
    executor: MiniExecutor,
}

/// Everything that later events depend on. Waiters are labelled by their places, so that paths that
/// differ in names only are continued once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key<WaiterKey, Shared> {
    waiters: Vec<(WaiterKey, bool, bool, [Option<usize>; LISTS])>,
    shared: Shared,
    entries: Vec<Entry>,
}

/// The events of an enumeration, besides polls, drops and turns.
#[derive(Clone, Copy)]
pub(in crate::sync) struct Events<'a, Step> {
    pub(in crate::sync) steps: &'a [Step],
    /// Steps that a task that waits takes too, before its own wake is queued.
    pub(in crate::sync) steps_in_waiting_tasks: &'a [Step],
    /// Futures that are created and not polled.
    pub(in crate::sync) has_creations: bool,
    /// Futures that are parked or forgotten.
    pub(in crate::sync) has_parks: bool,
}

impl<'a, Step> Events<'a, Step> {
    /// Steps of another task, and parks.
    pub(in crate::sync) fn of(steps: &'a [Step]) -> Events<'a, Step> {
        Events { steps, steps_in_waiting_tasks: &[], has_creations: false, has_parks: true }
    }
}

/// Visits all interleavings of `count` waiters and `events`.
pub(in crate::sync) fn visit<M: Model>(
    count: usize,
    included: Events<'_, M::Step>,
    model: impl Fn() -> M,
) -> Visited {
    let mut events = vec![Event::Run];
    events.extend(included.steps.iter().map(|&step| Event::Step(step)));
    let in_waiting_tasks = included.steps_in_waiting_tasks.iter();
    events.extend(in_waiting_tasks.map(|&step| Event::StepInWaitingTask(step)));
    for index in 0..count {
        events.extend([Event::Poll(index), Event::Drop(index)]);
        events.extend(included.has_parks.then_some(Event::Park(index)));
        events.extend(included.has_creations.then_some(Event::Create(index)));
    }
    let checked = RefCell::new(BTreeSet::new());
    let visited = visit_all(&events, |path| {
        let mut rig = Rig::new(count, model());
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
    report::<M>(&format!("{count} waiters"), visited);
    visited
}

impl<M: Model> Rig<M> {
    fn new(count: usize, model: M) -> Rig<M> {
        Rig {
            futures: (0..count).map(|_| None).collect(),
            facts: vec![Facts::default(); count],
            model,
            executor: MiniExecutor::new(count),
        }
    }

    /// Applies an event. Returns false if it cannot occur.
    fn apply(&mut self, event: Event<M::Step>) -> bool {
        let is_possible = match event {
            Event::Create(index) => self.is_next(index),
            Event::Poll(index) => self.facts[index].is_present || self.is_next(index),
            Event::Drop(index) => self.facts[index].is_present,
            Event::Park(index) => self.facts[index].is_present && !self.facts[index].is_parked,
            Event::Step(_) | Event::StepInWaitingTask(_) | Event::Run => true,
        };
        if !is_possible {
            return false;
        }
        match event {
            Event::Create(index) => self.create(index),
            Event::Poll(index) => self.poll(index),
            Event::Drop(index) => self.drop(index),
            Event::Park(index) => self.facts[index].is_parked = true,
            Event::Step(step) => return self.step(step, false),
            Event::StepInWaitingTask(step) => return self.step(step, true),
            Event::Run => return self.run_next(),
        }
        self.model.check(&self.facts);
        true
    }

    /// Of absent waiters with equal keys, the first stands for all.
    fn is_next(&self, index: usize) -> bool {
        let key = self.model.waiter_key(index);
        let is_same =
            |&other: &usize| !self.facts[other].is_present && self.model.waiter_key(other) == key;
        (0..self.facts.len()).find(is_same) == Some(index)
    }

    fn create(&mut self, index: usize) {
        self.futures[index] = Some(self.model.wait(index));
        self.facts[index] = Facts { is_present: true, ..Facts::default() };
    }

    fn poll(&mut self, index: usize) {
        if !self.facts[index].is_present {
            self.create(index);
        }
        let before = self.facts[index];
        let newest = self.model.numbers().map(|numbers| numbers.newest);
        let future = self.futures[index].as_mut().expect("a present waiter has a future");
        let waker = self.executor.waker(index);
        let outcome = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.facts[index].is_parked = false;
        if outcome.is_ready() {
            self.futures[index] = None;
            self.facts[index] = Facts::default();
        } else {
            for (list, numbers) in self.model.numbers().into_iter().enumerate() {
                let place = &mut self.facts[index].places[list];
                if numbers.newest != newest[list] {
                    *place = numbers.newest;
                }
                // A poll that finds nothing leaves the waiter on the list.
                *place = place.filter(|number| numbers.waiting.contains(number));
            }
        }
        self.model.polled(index, before, &self.facts, outcome);
    }

    fn drop(&mut self, index: usize) {
        let before = std::mem::take(&mut self.facts[index]);
        self.futures[index] = None;
        self.model.dropped(index, before, &self.facts);
    }

    fn step(&mut self, step: M::Step, is_in_waiting_task: bool) -> bool {
        let entries_count = self.executor.entries().len();
        let mut stepped = Stepped::Impossible;
        let mut run = || stepped = self.model.step(step, &self.facts);
        match is_in_waiting_task {
            true => self.executor.in_a_waiting_task(run),
            false => run(),
        }
        match stepped {
            Stepped::Impossible => return false,
            Stepped::Done => self.check_order_of_wakes(entries_count),
            Stepped::Polls(index) => self.poll(index),
        }
        self.model.check(&self.facts);
        true
    }

    /// Checks that one step has woken waiters in the order of their places, list by list.
    fn check_order_of_wakes(&self, entries_count: usize) {
        let entries = self.executor.entries();
        let woken = entries[entries_count..].iter().filter_map(|entry| match *entry {
            Entry::Task(index) => Some(self.facts[index].places),
            Entry::Recheck => None,
        });
        let place = |places: [Option<u64>; LISTS]| {
            places.iter().enumerate().find_map(|(list, place)| Some((list, (*place)?)))
        };
        let woken: Vec<_> = woken.map(place).collect();
        assert!(woken.is_sorted(), "woken out of order: {woken:?}");
    }

    /// Runs one entry of the queue. A woken waiter is polled, unless it is parked or gone.
    fn run_next(&mut self) -> bool {
        let Some(entry) = self.executor.run_next() else { return false };
        if let Entry::Task(index) = entry
            && self.facts[index].is_present
            && !self.facts[index].is_parked
        {
            self.poll(index);
        }
        self.model.turned(&self.facts);
        self.model.check(&self.facts);
        true
    }

    /// Runs the queue until it is empty, and checks that no waiter sleeps that is due.
    fn check_progress(&mut self) {
        self.drain();
        let is_waiting = |facts: &Facts| {
            facts.is_present && !facts.is_parked && facts.places.iter().any(Option::is_some)
        };
        for (index, facts) in self.facts.iter().enumerate() {
            let is_asleep = is_waiting(facts) && self.model.is_due(index, &self.facts);
            assert!(!is_asleep, "waiter {index} sleeps: {:?}", self.facts);
        }
        if self.facts.iter().any(is_waiting) {
            return;
        }
        let Some(mut newcomer) = self.model.newcomer() else { return };
        let mut poll = || newcomer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if poll().is_pending() {
            while self.executor.run_next().is_some() {}
            assert!(poll().is_ready(), "blocked by waiters that nothing polls: {:?}", self.facts);
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

    fn key(&self) -> Key<M::WaiterKey, M::Key> {
        let entries = self.executor.entries();
        let places = |index: usize| match self.model.is_placeless(index) {
            true => [None; LISTS],
            false => self.facts[index].places,
        };
        let mut order: Vec<usize> = (0..self.facts.len()).collect();
        order.sort_by_key(|&index| {
            let in_queue = entries.iter().position(|entry| *entry == Entry::Task(index));
            let Facts { is_present, is_parked, .. } = self.facts[index];
            let key = self.model.waiter_key(index);
            (
                places(index).map(|place| place.unwrap_or(u64::MAX)),
                key,
                is_present,
                is_parked,
                in_queue,
            )
        });
        let label = |index: usize| order.iter().position(|other| *other == index).expect("known");
        let label_of_number = |list: usize, number: u64| {
            let known = self.facts.iter().position(|facts| facts.places[list] == Some(number));
            label(known.expect("a known number")) as u64
        };
        let rank = |list: usize, number: u64| {
            let is_before = |other| places(other)[list].is_some_and(|place| place < number);
            (0..self.facts.len()).filter(|&other| is_before(other)).count()
        };
        let waiter = |&index: &usize| {
            let mut ranks = [None; LISTS];
            for (list, place) in places(index).into_iter().enumerate() {
                ranks[list] = place.map(|number| rank(list, number));
            }
            let Facts { is_present, is_parked, .. } = self.facts[index];
            (self.model.waiter_key(index), is_present, is_parked, ranks)
        };
        let relabelled = |entry: &Entry| match *entry {
            Entry::Task(index) => Entry::Task(label(index)),
            Entry::Recheck => Entry::Recheck,
        };
        Key {
            waiters: order.iter().map(waiter).collect(),
            shared: self.model.key(&label_of_number),
            entries: entries.iter().map(relabelled).collect(),
        }
    }
}
