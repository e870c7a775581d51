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
//! Every operation costs O(1) at the ends of the list and O(log n) elsewhere, except `wake_all`,
//! and a wait at a former place between others, which moves the waiters on its shorter side.
//! Waiting and waking allocate nothing once the list has its capacity.
//!
//! **Absent on purpose.** User code. The caller clones a waker before it borrows the list; wakers
//! that the list returns are woken or dropped after the borrow has ended.

use std::cell::RefCell;
use std::task::Waker;

use super::numbered::{IntoValues, Numbered};
use crate::error::discard;

/// Waiters for one thing, in order, each with a value of the owner.
pub(crate) struct WaitList<T = ()> {
    /// Waiters that have not been woken, by their numbers.
    waiting: Numbered<Waiter<T>>,
    next_number: u64,
    /// Waiters with smaller numbers were on the list at some `wake_all`, or were woken before.
    woken_below: u64,
}

struct Waiter<T> {
    waker: Waker,
    value: T,
}

/// The place of one waiter. A new one has no place.
#[derive(Default, Debug)]
pub(crate) struct WaiterId(Option<u64>);

/// Wakers of waiters that were taken off the list, in order.
#[must_use = "their waiters are not on the list any more"]
pub(crate) struct Woken<T = ()> {
    first: Option<Waker>,
    rest: Option<IntoValues<Waiter<T>>>,
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
    /// Adds the waiter at the end, or at the place that it has, with this waker. Returns the waker
    /// that it replaces.
    #[must_use = "dropping it is user code"]
    pub(crate) fn wait(&mut self, waiter_id: &mut WaiterId, waker: Waker) -> Option<Waker> {
        self.wait_for((), waiter_id, waker)
    }

    /// Takes the first waiter off the list, to be woken.
    pub(crate) fn wake_first(&mut self) -> Woken {
        let first = self.waiting.pop_first().map(|(_number, waiter)| waiter.waker);
        Woken { first, rest: None }
    }
}

impl<T> WaitList<T> {
    /// Whether this waiter waits, and its waker wakes the same task as `waker`. If not, `wait`
    /// needs a clone of `waker`.
    pub(crate) fn is_waiting_with(&self, waiter_id: &WaiterId, waker: &Waker) -> bool {
        let current = waiter_id.0.and_then(|number| self.waiting.get(number));
        current.is_some_and(|current| current.waker.will_wake(waker))
    }

    /// Whether this waiter waits and has not been woken.
    pub(super) fn is_waiting_at(&self, waiter_id: &WaiterId) -> bool {
        waiter_id.0.is_some_and(|number| self.waiting.get(number).is_some())
    }

    /// Like [`wait`](WaitList::wait), with a value of the owner.
    #[must_use = "dropping it is user code"]
    pub(super) fn wait_for(
        &mut self,
        value: T,
        waiter_id: &mut WaiterId,
        waker: Waker,
    ) -> Option<Waker> {
        let number = *waiter_id.0.get_or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            number
        });
        self.waiting.insert(number, Waiter { waker, value }).map(|former| former.waker)
    }

    /// Takes the first waiter off the list, to be woken, if its value is `due`. Returns its number,
    /// its value and its waker.
    pub(super) fn wake_first_if(&mut self, due: impl Fn(&T) -> bool) -> Option<(u64, T, Waker)> {
        self.waiting.first().filter(|(_, waiter)| due(&waiter.value))?;
        self.waiting.pop_first().map(|(number, Waiter { waker, value })| (number, value, waker))
    }

    /// Takes all waiters off the list, to be woken.
    pub(crate) fn wake_all(&mut self) -> Woken<T> {
        self.woken_below = self.next_number;
        Woken { first: None, rest: Some(self.waiting.take()) }
    }

    /// Whether this waiter was on the list, or was woken, when `wake_all` was last called.
    pub(super) fn was_in_wake_all(&self, waiter_id: &WaiterId) -> bool {
        waiter_id.0.is_some_and(|number| number < self.woken_below)
    }

    /// Whether this waiter was woken, and no waiter before it is still to be woken.
    pub(crate) fn is_first_awake(&self, waiter_id: &WaiterId) -> bool {
        let first = self.first_number();
        waiter_id.0.is_some_and(|number| first.is_none_or(|first| number < first))
    }

    /// Whether there is a waiter that has not been woken.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The number of waiters that have not been woken.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The number of the first waiter that has not been woken.
    pub(super) fn first_number(&self) -> Option<u64> {
        self.waiting.first().map(|(number, _)| number)
    }

    /// The values of the waiters that have not been woken, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, waiter)| &waiter.value)
    }

    /// Removes the waiter, whether or not it was woken, and returns its waker.
    #[must_use = "dropping it is user code"]
    pub(crate) fn leave(&mut self, waiter_id: &mut WaiterId) -> Option<Waker> {
        let number = waiter_id.0.take()?;
        self.waiting.remove(number).map(|waiter| waiter.waker)
    }
}

#[cfg(test)]
impl<T> WaitList<T> {
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().map(|(number, _)| number)
    }

    pub(super) fn newest_number(&self) -> Option<u64> {
        self.next_number.checked_sub(1)
    }

    pub(super) fn all_numbers(&self) -> super::tests::waits::Numbers {
        super::tests::waits::Numbers {
            newest: self.newest_number(),
            waiting: self.numbers().collect(),
        }
    }
}

impl WaiterId {
    /// The number of the place. Smaller numbers are before it.
    pub(super) fn number(&self) -> Option<u64> {
        self.0
    }
}

impl<T> Default for WaitList<T> {
    fn default() -> WaitList<T> {
        WaitList { waiting: Numbered::default(), next_number: 0, woken_below: 0 }
    }
}

/// Drops the wakers of futures that were leaked while they waited. The list may be dropped in the
/// middle of a turn, so a panic of a waker is caught.
impl<T> Drop for WaitList<T> {
    fn drop(&mut self) {
        self.waiting.take().for_each(|waiter| discard(waiter.waker));
    }
}

impl<T> Default for Woken<T> {
    fn default() -> Woken<T> {
        Woken { first: None, rest: None }
    }
}

impl<T> Iterator for Woken<T> {
    type Item = Waker;

    fn next(&mut self) -> Option<Waker> {
        let rest = &mut self.rest;
        self.first.take().or_else(|| Some(rest.as_mut()?.next()?.waker))
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
            let tasks = list.waiting.iter().map(|(_, waiter)| task_of(&wakers, &waiter.waker));
            Some((model, tasks.collect::<Vec<_>>()))
        });
        assert!(visited.states > 1000, "{visited:?}");
    }
}
