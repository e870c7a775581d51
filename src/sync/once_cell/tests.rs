use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::OnceCell;
use crate::sync::permits::Snapshot;
use crate::sync::tests::interleavings::is_exhaustive;
use crate::sync::tests::waits::{Events, Facts, Model, Numbers, Stepped, Wait, visit};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The initialization of this waiter ends with a value.
    Succeed(usize),
    Fail(usize),
    Set,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Phase {
    #[default]
    Waiting,
    Initializing,
    /// The initialization must end with a value, or fail.
    Ends(bool),
}

/// A cell, the phases of its waiters, and whether it must have a value.
struct Initializations {
    cell: Rc<OnceCell<u32>>,
    phases: Vec<Rc<Cell<Phase>>>,
    is_set: bool,
}

impl Initializations {
    fn initializing(&self) -> Option<usize> {
        self.phases.iter().position(|phase| phase.get() == Phase::Initializing)
    }
}

impl Model for Initializations {
    type Step = Step;
    type Output = Result<u32, ()>;
    type WaiterKey = Phase;
    type Key = (bool, Snapshot);

    fn wait(&mut self, index: usize) -> Wait<Self::Output> {
        self.phases[index].set(Phase::Waiting);
        let (cell, phase) = (Rc::clone(&self.cell), Rc::clone(&self.phases[index]));
        Box::pin(async move {
            let init = async || {
                phase.set(Phase::Initializing);
                poll_fn(|_| match phase.get() {
                    Phase::Ends(true) => Poll::Ready(Ok(1)),
                    Phase::Ends(false) => Poll::Ready(Err(())),
                    _ => Poll::Pending,
                })
                .await
            };
            cell.get_or_try_init(init).await.copied()
        })
    }

    fn polled(
        &mut self,
        index: usize,
        before: Facts,
        facts: &[Facts],
        outcome: Poll<Self::Output>,
    ) {
        match outcome {
            Poll::Ready(result) => {
                match self.phases[index].take() {
                    Phase::Waiting => assert!(self.is_set),
                    Phase::Ends(is_value) => {
                        assert!(!self.is_set, "initialized twice");
                        assert_eq!(result.is_ok(), is_value);
                        self.is_set = is_value;
                    }
                    Phase::Initializing => panic!("it has not ended"),
                }
                assert!(result.is_err() || self.cell.initialized());
            }
            Poll::Pending if self.phases[index].get() == Phase::Initializing => {
                assert!(!self.is_set);
                assert_eq!(self.initializing(), Some(index), "another one initializes");
                let begins = before.places[0].is_some() || !before.is_present;
                let is_before = |other: &Facts| {
                    let number = other.places[0].filter(|_| !other.is_parked);
                    number.is_some_and(|number| before.places[0].is_none_or(|own| number < own))
                };
                assert!(!begins || !facts.iter().any(is_before), "overtook a waiter");
            }
            Poll::Pending => assert!(!self.is_set),
        }
    }

    fn dropped(&mut self, index: usize, _before: Facts, _facts: &[Facts]) {
        self.phases[index].take();
    }

    fn step(&mut self, step: Step, facts: &[Facts]) -> Stepped {
        match step {
            Step::Succeed(index) | Step::Fail(index) => {
                if self.phases[index].get() != Phase::Initializing {
                    return Stepped::Impossible;
                }
                self.phases[index].set(Phase::Ends(matches!(step, Step::Succeed(_))));
                return Stepped::Polls(index);
            }
            Step::Set => {
                let is_possible = !self.is_set && self.initializing().is_none();
                let is_ok = self.cell.set(2).is_ok();
                assert!(is_possible || !is_ok);
                let is_polled = |facts: &Facts| facts.places[0].is_some() && !facts.is_parked;
                assert!(!is_ok || !facts.iter().any(is_polled), "overtook a waiter");
                self.is_set |= is_ok;
            }
        }
        Stepped::Done
    }

    fn numbers(&self) -> [Numbers; 2] {
        [self.cell.gate.numbers(), Numbers::default()]
    }

    fn check(&self, _facts: &[Facts]) {
        assert_eq!(self.cell.initialized(), self.is_set);
        let is_free = !self.is_set && self.initializing().is_none();
        assert_eq!(self.cell.gate.available(), usize::from(is_free));
    }

    fn is_due(&self, _index: usize, _facts: &[Facts]) -> bool {
        self.is_set || self.initializing().is_none()
    }

    fn newcomer(&mut self) -> Option<Wait<Self::Output>> {
        let cell = Rc::clone(&self.cell);
        let wait = async move { cell.get_or_try_init(async || Ok(3)).await.copied() };
        self.initializing().is_none().then(|| Box::pin(wait) as Wait<_>)
    }

    fn waiter_key(&self, index: usize) -> Phase {
        self.phases[index].get()
    }

    fn is_placeless(&self, _index: usize) -> bool {
        self.is_set
    }

    fn key(&self, label: &dyn Fn(usize, u64) -> u64) -> Self::Key {
        (self.is_set, self.cell.gate.snapshot(|number| label(0, number)))
    }
}

/// Goal: a cell is initialized once. When the initialization fails or is dropped, the next waiter
/// that is polled begins its own; a future that nothing polls and that has not begun blocks none.
/// All waits end when there is a value.
///
/// Method: every interleaving of polls, drops and parked or forgotten futures of two waiters, ends
/// of their initializations with and without a value, `set`, and turns; of up to four waiters if
/// `RINGLOOP_TEST_EXHAUSTIVE` is set.
///
/// Kills: an initialization beside another; a dropped one that keeps the permit; a `set` in front
/// of a woken waiter; a waiter that is not woken by the value.
#[test]
fn every_interleaving_of_initializations_sets_one_value() {
    let counts = if is_exhaustive() { 2..=4 } else { 2..=2 };
    for count in counts {
        let mut steps = vec![Step::Set];
        steps.extend((0..count).flat_map(|index| [Step::Succeed(index), Step::Fail(index)]));
        let visited = visit(count, Events::of(&steps), || {
            let phases = (0..count).map(|_| Rc::default()).collect();
            Initializations { cell: Rc::default(), phases, is_set: false }
        });
        assert!(visited.states > 100, "{visited:?}");
    }
}
