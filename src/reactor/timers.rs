//! Timers: a heap of deadlines.
//!
//! A heap keyed `(deadline, sequence)` in which every entry stores its index, so that a cancelled
//! timer is removed at once and leaves nothing behind. Timers never expire early, equal deadlines
//! expire in the order they were set, and a deadline in the past expires in the next turn.
//!
//! Four children per node: a timeout that is re-armed later and later, the common case of a server,
//! is inserted at the bottom without a swap, and a removal walks half the levels of a binary heap
//! over keys that lie side by side.
//!
//! **Invariant.** `entries[heap[i].entry].position == i` for every `i` (checked by `check` after
//! each step of the model test).
//!
//! **Absent on purpose.** No clock: the caller passes the time. No user code: what expired is
//! returned to the caller, which runs it once this table is no longer borrowed.

use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use super::owner::Expire;

const CHILDREN: usize = 4;

#[derive(Default)]
pub(crate) struct Timers {
    heap: Vec<Node>,
    entries: Slab<Entry>,
    sequence: u64,
}

/// Names one timer. Stale once it has expired or was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    entry: u32,
    /// Unique for each timer of a loop, so it doubles as the generation.
    sequence: u64,
}

/// The action of a timer that expires.
pub(crate) enum Expiry {
    Wake(Waker),
    Call(Rc<dyn Expire>),
}

/// Whether a timer is pending, as `look` finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Pending {
    No,
    Yes,
    /// Pending, and wakes another waker.
    ForAnother,
}

#[derive(Clone, Copy)]
struct Node {
    deadline_ns: u64,
    sequence: u64,
    entry: u32,
}

struct Entry {
    position: u32,
    expiry: Expiry,
}

impl Node {
    fn key(&self) -> (u64, u64) {
        (self.deadline_ns, self.sequence)
    }
}

#[cfg(test)]
impl TimerKey {
    /// A key of no timer.
    pub(crate) fn for_tests(sequence: u64) -> TimerKey {
        TimerKey { entry: 0, sequence }
    }
}

impl Timers {
    pub(crate) fn insert(&mut self, deadline_ns: u64, expiry: Expiry) -> TimerKey {
        let position = self.heap.len();
        let sequence = self.sequence;
        self.sequence += 1;
        let entry = self.entries.insert(Entry { position: position as u32, expiry }) as u32;
        self.heap.push(Node { deadline_ns, sequence, entry });
        self.sift_up(position);
        TimerKey { entry, sequence }
    }

    /// Removes a timer before it expires. `None` if it has expired or was removed already.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Expiry> {
        let position = self.position(key)?;
        Some(self.remove_at(position))
    }

    #[cfg(test)]
    pub(super) fn set_count(&self) -> u64 {
        self.sequence
    }

    #[cfg(test)]
    fn contains(&self, key: TimerKey) -> bool {
        self.position(key).is_some()
    }

    /// Whether a timer is still pending, and wakes `waker` already.
    pub(crate) fn look(&self, key: TimerKey, waker: &Waker) -> Pending {
        if self.position(key).is_none() {
            return Pending::No;
        }
        match &self.entries[key.entry as usize].expiry {
            Expiry::Wake(current) if current.will_wake(waker) => Pending::Yes,
            Expiry::Wake(_) | Expiry::Call(_) => Pending::ForAnother,
        }
    }

    /// Replaces what a pending timer wakes. Returns the former waker, for the caller to drop when
    /// nothing is borrowed.
    pub(crate) fn replace_waker(&mut self, key: TimerKey, waker: Waker) -> Expiry {
        assert!(self.position(key).is_some(), "{key:?} is not pending");
        let expiry = &mut self.entries[key.entry as usize].expiry;
        std::mem::replace(expiry, Expiry::Wake(waker))
    }

    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        self.heap.first().map(|node| node.deadline_ns)
    }

    /// Takes the earliest timer that is due at `now_ns`.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<Expiry> {
        let first = self.heap.first()?;
        (first.deadline_ns <= now_ns).then(|| self.remove_at(0))
    }

    /// Takes the pending timers that `is_wanted` picks, in the order of their setting.
    pub(crate) fn take(&mut self, is_wanted: impl Fn(&Expiry) -> bool) -> Vec<Expiry> {
        let mut wanted: Vec<TimerKey> = self
            .heap
            .iter()
            .filter(|node| is_wanted(&self.entries[node.entry as usize].expiry))
            .map(|&Node { entry, sequence, .. }| TimerKey { entry, sequence })
            .collect();
        wanted.sort_by_key(|key| key.sequence);
        wanted.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn position(&self, key: TimerKey) -> Option<usize> {
        let position = self.entries.get(key.entry as usize)?.position as usize;
        (self.heap[position].sequence == key.sequence).then_some(position)
    }

    fn remove_at(&mut self, position: usize) -> Expiry {
        let node = self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.place(position, self.heap[position]);
            self.sift_up(position);
            self.sift_down(position);
        }
        self.entries.remove(node.entry as usize).expiry
    }

    fn sift_up(&mut self, mut position: usize) {
        let node = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / CHILDREN;
            if self.heap[parent].key() <= node.key() {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, node);
    }

    fn sift_down(&mut self, mut position: usize) {
        let node = self.heap[position];
        loop {
            let first = position * CHILDREN + 1;
            let last = (first + CHILDREN).min(self.heap.len());
            let Some(child) = (first..last).min_by_key(|&child| self.heap[child].key()) else {
                break;
            };
            if node.key() <= self.heap[child].key() {
                break;
            }
            self.place(position, self.heap[child]);
            position = child;
        }
        self.place(position, node);
    }

    fn place(&mut self, position: usize, node: Node) {
        self.heap[position] = node;
        self.entries[node.entry as usize].position = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn expiry() -> Expiry {
        Expiry::Wake(Waker::noop().clone())
    }

    fn check(timers: &Timers) {
        assert_eq!(timers.heap.len(), timers.entries.len());
        for (position, node) in timers.heap.iter().enumerate() {
            assert_eq!(timers.entries[node.entry as usize].position as usize, position);
            if position > 0 {
                assert!(timers.heap[(position - 1) / CHILDREN].key() <= node.key());
            }
        }
    }

    /// Goal: the heap agrees with an ordered map whatever is inserted, removed and expired.
    /// Method: 20 000 seeded steps against a `BTreeMap`, checking every place after each.
    /// Kills: a sift in one direction only after a removal; a place not written back.
    #[test]
    fn timers_agree_with_an_ordered_map() {
        let mut timers = Timers::default();
        let mut model: BTreeMap<(u64, u64), TimerKey> = BTreeMap::new();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut now_ns = 0;
        for _ in 0..20_000 {
            match random() % 8 {
                0..=3 => {
                    let deadline_ns = now_ns + random() % 50;
                    let key = timers.insert(deadline_ns, expiry());
                    model.insert((deadline_ns, key.sequence), key);
                }
                4..=5 if !model.is_empty() => {
                    let nth = random() as usize % model.len();
                    let (&at, &key) = model.iter().nth(nth).unwrap();
                    model.remove(&at);
                    assert!(timers.contains(key));
                    assert!(timers.remove(key).is_some());
                    assert!(timers.remove(key).is_none(), "removed twice");
                }
                _ => {
                    now_ns += random() % 20;
                    while let Some((&(deadline_ns, sequence), &key)) = model.first_key_value() {
                        assert_eq!(timers.next_deadline_ns(), Some(deadline_ns));
                        assert_eq!(timers.heap[0].sequence, sequence, "order of equal deadlines");
                        if deadline_ns > now_ns {
                            break;
                        }
                        assert!(timers.pop_due(now_ns).is_some());
                        assert!(!timers.contains(key));
                        model.remove(&(deadline_ns, sequence));
                    }
                    assert!(timers.pop_due(now_ns).is_none(), "expired early");
                }
            }
            check(&timers);
        }
    }

    /// Goal: a million timers set and cancelled leave nothing behind.
    /// Method: set and cancel one at a time with a few pending, then look at the sizes.
    /// Kills: marking a timer as cancelled and leaving it in the heap.
    #[test]
    fn cancelled_timers_leave_nothing_behind() {
        let mut timers = Timers::default();
        for deadline_ns in 0..1_000_000 {
            let key = timers.insert(deadline_ns, expiry());
            assert!(timers.remove(key).is_some());
        }
        assert_eq!((timers.len(), timers.entries.len()), (0, 0));
        assert!(timers.heap.capacity() < 16 && timers.entries.capacity() < 16);
    }

    /// Goal: a key of an expired timer does not name the timer that took its entry.
    /// Method: expire one, set another, remove by the first key. Kills: keys without sequence.
    #[test]
    fn a_stale_key_names_no_timer() {
        let mut timers = Timers::default();
        let first = timers.insert(1, expiry());
        assert!(timers.pop_due(1).is_some());
        let second = timers.insert(2, expiry());
        assert_eq!(first.entry, second.entry);
        assert!(timers.remove(first).is_none());
        assert!(timers.contains(second));
    }
}
