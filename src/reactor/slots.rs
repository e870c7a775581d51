//! In-flight operations.
//!
//! A slot is made when an operation is submitted and freed when its *final* completion arrives. In
//! between, the memory named in the request belongs to the kernel, whether or not a future is left.
//! The slot keeps the operation's owner alive, the owner keeps the memory and the descriptor. So
//! dropping a stream or a listener frees nothing early, and a descriptor's number is not released
//! while an operation may name it (H29, H36, H37).
//!
//! ```text
//!          insert                 pushed                    final completion
//! Vacant ─────────▶ Waiting ─────────────────▶ InFlight ─────────────────────▶ Vacant
//!                      │                          │    ▲                     generation + 1
//!                      │ cancel                   └────┘
//!                      ▼                  a completion with MORE,
//!       Withdrawn ──▶ Vacant, ECANCELED   or a cancel (best effort: H30)
//! ```
//!
//! **Invariant.** Each insert gets exactly one final completion, and only that removes the slot. A
//! completion whose generation is not the slot's is counted and ignored; in debug builds it is a
//! panic (H35).
//!
//! **Absent on purpose.** No system call, no clock, no user code. The owner decodes a
//! completion, and the reactor calls owners when this table is not borrowed.

use std::os::fd::RawFd;
use std::rc::Rc;

use slab::Slab;

use super::owner::Owner;
use crate::driver::request::{Completion, Interest, Key, Progress, Request, Tag};

/// The generation of a slot's first operation. Not 0, so that no key is equal to a small number,
/// such as the `user_data` of an entry that was pushed before the loop existed.
const GENERATION_FIRST: u32 = 1;

pub(crate) struct Slots {
    /// Generations survive their slots, so they live beside the slab. Never shrinks (H35).
    generations: Vec<u32>,
    slots: Slab<Slot>,
    /// [`Key::INDEX_MAX`], or less in a test.
    index_max: u32,
    stale_completions: u64,
    /// Operations that a paused clock waits for.
    holding_clock_count: usize,
}

struct Slot {
    owner: Rc<dyn Owner>,
    tag: Tag,
    progress: Progress,
    is_repeatable: bool,
    holds_clock: bool,
    state: SlotState,
    /// The descriptor was ready at the watchdog's last look, and nothing has completed since.
    is_suspect: bool,
}

/// An operation that should complete soon if its descriptor is ready for this.
pub(crate) type Watched = (Key, RawFd, Interest);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SlotState {
    /// Not yet pushed to the driver.
    Waiting,
    /// Cancelled before it was pushed, and not completed yet.
    Withdrawn,
    InFlight,
    /// In flight, and the driver has been asked to end it.
    Cancelling,
}

/// The step that a cancel requires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum CancelStep {
    /// The operation was not pushed: withdraw its request.
    Withdraw,
    /// Ask the driver.
    AskDriver,
    /// The driver has been asked already, or the operation has ended.
    Nothing,
}

/// The owner of a completion, and which of its operations has completed.
pub(crate) struct Recipient {
    pub(crate) owner: Rc<dyn Owner>,
    pub(crate) tag: Tag,
    pub(crate) progress: Progress,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            generations: Vec::new(),
            slots: Slab::new(),
            index_max: Key::INDEX_MAX,
            stale_completions: 0,
            holding_clock_count: 0,
        }
    }

    /// Makes a slot for an operation. `None` if there are [`Key::INDEX_MAX`] + 1 already.
    pub(crate) fn insert(
        &mut self,
        owner: Rc<dyn Owner>,
        tag: Tag,
        request: &Request,
    ) -> Option<Key> {
        let index = self.slots.vacant_key();
        if index > self.index_max as usize {
            return None;
        }
        let holds_clock = request.holds_clock();
        self.holding_clock_count += usize::from(holds_clock);
        self.slots.insert(Slot {
            owner,
            tag,
            progress: request.progress(),
            is_repeatable: request.is_repeatable(),
            holds_clock,
            state: SlotState::Waiting,
            is_suspect: false,
        });
        if index == self.generations.len() {
            self.generations.push(GENERATION_FIRST);
        }
        Some(Key::new(index as u32, self.generations[index], tag))
    }

    /// Notes that the driver has taken the request: from now on only the final completion ends the
    /// slot.
    pub(crate) fn pushed(&mut self, key: Key) {
        let slot = self.find_mut(key).expect("a pushed operation has a slot");
        assert_eq!(slot.state, SlotState::Waiting, "{key:?} was pushed twice");
        slot.state = SlotState::InFlight;
    }

    pub(crate) fn cancel(&mut self, key: Key) -> CancelStep {
        let Some(slot) = self.find_mut(key) else {
            return CancelStep::Nothing;
        };
        match slot.state {
            SlotState::Waiting => {
                slot.state = SlotState::Withdrawn;
                CancelStep::Withdraw
            }
            SlotState::InFlight => {
                slot.state = SlotState::Cancelling;
                CancelStep::AskDriver
            }
            SlotState::Withdrawn | SlotState::Cancelling => CancelStep::Nothing,
        }
    }

    /// Finds the recipient of a completion. A final one ends the slot.
    pub(crate) fn complete(&mut self, completion: Completion) -> Option<Recipient> {
        let Completion { key, result: _, flags } = completion;
        let Some(slot) = self.find_mut(key) else {
            self.stale_completions += 1;
            if cfg!(all(debug_assertions, not(test))) {
                panic!("a completion without an operation: {completion:?}");
            }
            return None;
        };
        let is_known = matches!(slot.state, SlotState::InFlight | SlotState::Cancelling);
        assert!(is_known, "{key:?} has completed while {:?}", slot.state);
        assert_eq!(slot.tag, key.tag(), "{key:?} has another tag than its slot");
        slot.is_suspect = false;
        if flags.more() {
            let Slot { ref owner, tag, progress, .. } = *slot;
            return Some(Recipient { owner: Rc::clone(owner), tag, progress });
        }
        Some(self.remove(key))
    }

    /// Ends the slot of an operation that never reached the driver.
    pub(crate) fn remove_unpushed(&mut self, key: Key) -> Recipient {
        let slot = self.find_mut(key).expect("a waiting operation has a slot");
        let is_unknown = matches!(slot.state, SlotState::Waiting | SlotState::Withdrawn);
        assert!(is_unknown, "{key:?} is known to the driver: {:?}", slot.state);
        self.remove(key)
    }

    /// Marks every operation in flight as being cancelled, for a shutdown. Returns those that had
    /// not been cancelled before, newest slot first: the kernel finds recent operations at the head
    /// of its lists, so that each of these cancels is cheap.
    pub(crate) fn cancel_all(&mut self) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.slots.len());
        for (index, slot) in &mut self.slots {
            if slot.state == SlotState::InFlight {
                slot.state = SlotState::Cancelling;
                keys.push(Key::new(index as u32, self.generations[index], slot.tag));
            }
        }
        keys.reverse();
        keys
    }

    /// Every operation that was cancelled and has not ended, so that the cancel can be repeated
    /// (H33).
    pub(crate) fn cancelling_keys(&self) -> Vec<Key> {
        let cancelling = self.slots.iter().filter(|(_, slot)| slot.state == SlotState::Cancelling);
        let key = |(index, slot): (usize, &Slot)| {
            Key::new(index as u32, self.generations[index], slot.tag)
        };
        let mut keys: Vec<Key> = cancelling.map(key).collect();
        keys.reverse();
        keys
    }

    /// Ends all slots without a result. The caller notifies the owners.
    pub(crate) fn take_all(&mut self) -> Vec<Recipient> {
        let indices: Vec<usize> = self.slots.iter().map(|(index, _)| index).collect();
        indices.into_iter().map(|index| self.remove_at(index)).collect()
    }

    /// Gives up all slots without ending them: their owners, and with them the memory and the
    /// descriptors the kernel may still use, are leaked.
    pub(crate) fn leak(&mut self) -> usize {
        let count = self.slots.len();
        self.holding_clock_count = 0;
        std::mem::forget(std::mem::take(&mut self.slots));
        count
    }

    /// What the watchdog looks at: the `suspects` that are still in flight, and up to `count_max`
    /// of the others from the slot `cursor` on. Also returns where the next look begins.
    pub(crate) fn watched(
        &self,
        suspects: &[Key],
        cursor: usize,
        count_max: usize,
    ) -> (Vec<Watched>, usize) {
        let slots_count = self.generations.len();
        let cursor = if cursor < slots_count { cursor } else { 0 };
        let end = slots_count.min(cursor + count_max);
        // An operation that has completed since is no suspect any more, and waits for its turn.
        let is_still = |key: &&Key| self.find(**key).is_some_and(|slot| slot.is_suspect);
        let suspects = suspects.iter().filter(is_still);
        let mut watched: Vec<Watched> =
            suspects.filter_map(|key| self.watch(key.index())).collect();
        let is_suspect = |index: &usize| self.slots.get(*index).is_some_and(|slot| slot.is_suspect);
        let others = (cursor..end).filter(|index| !is_suspect(index));
        let others = others.filter_map(|index| self.watch(index as u32));
        watched.extend(others);
        (watched, end)
    }

    /// Notes that an operation should complete: its descriptor is ready, or it was cancelled again.
    /// Returns whether it was noted before, with no completion since.
    pub(crate) fn suspect(&mut self, key: Key) -> bool {
        self.find_mut(key).is_some_and(|slot| std::mem::replace(&mut slot.is_suspect, true))
    }

    /// Whether the driver was asked to end the operation, and it has not ended.
    pub(crate) fn is_cancelling(&self, key: Key) -> bool {
        self.find(key).is_some_and(|slot| slot.state == SlotState::Cancelling)
    }

    /// Whether the owner submits again, without a loss, when the operation ends as cancelled.
    pub(crate) fn is_repeatable(&self, key: Key) -> bool {
        self.find(key).is_some_and(|slot| slot.is_repeatable)
    }

    /// Operations in flight whose owners submit again, without a loss, when they end as cancelled.
    pub(crate) fn repeatable_keys(&self) -> Vec<Key> {
        let in_flight = self.slots.iter().filter(|(_, slot)| slot.state == SlotState::InFlight);
        let repeatable = in_flight.filter(|(_, slot)| slot.is_repeatable);
        let key = |(index, slot): (usize, &Slot)| {
            Key::new(index as u32, self.generations[index], slot.tag)
        };
        repeatable.map(key).collect()
    }

    /// Ends the slot of an operation whose completion the kernel has dropped.
    pub(crate) fn remove_silent(&mut self, key: Key) -> Recipient {
        assert!(self.is_cancelling(key), "{key:?} has not been cancelled");
        self.remove(key)
    }

    /// How many slots there have been at once.
    pub(crate) fn slot_count(&self) -> usize {
        self.generations.len()
    }

    /// Whether the operation waits to be pushed and has not been cancelled.
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.find(key).is_some_and(|slot| slot.state == SlotState::Waiting)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Operations that have not ended and that a paused clock waits for.
    pub(crate) fn holding_clock_count(&self) -> usize {
        self.holding_clock_count
    }

    #[cfg(test)]
    pub(crate) fn set_index_max(&mut self, index_max: u32) {
        self.index_max = index_max;
    }

    /// Completions that matched no slot.
    pub(crate) fn stale_completions(&self) -> u64 {
        self.stale_completions
    }

    fn remove(&mut self, key: Key) -> Recipient {
        self.remove_at(key.index() as usize)
    }

    fn remove_at(&mut self, index: usize) -> Recipient {
        let Slot { owner, tag, progress, holds_clock, .. } = self.slots.remove(index);
        self.holding_clock_count -= usize::from(holds_clock);
        self.generations[index] = self.generations[index].wrapping_add(1);
        Recipient { owner, tag, progress }
    }

    fn watch(&self, index: u32) -> Option<Watched> {
        let slot = self.slots.get(index as usize)?;
        if slot.state != SlotState::InFlight {
            return None;
        }
        let (fd, interest) = slot.owner.watched(slot.tag)?;
        Some((Key::new(index, self.generations[index as usize], slot.tag), fd, interest))
    }

    fn find(&self, key: Key) -> Option<&Slot> {
        let index = key.index() as usize;
        if self.generations.get(index) != Some(&key.generation()) {
            return None;
        }
        self.slots.get(index)
    }

    fn find_mut(&mut self, key: Key) -> Option<&mut Slot> {
        let index = key.index() as usize;
        if self.generations.get(index) != Some(&key.generation()) {
            return None;
        }
        self.slots.get_mut(index)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::driver::request::Flags;
    use crate::op::OpResult;

    /// An owner that ignores what it is called for.
    pub(in crate::reactor) struct Unwatched;

    impl Owner for Unwatched {
        fn complete(self: Rc<Self>, _tag: Tag, _answer: OpResult) {}
        fn abandon(self: Rc<Self>, _tag: Tag, _code: i32) {}
        fn watched(&self, _tag: Tag) -> Option<(RawFd, Interest)> {
            None
        }
        fn prepare(self: Rc<Self>) {}
    }

    const REQUEST: Request = Request::Recv { fd: -1, poll_first: false };

    fn slots_with_one() -> (Slots, Key) {
        let mut slots = Slots::new();
        let key = slots.insert(Rc::new(Unwatched), 1, &REQUEST).unwrap();
        slots.pushed(key);
        (slots, key)
    }

    fn completion(key: Key, flags: Flags) -> Completion {
        Completion { key, result: 0, flags }
    }

    /// Goal: a reused slot never receives the completion of its former operation (H35).
    /// Method: end an operation, start another in the same slot, complete the first again.
    /// Kills: `remove` leaving the generation alone; `find_mut` comparing the index only.
    #[test]
    fn a_late_completion_names_no_operation() {
        let (mut slots, first) = slots_with_one();
        assert!(slots.complete(completion(first, Flags::NONE)).is_some());
        let second = slots.insert(Rc::new(Unwatched), 1, &REQUEST).unwrap();
        slots.pushed(second);
        assert_eq!(first.index(), second.index(), "the slot is reused");

        assert!(slots.complete(completion(first, Flags::NONE)).is_none());
        assert_eq!(slots.stale_completions(), 1);
        assert_eq!(slots.len(), 1, "the second operation lives");
        assert_eq!(slots.cancel(first), CancelStep::Nothing);
        assert_eq!(slots.cancel(second), CancelStep::AskDriver);
    }

    /// Goal: the keys of a new loop are not small numbers.
    /// Method: the first key of three new slots. Kills: a first generation of 0.
    #[test]
    fn the_first_generation_is_one() {
        let mut slots = Slots::new();
        for index in 0..3 {
            let key = slots.insert(Rc::new(Unwatched), 1, &REQUEST).unwrap();
            assert_eq!((key.index(), key.generation()), (index, 1));
        }
    }

    /// Goal: generations wrap without confusion.
    /// Method: start at the last generation. Kills: `+ 1` without wrapping.
    #[test]
    fn generations_wrap_without_confusion() {
        let (mut slots, key) = slots_with_one();
        slots.complete(completion(key, Flags::NONE));
        slots.generations[0] = u32::MAX;
        let last = slots.insert(Rc::new(Unwatched), 1, &REQUEST).unwrap();
        slots.pushed(last);
        assert!(slots.complete(completion(last, Flags::NONE)).is_some());
        assert_eq!(slots.insert(Rc::new(Unwatched), 1, &REQUEST).unwrap().generation(), 0);
    }

    /// Goal: only the final completion frees a slot, and a cancel frees nothing (H30, H49).
    /// Method: MORE, cancel, MORE, final. Kills: freeing on any completion or on cancel.
    #[test]
    fn only_the_final_completion_ends_a_slot() {
        let (mut slots, key) = slots_with_one();
        assert!(slots.complete(completion(key, Flags::NONE.with_more())).is_some());
        assert_eq!(slots.cancel(key), CancelStep::AskDriver);
        assert_eq!(slots.cancel(key), CancelStep::Nothing, "asked once");
        assert!(slots.complete(completion(key, Flags::NONE.with_more())).is_some());
        assert_eq!(slots.len(), 1);
        assert!(slots.complete(completion(key, Flags::NONE)).is_some());
        assert_eq!(slots.len(), 0);
    }
}
