use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::task::Poll;

use super::Condvar;
use crate::sync::Mutex;
use crate::sync::permits::Snapshot;
use crate::sync::tests::interleavings::is_exhaustive;
use crate::sync::tests::waits::{Dismissal, Events, Facts, Model, Numbers, Stepped, Wait, visit};

/// The lists: of tasks that wait for the mutex, and of tasks that wait for a notification.
const MUTEX: usize = 0;
const CONDVAR: usize = 1;

#[derive(Clone, Copy, Debug)]
enum Step {
    NotifyOne,
    NotifyAll,
}

/// What a future does.
///
/// ```text
///  Begins ── locks ──▶ Waits ── a notification, or all ──▶ Notified ── locks ──▶ Holds
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Phase {
    #[default]
    Begins,
    /// Also when it was notified, until it is polled.
    Waits,
    Notified,
    Holds,
}

/// A condition variable and its mutex, and the number of notifications that it must have.
struct Notifications {
    shared: Rc<(Mutex<u32>, Condvar)>,
    /// The phases that the futures have entered: `Begins`, `Waits` or `Holds`.
    entered: Vec<Rc<Cell<Phase>>>,
    phases: Vec<Phase>,
    dismissals: Vec<Dismissal>,
    count: usize,
}

impl Notifications {
    fn new(waiters_count: usize) -> Notifications {
        Notifications {
            shared: Rc::new((Mutex::new(0), Condvar::new())),
            entered: (0..waiters_count).map(|_| Rc::default()).collect(),
            phases: vec![Phase::Begins; waiters_count],
            dismissals: vec![Dismissal::None; waiters_count],
            count: 0,
        }
    }

    fn is_locked(&self) -> bool {
        self.phases.contains(&Phase::Holds)
    }

    /// At most one notification for each waiter that is not dismissed.
    fn limit(&mut self, facts: &[Facts]) {
        let waiters = facts.iter().zip(&self.dismissals).filter(|(facts, dismissal)| {
            facts.places[CONDVAR].is_some() && **dismissal != Dismissal::Dismissed
        });
        self.count = self.count.min(waiters.count());
    }

    fn notify_one(&mut self, facts: &[Facts]) {
        self.count += 1;
        self.limit(facts);
    }

    /// Whether the wait that has just ended has taken a notification.
    fn is_taken(&mut self, index: usize, facts: &[Facts]) -> bool {
        match self.dismissals[index] {
            Dismissal::None => true,
            Dismissal::Dismissed => false,
            // A waiter before it may have taken the notification.
            Dismissal::WhileAwake => {
                let count = self.count;
                self.limit(facts);
                let is_taken = self.shared.1.gate.available() < self.count;
                self.count = count;
                is_taken
            }
        }
    }

    /// Checks that the poll that takes a notification leaves enough for the waiters before it that
    /// are polled when woken.
    fn take(&mut self, index: usize, place: Option<u64>, facts: &[Facts]) {
        let is_before = |other: &usize| {
            let number = facts[*other].places[CONDVAR];
            *other != index
                && !facts[*other].is_parked
                && self.dismissals[*other] != Dismissal::Dismissed
                && number.is_some_and(|number| place.is_none_or(|own| number < own))
        };
        let needed_before = (0..facts.len()).filter(is_before).count();
        assert!(needed_before < self.count, "overtook {needed_before} of {}", self.count);
        self.count -= 1;
    }
}

impl Model for Notifications {
    type Step = Step;
    type Output = ();
    type WaiterKey = (Phase, Dismissal);
    type Key = [Snapshot; 2];

    fn wait(&mut self, index: usize) -> Wait<()> {
        let (shared, entered) = (Rc::clone(&self.shared), Rc::clone(&self.entered[index]));
        Box::pin(async move {
            let (mutex, condvar) = &*shared;
            let guard = mutex.lock().await;
            entered.set(Phase::Waits);
            let mut guard = condvar.wait(guard).await;
            entered.set(Phase::Holds);
            *guard += 1; // panics if another guard has the value
            pending().await
        })
    }

    fn polled(&mut self, index: usize, before: Facts, facts: &[Facts], outcome: Poll<()>) {
        assert!(outcome.is_pending(), "it holds the lock until it is dropped");
        let (former, entered) = (self.phases[index], self.entered[index].get());
        let has_locked = entered != former.min(Phase::Waits) && former != Phase::Holds;
        assert!(!has_locked || !self.is_locked(), "locked twice");
        let is_asleep = facts[index].places[CONDVAR].is_some();
        let was_waiting = former == Phase::Waits;
        let has_waited = former < Phase::Notified && entered >= Phase::Waits && !is_asleep;
        let dismissal = self.dismissals[index];
        if has_waited && self.is_taken(index, facts) {
            self.take(index, before.places[CONDVAR].filter(|_| was_waiting), facts);
        }
        assert!(has_waited || dismissal == Dismissal::None, "`notify_all` ends its wait");
        if has_waited {
            self.dismissals[index] = Dismissal::None;
            self.limit(facts);
        }
        self.phases[index] = match entered {
            Phase::Waits if !is_asleep => Phase::Notified,
            entered => entered,
        };
    }

    fn dropped(&mut self, index: usize, _before: Facts, facts: &[Facts]) {
        self.entered[index].take();
        self.dismissals[index] = Dismissal::None;
        match std::mem::take(&mut self.phases[index]) {
            Phase::Notified => self.notify_one(facts),
            Phase::Waits => self.limit(facts),
            Phase::Begins | Phase::Holds => {}
        }
    }

    fn step(&mut self, step: Step, facts: &[Facts]) -> Stepped {
        let condvar = &self.shared.1;
        match step {
            Step::NotifyOne => {
                condvar.notify_one();
                self.notify_one(facts);
            }
            Step::NotifyAll => {
                for (dismissal, facts) in self.dismissals.iter_mut().zip(facts) {
                    let Some(number) = facts.places[CONDVAR] else { continue };
                    *dismissal = match *dismissal {
                        Dismissal::None if condvar.gate.is_awake(number) => Dismissal::WhileAwake,
                        Dismissal::None => Dismissal::Dismissed,
                        former => former,
                    };
                }
                condvar.notify_all();
                self.limit(facts);
            }
        }
        Stepped::Done
    }

    fn turned(&mut self, facts: &[Facts]) {
        let gate = &self.shared.1.gate;
        for (dismissal, facts) in self.dismissals.iter_mut().zip(facts) {
            let is_awake = facts.places[CONDVAR].is_some_and(|number| gate.is_awake(number));
            if *dismissal == Dismissal::WhileAwake && !is_awake {
                *dismissal = Dismissal::Dismissed;
            }
        }
        self.limit(facts);
    }

    fn numbers(&self) -> [Numbers; 2] {
        [self.shared.0.gate().numbers(), self.shared.1.gate.numbers()]
    }

    fn check(&self, _facts: &[Facts]) {
        assert_eq!(self.shared.0.gate().available(), usize::from(!self.is_locked()), "the mutex");
        assert_eq!(self.shared.1.gate.available(), self.count, "notifications");
    }

    fn is_due(&self, index: usize, facts: &[Facts]) -> bool {
        match facts[index].places[CONDVAR] {
            Some(_) => self.count > 0 || self.dismissals[index] != Dismissal::None,
            None => !self.is_locked(),
        }
    }

    fn waiter_key(&self, index: usize) -> (Phase, Dismissal) {
        (self.phases[index], self.dismissals[index])
    }

    fn is_placeless(&self, index: usize) -> bool {
        self.dismissals[index] == Dismissal::Dismissed
    }

    fn key(&self, label: &dyn Fn(usize, u64) -> u64) -> Self::Key {
        let (mutex, condvar) = &*self.shared;
        [
            mutex.gate().snapshot(|number| label(MUTEX, number)),
            condvar.gate.snapshot(|number| label(CONDVAR, number)),
        ]
    }
}

/// Goal: a wait ends with the lock, which never has two owners. A notification reaches one waiter,
/// the first that is polled when woken; if that is dropped or not polled, also while it waits for
/// the lock, the next one. `notify_all` ends the waits of all.
///
/// Method: every interleaving of polls, drops and parked or forgotten futures of two waiters, of
/// notifications by another task, and of turns. If `RINGLOOP_TEST_EXHAUSTIVE` is set, also of three
/// without parks, and of four without parks and with one kind of notification each. A waiter that
/// has returned holds the lock until it is dropped.
///
/// Kills: a wait that returns without the lock; a notification that ends with the first poll that
/// finds it, or that a dropped waiter takes along; a notification that is stored without a waiter.
#[test]
fn every_interleaving_of_notifications_ends_with_the_lock() {
    let parks = Events::of(&[Step::NotifyOne, Step::NotifyAll]);
    let mut sizes = vec![(2, parks)];
    if is_exhaustive() {
        sizes.push((3, Events { has_parks: false, ..parks }));
        sizes.push((4, Events { has_parks: false, ..Events::of(&[Step::NotifyOne]) }));
        sizes.push((4, Events { has_parks: false, ..Events::of(&[Step::NotifyAll]) }));
    }
    for (count, events) in sizes {
        let visited = visit(count, events, || Notifications::new(count));
        assert!(visited.states > 100, "{visited:?}");
    }
}
