use std::rc::Rc;
use std::task::Poll;

use super::{Notify, SPARE};
use crate::sync::permits::Snapshot;
use crate::sync::tests::interleavings::is_exhaustive;
use crate::sync::tests::waits::{Dismissal, Events, Facts, Model, Numbers, Stepped, Wait, visit};

#[derive(Clone, Copy, Debug)]
enum Step {
    NotifyOne,
    NotifyWaiters,
}

/// A `Notify`, and the number of notifications that it must have.
struct Notifications {
    notify: Rc<Notify>,
    count: usize,
    dismissals: Vec<Dismissal>,
}

impl Notifications {
    /// At most one notification for each waiter, and one that is stored.
    fn limit(&mut self, facts: &[Facts]) {
        let waiters = facts.iter().zip(&self.dismissals).filter(|(facts, dismissal)| {
            facts.places[0].is_some() && **dismissal != Dismissal::Dismissed
        });
        self.count = self.count.min(waiters.count() + SPARE);
    }

    /// The number of waiters that are polled when woken, and must be served before this place.
    fn before(&self, index: usize, place: Option<u64>, facts: &[Facts]) -> usize {
        let is_before = |other: &usize| {
            let facts = facts[*other];
            *other != index
                && !facts.is_parked
                && self.dismissals[*other] != Dismissal::Dismissed
                && facts.places[0].is_some_and(|number| place.is_none_or(|own| number < own))
        };
        (0..facts.len()).filter(is_before).count()
    }
}

impl Model for Notifications {
    type Step = Step;
    type Output = ();
    type WaiterKey = Dismissal;
    type Key = Snapshot;

    fn wait(&mut self, index: usize) -> Wait<()> {
        self.dismissals[index] = Dismissal::None;
        Box::pin(Rc::clone(&self.notify).notified_owned())
    }

    fn polled(&mut self, index: usize, before: Facts, facts: &[Facts], outcome: Poll<()>) {
        let dismissal = self.dismissals[index];
        if outcome.is_pending() {
            assert_eq!(dismissal, Dismissal::None, "`notify_waiters` ends its wait");
            return;
        }
        self.dismissals[index] = Dismissal::None;
        let needed_before = self.before(index, before.places[0], facts);
        let is_taken = match dismissal {
            Dismissal::None => {
                assert!(needed_before < self.count, "overtook {needed_before} of {}", self.count);
                true
            }
            Dismissal::Dismissed if before.places[0].is_some() => false,
            // It takes one if there is one that no waiter before it was woken for.
            Dismissal::Dismissed | Dismissal::WhileAwake => {
                let count = self.count;
                self.limit(facts);
                let is_taken = self.notify.gate.available() < self.count;
                self.count = count;
                assert!(!is_taken || needed_before < count, "overtook {needed_before} of {count}");
                is_taken
            }
        };
        self.count -= usize::from(is_taken);
        self.limit(facts);
    }

    fn dropped(&mut self, index: usize, _before: Facts, facts: &[Facts]) {
        self.dismissals[index] = Dismissal::None;
        self.limit(facts);
    }

    fn step(&mut self, step: Step, facts: &[Facts]) -> Stepped {
        match step {
            Step::NotifyOne => {
                self.count += 1;
                self.limit(facts);
                self.notify.notify_one();
            }
            Step::NotifyWaiters => {
                for (index, facts) in facts.iter().enumerate().filter(|(_, facts)| facts.is_present)
                {
                    let number = facts.places[0];
                    let is_awake = number.is_some_and(|number| self.notify.gate.is_awake(number));
                    self.dismissals[index] = match self.dismissals[index] {
                        Dismissal::None if is_awake => Dismissal::WhileAwake,
                        Dismissal::None => Dismissal::Dismissed,
                        former => former,
                    };
                }
                self.limit(facts);
                self.notify.notify_waiters();
            }
        }
        Stepped::Done
    }

    fn turned(&mut self, facts: &[Facts]) {
        for (dismissal, facts) in self.dismissals.iter_mut().zip(facts) {
            let is_awake = facts.places[0].is_some_and(|number| self.notify.gate.is_awake(number));
            if *dismissal == Dismissal::WhileAwake && !is_awake {
                *dismissal = Dismissal::Dismissed;
            }
        }
        self.limit(facts);
    }

    fn numbers(&self) -> [Numbers; 2] {
        [self.notify.gate.numbers(), Numbers::default()]
    }

    fn check(&self, _facts: &[Facts]) {
        assert_eq!(self.notify.gate.available(), self.count, "notifications");
    }

    fn is_due(&self, index: usize, _facts: &[Facts]) -> bool {
        self.count > 0 || self.dismissals[index] != Dismissal::None
    }

    fn newcomer(&mut self) -> Option<Wait<()>> {
        let notify = Rc::clone(&self.notify);
        (self.count > 0).then(|| Box::pin(notify.notified_owned()) as Wait<()>)
    }

    fn waiter_key(&self, index: usize) -> Dismissal {
        self.dismissals[index]
    }

    fn is_placeless(&self, index: usize) -> bool {
        self.dismissals[index] == Dismissal::Dismissed
    }

    fn key(&self, label: &dyn Fn(usize, u64) -> u64) -> Snapshot {
        self.notify.gate.snapshot(|number| label(0, number))
    }
}

/// Goal: a notification reaches one waiter, the first that is polled when woken, and at most one is
/// stored. A waiter that was notified and is dropped or not polled passes it on. `notify_waiters`
/// ends the waits of the futures that exist, and of no later one.
///
/// Method: every interleaving of creations, polls, drops and parked or forgotten futures of two
/// waiters, of both kinds of notification, by a task that waits itself and by another, and of
/// turns. If `RINGLOOP_TEST_EXHAUSTIVE` is set: of three waiters without notifications by tasks
/// that wait; and of four without creations, with `notify_one` and parks, or with both kinds of
/// notification and no parks.
///
/// Kills: a drop that loses the notification; a notification that is stored beside another; a
/// dismissed waiter that takes one, that waits again, or that counts as a waiter; a future that is
/// not dismissed before its first poll.
#[test]
fn every_interleaving_of_notifications_reaches_a_waiter() {
    let steps = &[Step::NotifyOne, Step::NotifyWaiters];
    let other_tasks = Events { has_creations: true, ..Events::of(steps) };
    let all = Events { steps_in_waiting_tasks: steps, ..other_tasks };
    let mut sizes = vec![(2, all)];
    if is_exhaustive() {
        sizes.push((3, other_tasks));
        sizes.push((4, Events::of(&[Step::NotifyOne])));
        sizes.push((4, Events { has_parks: false, ..Events::of(steps) }));
    }
    for (count, events) in sizes {
        let visited = visit(count, events, || Notifications {
            notify: Rc::default(),
            count: 0,
            dismissals: vec![Dismissal::None; count],
        });
        assert!(visited.states > 100, "{visited:?}");
    }
}
