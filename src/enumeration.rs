//! Enumeration of the inputs of a state machine, for tests.
//!
//! A state machine that performs nothing itself can be run on every order of its events. The test
//! names the events and replays a path of them, with its invariants checked after each step.
//! [`visit_all`] extends the paths breadth first until no new state is found, so a failure is
//! reported with a shortest path.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// States of one machine. More than this is a key that never repeats, such as a counter.
const STATES_MAX: usize = 1_000_000;

/// The size of an enumeration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Visited {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
}

/// Applies each event in each reachable state.
///
/// `replay` starts a machine, applies the events of a path and panics if an invariant is broken. It
/// returns a key of the last state, or `None` if the last event cannot occur there. The key must
/// contain everything that later events depend on, of the machine and of a model beside it: paths
/// that lead to the same key are continued once.
pub(crate) fn visit_all<Event, Key>(
    events: &[Event],
    replay: impl Fn(&[Event]) -> Option<Key>,
) -> Visited
where
    Event: Copy + Debug,
    Key: Ord,
{
    let start = replay(&[]).expect("a path without events is possible");
    let mut known = BTreeSet::from([start]);
    let mut level = vec![Vec::new()];
    let mut transitions = 0;
    while !level.is_empty() {
        let mut next_level = Vec::new();
        for path in level {
            for &event in events {
                let longer = [&path[..], &[event]].concat();
                let report = PathReport(&longer);
                let key = replay(report.0);
                let Some(key) = key else { continue };
                transitions += 1;
                if known.insert(key) {
                    assert!(known.len() <= STATES_MAX, "more than {STATES_MAX} states");
                    next_level.push(longer.clone());
                }
            }
        }
        level = next_level;
    }
    Visited { states: known.len(), transitions }
}

/// Prints the path on which a replay has panicked.
struct PathReport<'a, Event: Debug>(&'a [Event]);

impl<Event: Debug> Drop for PathReport<'_, Event> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after the events {:?}", self.0);
        }
    }
}

/// Wakers of `count` tasks, which do nothing when woken.
pub(crate) fn task_wakers(count: usize) -> Vec<Waker> {
    (0..count).map(|_| Waker::from(Arc::new(Task))).collect()
}

/// Returns the index of the task that `waker` wakes.
pub(crate) fn task_of(wakers: &[Waker], waker: &Waker) -> usize {
    let is_same = |other: &Waker| other.will_wake(waker);
    wakers.iter().position(is_same).expect("the waker of one of the tasks")
}

struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}
