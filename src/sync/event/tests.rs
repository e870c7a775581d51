use std::rc::Rc;
use std::task::Poll;

use super::Event;
use crate::sync::tests::interleavings::is_exhaustive;
use crate::sync::tests::waits::{Events, Facts, Model, Numbers, Stepped, Wait, visit};

#[derive(Clone, Copy, Debug)]
enum Step {
    Set,
    Clear,
}

/// An event, and which of its waiters were on the list when it was set.
struct Flag {
    event: Rc<Event>,
    is_set: bool,
    is_released: Vec<bool>,
}

impl Model for Flag {
    type Step = Step;
    type Output = ();
    type WaiterKey = bool;
    type Key = (bool, Vec<u64>);

    fn wait(&mut self, index: usize) -> Wait<()> {
        self.is_released[index] = false;
        let event = Rc::clone(&self.event);
        Box::pin(async move { event.wait().await })
    }

    fn polled(&mut self, index: usize, _before: Facts, facts: &[Facts], outcome: Poll<()>) {
        let is_due = self.is_due(index, facts);
        assert_eq!(outcome.is_ready(), is_due);
        self.is_released[index] &= !is_due;
    }

    fn dropped(&mut self, index: usize, _before: Facts, _facts: &[Facts]) {
        self.is_released[index] = false;
    }

    fn step(&mut self, step: Step, facts: &[Facts]) -> Stepped {
        match step {
            Step::Set => {
                self.event.set();
                self.is_set = true;
                for (is_released, facts) in self.is_released.iter_mut().zip(facts) {
                    *is_released |= facts.places[0].is_some();
                }
            }
            Step::Clear => {
                self.event.clear();
                self.is_set = false;
            }
        }
        Stepped::Done
    }

    fn numbers(&self) -> [Numbers; 2] {
        [self.event.state.borrow().waiters.all_numbers(), Numbers::default()]
    }

    fn check(&self, _facts: &[Facts]) {
        assert_eq!(self.event.is_set(), self.is_set);
    }

    fn is_due(&self, index: usize, _facts: &[Facts]) -> bool {
        self.is_set || self.is_released[index]
    }

    fn waiter_key(&self, index: usize) -> bool {
        self.is_released[index]
    }

    fn is_placeless(&self, index: usize) -> bool {
        self.is_released[index]
    }

    fn key(&self, label: &dyn Fn(usize, u64) -> u64) -> Self::Key {
        let waiting = self.event.state.borrow().waiters.numbers().collect::<Vec<_>>();
        (self.is_set, waiting.into_iter().map(|number| label(0, number)).collect())
    }
}

/// Goal: a set wakes all waiters in their order and ends their waits, also if the event is cleared
/// before they run. Later waits wait. A future that nothing polls blocks none.
///
/// Method: every interleaving of polls, drops and parked or forgotten futures of three waiters,
/// sets, clears and turns; of four waiters if `RINGLOOP_TEST_EXHAUSTIVE` is set.
///
/// Kills: a waiter that reads the flag only; a set that wakes one waiter; a drop that leaves the
/// waiter on the list.
#[test]
fn every_interleaving_of_sets_ends_the_waits() {
    let count = if is_exhaustive() { 4 } else { 3 };
    let steps = [Step::Set, Step::Clear];
    let visited = visit(count, Events::of(&steps), || Flag {
        event: Rc::default(),
        is_set: false,
        is_released: vec![false; count],
    });
    assert!(visited.states > 100, "{visited:?}");
}
