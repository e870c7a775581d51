//! Tasks that wait for the same thing, in the order in which they began to wait.
//!
//! ```text
//!           wait              wake_first, wake_all
//!  absent ────────▶ waiting ───────────────────────▶ woken
//!    ▲                 │  ▲                            │ │
//!    ├───── leave ─────┘  └─── wait, at its place ─────┘ │
//!    └────────────────────────── leave ──────────────────┘
//! ```
//!
//! The place of a waiter is a number. A woken waiter that finds nothing, because a newcomer was
//! polled before it, waits again under the same number, so newcomers do not overtake it. A woken
//! waiter reserves nothing: its future may be alive and never be polled again.
//!
//! So an owner that wakes one waiter for an item must wake the next one if the item is still there
//! when the tasks have run. That also covers a waiter that is dropped after it was woken.
//!
//! Every operation costs O(log n), except `wake_all`.
//!
//! **Absent on purpose.** User code. The caller clones a waker before it borrows the list; wakers
//! that the list returns are woken or dropped after the borrow has ended.

use std::cell::RefCell;
use std::collections::{BTreeMap, btree_map};
use std::task::Waker;

use crate::error::discard;

/// Waiters for one thing, in order.
#[derive(Default)]
pub(crate) struct WaitList {
    /// Waiters that have not been woken, by their numbers.
    waiting: BTreeMap<u64, Waker>,
    next_number: u64,
}

/// The place of one waiter. A new one has no place.
#[derive(Default, Debug)]
pub(crate) struct WaiterId(Option<u64>);

/// Wakers of waiters that were taken off the list, in order.
#[derive(Default)]
#[must_use = "their waiters are not on the list any more"]
pub(crate) enum Woken {
    #[default]
    None,
    First(Waker),
    All(btree_map::IntoValues<u64, Waker>),
}

/// Makes a waiter wait on the list of `owner`, with a clone of `waker` if the list has none.
/// Cloning and dropping wakers is user code, so `owner` is not borrowed meanwhile.
pub(crate) fn wait_in<Owner>(
    owner: &RefCell<Owner>,
    list_of: impl Fn(&mut Owner) -> &mut WaitList,
    waiter_id: &mut WaiterId,
    waker: &Waker,
) {
    if list_of(&mut owner.borrow_mut()).is_waiting_with(waiter_id, waker) {
        return;
    }
    let waker = waker.clone();
    let former = list_of(&mut owner.borrow_mut()).wait(waiter_id, waker);
    drop(former);
}

impl WaitList {
    /// Whether this waiter waits, and its waker wakes the same task as `waker`. If not, `wait`
    /// needs a clone of `waker`.
    pub(crate) fn is_waiting_with(&self, waiter_id: &WaiterId, waker: &Waker) -> bool {
        let current = waiter_id.0.and_then(|number| self.waiting.get(&number));
        current.is_some_and(|current| current.will_wake(waker))
    }

    /// Adds the waiter at the end, or at the place that it has, with this waker. Returns the waker
    /// that it replaces.
    #[must_use = "dropping it is user code"]
    pub(crate) fn wait(&mut self, waiter_id: &mut WaiterId, waker: Waker) -> Option<Waker> {
        let number = *waiter_id.0.get_or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            number
        });
        self.waiting.insert(number, waker)
    }

    /// Takes the first waiter off the list, to be woken.
    pub(crate) fn wake_first(&mut self) -> Woken {
        self.waiting.pop_first().map_or(Woken::None, |(_number, waker)| Woken::First(waker))
    }

    /// Takes all waiters off the list, to be woken.
    pub(crate) fn wake_all(&mut self) -> Woken {
        Woken::All(std::mem::take(&mut self.waiting).into_values())
    }

    /// Whether this waiter was woken, and no waiter before it is still to be woken.
    pub(crate) fn is_first_awake(&self, waiter_id: &WaiterId) -> bool {
        let first = self.waiting.first_key_value().map(|(&first, _)| first);
        waiter_id.0.is_some_and(|number| first.is_none_or(|first| number < first))
    }

    /// Whether there is a waiter that has not been woken.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Removes the waiter, whether or not it was woken, and returns its waker.
    #[must_use = "dropping it is user code"]
    pub(crate) fn leave(&mut self, waiter_id: &mut WaiterId) -> Option<Waker> {
        waiter_id.0.take().and_then(|number| self.waiting.remove(&number))
    }
}

/// Drops the wakers of futures that were leaked while they waited. The list may be dropped in the
/// middle of a turn, so a panic of a waker is caught.
impl Drop for WaitList {
    fn drop(&mut self) {
        std::mem::take(&mut self.waiting).into_values().for_each(discard);
    }
}

impl Iterator for Woken {
    type Item = Waker;

    fn next(&mut self) -> Option<Waker> {
        match std::mem::take(self) {
            Woken::None => None,
            Woken::First(waker) => Some(waker),
            Woken::All(mut wakers) => {
                let next = wakers.next();
                *self = Woken::All(wakers);
                next
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;
    use crate::enumeration::{task_of, task_wakers, visit_all};

    const WAITERS: usize = 4;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// The future of a waiter is polled and finds nothing, with the waker of one of two tasks.
        Poll(usize, usize),
        /// The future is dropped, or polled and finds something.
        Drop(usize),
        /// The future is forgotten. Its waker stays on the list.
        Forget(usize),
        WakeFirst,
        WakeAll,
    }

    /// What the list must do, on a vector in the order of places.
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
    struct Model {
        places: Vec<Place>,
        forgotten: [bool; WAITERS],
    }

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    struct Place {
        waiter: usize,
        /// The task to wake, until it was woken.
        task: Option<usize>,
    }

    impl Model {
        fn is_possible(&self, event: Event) -> bool {
            match event {
                Event::Poll(waiter, _) | Event::Drop(waiter) | Event::Forget(waiter) => {
                    !self.forgotten[waiter]
                }
                Event::WakeFirst | Event::WakeAll => true,
            }
        }

        /// Returns the tasks that are woken.
        fn apply(&mut self, event: Event) -> Vec<usize> {
            let mut woken = Vec::new();
            match event {
                Event::Poll(waiter, task) => {
                    match self.places.iter_mut().find(|place| place.waiter == waiter) {
                        Some(place) => place.task = Some(task),
                        None => self.places.push(Place { waiter, task: Some(task) }),
                    }
                }
                Event::Drop(waiter) => self.places.retain(|place| place.waiter != waiter),
                Event::Forget(waiter) => {
                    self.forgotten[waiter] = true;
                    self.places.retain(|place| place.waiter != waiter || place.task.is_some());
                }
                Event::WakeFirst => {
                    woken.extend(self.places.iter_mut().find_map(|place| place.task.take()));
                }
                Event::WakeAll => {
                    woken.extend(self.places.iter_mut().filter_map(|place| place.task.take()));
                }
            }
            let forgotten = self.forgotten;
            self.places.retain(|place| place.task.is_some() || !forgotten[place.waiter]);
            woken
        }

        fn is_first_awake(&self, waiter: usize) -> bool {
            let mut before = self.places.iter().take_while(|place| place.task.is_none());
            before.any(|place| place.waiter == waiter)
        }
    }

    fn apply(
        list: &mut WaitList,
        ids: &mut [WaiterId; WAITERS],
        wakers: &[Waker],
        event: Event,
    ) -> Vec<usize> {
        let task_of = |waker: Waker| task_of(wakers, &waker);
        match event {
            Event::Poll(waiter, task) => {
                if !list.is_waiting_with(&ids[waiter], &wakers[task]) {
                    drop(list.wait(&mut ids[waiter], wakers[task].clone()));
                }
                assert!(list.is_waiting_with(&ids[waiter], &wakers[task]));
            }
            Event::Drop(waiter) => drop(list.leave(&mut ids[waiter])),
            Event::Forget(waiter) => ids[waiter] = WaiterId::default(),
            Event::WakeFirst => return list.wake_first().map(task_of).collect(),
            Event::WakeAll => return list.wake_all().map(task_of).collect(),
        }
        Vec::new()
    }

    struct Bomb;

    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the destructor of a waker");
        }
    }

    /// Goal: the drop of a list does not panic, as it may happen in the middle of a turn.
    /// Method: two waiters that were forgotten, with wakers whose destructors panic.
    /// Kills: wakers that are dropped with the map.
    #[test]
    fn the_drop_of_a_list_catches_the_panics_of_wakers() {
        let mut list = WaitList::default();
        for _ in 0..2 {
            drop(list.wait(&mut WaiterId::default(), Waker::from(Arc::new(Bomb))));
        }
        drop(list);
    }

    /// Goal: waiters are woken in the order in which they began to wait, each once for each wait. A
    /// woken waiter that waits again keeps its place; one that left is never woken.
    ///
    /// Method: every order of polls, drops, forgotten futures and wakes of four waiters, one of
    /// which is polled by two tasks, against a vector of places.
    ///
    /// Kills: a new number for a woken waiter; `leave` that keeps the waker; `wake_first` that
    /// takes the last; a waker that is not replaced; `is_first_awake` for a waiter that still
    /// waits.
    #[test]
    fn every_interleaving_wakes_in_order() {
        let mut events = vec![Event::WakeFirst, Event::WakeAll, Event::Poll(0, WAITERS)];
        for waiter in 0..WAITERS {
            events.extend([Event::Poll(waiter, waiter), Event::Drop(waiter)]);
            events.push(Event::Forget(waiter));
        }
        let visited = visit_all(&events, |path| {
            let wakers = task_wakers(WAITERS + 1);
            let (mut list, mut ids) = (WaitList::default(), Default::default());
            let mut model = Model::default();
            for &event in path {
                if !model.is_possible(event) {
                    return None;
                }
                let woken = apply(&mut list, &mut ids, &wakers, event);
                assert_eq!(woken, model.apply(event), "{event:?} in {model:?}");
                let is_waiting = model.places.iter().any(|place| place.task.is_some());
                assert_eq!(list.is_waiting(), is_waiting);
                for (waiter, id) in ids.iter().enumerate() {
                    assert_eq!(list.is_first_awake(id), model.is_first_awake(waiter), "{model:?}");
                }
            }
            // The model and the list, which may differ where no event has shown it yet.
            let tasks = list.waiting.values().map(|waker| task_of(&wakers, waker));
            Some((model, tasks.collect::<Vec<_>>()))
        });
        assert!(visited.states > 1000, "{visited:?}");
    }
}
