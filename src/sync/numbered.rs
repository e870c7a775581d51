//! Values in the order of their numbers, in one allocation.
//!
//! Numbers are handed out in ascending order, and most values are inserted at the end and removed
//! from the front. Both cost O(1) and allocate nothing once the queue has its capacity. A value in
//! the middle is found by binary search; its slot stays as a gap until it is at an end, or until
//! gaps outnumber values.

use std::collections::{VecDeque, vec_deque};

/// Gaps up to this number are never compacted.
const GAPS_MIN: usize = 8;

/// Values in the order of their numbers.
///
/// **Invariant.** Numbers ascend, and neither the first slot nor the last is a gap.
pub(super) struct Numbered<T> {
    slots: VecDeque<(u64, Option<T>)>,
    /// The number of slots that are no gaps.
    count: usize,
}

/// The values that were in a [`Numbered`], in order.
pub(super) struct IntoValues<T>(vec_deque::IntoIter<(u64, Option<T>)>);

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { slots: VecDeque::new(), count: 0 }
    }
}

impl<T> Numbered<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn first(&self) -> Option<(u64, &T)> {
        self.iter().next()
    }

    /// The values with their numbers, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.slots.iter().filter_map(|(number, value)| value.as_ref().map(|value| (*number, value)))
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let index = self.index_of(number).ok()?;
        self.slots[index].1.as_ref()
    }

    /// Inserts a value, and returns the one that it replaces.
    pub(super) fn insert(&mut self, number: u64, value: T) -> Option<T> {
        let former = match self.index_of(number) {
            Ok(index) => self.slots[index].1.replace(value),
            Err(index) => {
                self.slots.insert(index, (number, Some(value)));
                None
            }
        };
        self.count += usize::from(former.is_none());
        former
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let index = self.index_of(number).ok()?;
        let value = self.slots[index].1.take()?;
        self.count -= 1;
        self.trim();
        Some(value)
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, T)> {
        let (number, value) = self.slots.pop_front()?;
        self.count -= 1;
        self.trim();
        Some((number, value.expect("the first slot is no gap")))
    }

    /// Removes all values.
    pub(super) fn take(&mut self) -> IntoValues<T> {
        IntoValues(std::mem::take(self).slots.into_iter())
    }

    /// Keeps the values for which `keep` returns true. It may change them.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.slots.retain_mut(|(_, value)| value.as_mut().is_some_and(&mut keep));
        self.count = self.slots.len();
    }

    /// The index of the slot with this number, or the index at which to insert it. Both ends, where
    /// most searches end, are compared first.
    fn index_of(&self, number: u64) -> Result<usize, usize> {
        match (self.slots.front(), self.slots.back()) {
            (Some((first, _)), _) if number <= *first => {
                if number == *first {
                    Ok(0)
                } else {
                    Err(0)
                }
            }
            (_, Some((last, _))) if number > *last => Err(self.slots.len()),
            _ => self.slots.binary_search_by_key(&number, |(number, _)| *number),
        }
    }

    /// Restores the invariant after a removal, and bounds the number of gaps.
    fn trim(&mut self) {
        while self.slots.front().is_some_and(|(_, value)| value.is_none()) {
            self.slots.pop_front();
        }
        while self.slots.back().is_some_and(|(_, value)| value.is_none()) {
            self.slots.pop_back();
        }
        if self.slots.len() - self.count > self.count.max(GAPS_MIN) {
            self.slots.retain(|(_, value)| value.is_some());
        }
    }
}

impl<T> Iterator for IntoValues<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.find_map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Few numbers, so that they meet often; and enough that gaps are compacted.
    const NUMBERS: u64 = 24;

    /// Goal: the queue is a map in the order of numbers, and its gaps are bounded.
    ///
    /// Method: random insertions, removals and replacements against a `BTreeMap`, by a generator
    /// with a fixed seed; after each, every operation that reads.
    ///
    /// Kills: a gap that is counted as a value; a first slot that is a gap; an insertion behind a
    /// greater number; gaps that are never compacted; a replaced value that is lost.
    #[test]
    fn values_are_those_of_an_ordered_map() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (mut queue, mut map) = (Numbered::default(), BTreeMap::new());
        let mut largest_gap_count = 0;
        for value in 0..20_000 {
            let number = random(NUMBERS);
            match random(5) {
                0 => assert_eq!(queue.insert(number, value), map.insert(number, value)),
                1 | 2 => assert_eq!(queue.remove(number), map.remove(&number)),
                3 if random(4) == 0 => assert_eq!(queue.pop_first(), map.pop_first()),
                _ if random(40) == 0 => {
                    queue.retain(|value| *value % 3 != 0);
                    map.retain(|_, value| *value % 3 != 0);
                }
                _ if random(40) == 0 => {
                    let values: Vec<i32> = queue.take().collect();
                    assert_eq!(values, std::mem::take(&mut map).into_values().collect::<Vec<_>>());
                }
                _ => (0..NUMBERS).for_each(|number| {
                    assert_eq!(queue.insert(number, value), map.insert(number, value));
                }),
            }
            assert_eq!(queue.len(), map.len());
            assert_eq!(queue.is_empty(), map.is_empty());
            assert_eq!(
                queue.first(),
                map.first_key_value().map(|(number, value)| (*number, value))
            );
            assert!(queue.iter().eq(map.iter().map(|(number, value)| (*number, value))));
            assert_eq!(queue.get(number), map.get(&number));
            let gap_count = queue.slots.len() - queue.count;
            assert!(gap_count <= queue.count.max(GAPS_MIN), "{gap_count} of {}", queue.count);
            largest_gap_count = largest_gap_count.max(gap_count);
        }
        assert!(largest_gap_count >= GAPS_MIN, "{largest_gap_count}: compacted too early");
    }
}
