//! The orders of the queues.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::core::Store;

/// First in, first out.
pub(super) struct Fifo<T>(VecDeque<T>);

impl<T> Default for Fifo<T> {
    fn default() -> Fifo<T> {
        Fifo(VecDeque::new())
    }
}

impl<T> Store for Fifo<T> {
    type Item = T;

    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The smallest item first, and equal ones in the order in which they were put.
pub(super) struct Heap<T: Ord> {
    heap: BinaryHeap<Entry<T>>,
    next_number: u64,
}

impl<T: Ord> Default for Heap<T> {
    fn default() -> Heap<T> {
        Heap { heap: BinaryHeap::new(), next_number: 0 }
    }
}

impl<T: Ord> Store for Heap<T> {
    type Item = T;

    fn push(&mut self, item: T) {
        let number = self.next_number;
        self.next_number += 1;
        self.heap.push(Entry { item, number });
    }

    fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|entry| entry.item)
    }

    fn len(&self) -> usize {
        self.heap.len()
    }
}

struct Entry<T> {
    item: T,
    number: u64,
}

/// The greatest entry is the one that is taken first.
impl<T: Ord> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.item.cmp(&self.item).then(other.number.cmp(&self.number))
    }
}

impl<T: Ord> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: Ord> Eq for Entry<T> {}
