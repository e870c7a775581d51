use std::rc::Rc;
use std::task::Poll;

use super::Barrier;
use crate::sync::tests::interleavings::is_exhaustive;
use crate::sync::tests::waits::{Events, Facts, Model, Numbers, Stepped, Wait, visit};

/// A barrier has no operation but the wait.
#[derive(Clone, Copy, Debug)]
enum Step {}

/// Where a waiter is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Absent,
    InRound,
    /// Its round is complete.
    Released,
}

struct Rounds {
    barrier: Rc<Barrier>,
    tasks_count: usize,
    places: Vec<Place>,
}

impl Rounds {
    fn in_round_count(&self) -> usize {
        self.places.iter().filter(|place| **place == Place::InRound).count()
    }
}

impl Model for Rounds {
    type Step = Step;
    /// Whether it is the leader.
    type Output = bool;
    type WaiterKey = Place;
    type Key = Vec<u64>;

    fn wait(&mut self, index: usize) -> Wait<bool> {
        self.places[index] = Place::Absent;
        let barrier = Rc::clone(&self.barrier);
        Box::pin(async move { barrier.wait().await.is_leader() })
    }

    fn polled(&mut self, index: usize, _before: Facts, _facts: &[Facts], outcome: Poll<bool>) {
        if self.places[index] == Place::Released {
            assert_eq!(outcome, Poll::Ready(false));
            self.places[index] = Place::Absent;
            return;
        }
        self.places[index] = Place::InRound;
        if self.in_round_count() < self.tasks_count {
            assert_eq!(outcome, Poll::Pending);
            return;
        }
        assert_eq!(outcome, Poll::Ready(true), "the last one is the leader");
        for place in &mut self.places {
            if *place == Place::InRound {
                *place = Place::Released;
            }
        }
        self.places[index] = Place::Absent;
    }

    fn dropped(&mut self, index: usize, _before: Facts, _facts: &[Facts]) {
        self.places[index] = Place::Absent;
    }

    fn step(&mut self, step: Step, _facts: &[Facts]) -> Stepped {
        match step {}
    }

    fn numbers(&self) -> [Numbers; 2] {
        [self.barrier.waiters.borrow().all_numbers(), Numbers::default()]
    }

    fn check(&self, _facts: &[Facts]) {
        assert_eq!(self.barrier.waiters.borrow().len(), self.in_round_count());
    }

    fn is_due(&self, index: usize, _facts: &[Facts]) -> bool {
        self.places[index] == Place::Released
    }

    fn waiter_key(&self, index: usize) -> Place {
        self.places[index]
    }

    fn is_placeless(&self, index: usize) -> bool {
        self.places[index] == Place::Released
    }

    fn key(&self, label: &dyn Fn(usize, u64) -> u64) -> Vec<u64> {
        let waiting = self.barrier.waiters.borrow().numbers().collect::<Vec<_>>();
        waiting.into_iter().map(|number| label(0, number)).collect()
    }
}

/// Goal: the last waiter of a round is its leader, and releases exactly the others of that round. A
/// dropped waiter leaves its round. A released one that nothing polls keeps no later round.
///
/// Method: every interleaving of polls, drops and parked or forgotten futures of three waiters and
/// turns, on barriers for one to three tasks; of four waiters and up to four tasks if
/// `RINGLOOP_TEST_EXHAUSTIVE` is set.
///
/// Kills: a leader that is not the last; a waiter that counts after it has left; a waiter of the
/// next round that is released with this one; a round that is released one waiter early.
#[test]
fn every_interleaving_of_waits_releases_whole_rounds() {
    let count = if is_exhaustive() { 4 } else { 3 };
    for tasks_count in 1..=count {
        let visited = visit(count, Events::of(&[]), || Rounds {
            barrier: Rc::new(Barrier::new(tasks_count)),
            tasks_count,
            places: vec![Place::Absent; count],
        });
        assert!(tasks_count == 1 || visited.states > 30, "{visited:?}");
    }
}
