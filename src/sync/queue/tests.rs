//! Every order of events of a queue with two producers and two consumers.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use super::*;
use crate::enumeration::visit_all;
use crate::sync::tests::{ReadyQueue, TaskKey, Tasks};

/// Tasks below this number get, the others put.
const GETTERS: usize = 2;
const TASKS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    Poll(usize),
    Cancel(usize),
    /// The future of a task stays alive and is never polled again.
    Stall(usize),
    Recheck,
    Shutdown(bool),
}

/// The outcome of a task: an item that was taken, whether an item was put, or neither.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Got(u32),
    Put(u32),
    ShutDown,
}

struct Rig {
    tasks: Tasks<Outcome>,
    queue: Rc<Queue<u32>>,
    next_item: u32,
    /// What is in the queue.
    items: VecDeque<u32>,
    taken_count: usize,
    ready: ReadyQueue,
}

type Key = (Vec<usize>, Vec<TaskKey>, Vec<usize>, usize, bool, usize);

impl Rig {
    fn new() -> Rig {
        let ready = ReadyQueue::new();
        let (tasks, queue) = (Tasks::new(TASKS), Rc::new(Queue::new(1)));
        Rig { tasks, queue, next_item: 0, items: VecDeque::new(), taken_count: 0, ready }
    }

    fn is_possible(&self, event: Event) -> bool {
        match event {
            Event::Poll(task) => !self.tasks.is_stalled(task),
            Event::Cancel(task) | Event::Stall(task) => {
                !self.tasks.is_idle(task) && !self.tasks.is_stalled(task)
            }
            Event::Recheck => self.ready.len() > 0,
            Event::Shutdown(_) => !self.queue.is_shut_down(),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Poll(task) => self.poll(task),
            Event::Cancel(task) => self.tasks.cancel(task),
            Event::Stall(task) => self.tasks.stall(task),
            Event::Recheck => {
                self.ready.run_next();
                self.tasks.note_recheck();
            }
            Event::Shutdown(is_immediate) => {
                self.queue.shutdown(is_immediate);
                if is_immediate {
                    self.items.clear();
                }
            }
        }
        self.tasks.note_wakes();
        assert_eq!(self.queue.len(), self.items.len());
        assert_eq!(self.queue.unfinished(), self.items.len() + self.taken_count);
    }

    fn poll(&mut self, task: usize) {
        if self.tasks.is_idle(task) {
            let (queue, item) = (Rc::clone(&self.queue), self.next_item);
            if task < GETTERS {
                self.tasks.begin(task, async move {
                    queue.get().await.map_or(Outcome::ShutDown, Outcome::Got)
                });
            } else {
                self.next_item += 1;
                self.tasks.begin(task, async move {
                    let put = queue.put(item).await;
                    put.map_or(Outcome::ShutDown, |()| Outcome::Put(item))
                });
            }
        }
        let is_shut_down = self.queue.is_shut_down();
        match self.tasks.poll(task) {
            Poll::Pending => assert!(!is_shut_down || (task < GETTERS && !self.items.is_empty())),
            Poll::Ready(Outcome::ShutDown) => {
                assert!(is_shut_down && (task >= GETTERS || self.items.is_empty()));
            }
            Poll::Ready(Outcome::Put(item)) => {
                assert!(!is_shut_down && self.items.is_empty(), "there is one place");
                self.items.push_back(item);
            }
            Poll::Ready(Outcome::Got(item)) => {
                assert_eq!(self.items.pop_front(), Some(item));
                self.taken_count += 1;
            }
        }
    }

    fn key(&self) -> Key {
        let (order, tasks, woken) = self.tasks.key();
        let is_shut_down = self.queue.is_shut_down();
        (order, tasks, woken, self.items.len(), is_shut_down, self.ready.len())
    }

    /// Runs the tasks that were woken and the ready queue, until nothing is left to run. Then no
    /// task that can be polled waits for what is there.
    fn drain(mut self) {
        loop {
            if let Some(task) = self.tasks.next_woken() {
                self.poll(task);
            } else if self.ready.len() > 0 {
                self.apply(Event::Recheck);
            } else {
                break;
            }
        }
        let waiting = self.tasks.waiting();
        let waits = |is_getter: bool| waiting.iter().any(|task| (*task < GETTERS) == is_getter);
        assert!(!waits(true) || self.items.is_empty(), "a get sleeps, and there is an item");
        assert!(!waits(false) || !self.items.is_empty(), "a put sleeps, and there is a place");
        assert!(waiting.is_empty() || !self.queue.is_shut_down(), "a task sleeps after the end");
        for _ in 0..self.taken_count {
            self.queue.task_done();
        }
        self.queue.shutdown(true);
        assert_eq!(self.queue.unfinished(), 0);
    }
}

/// Goal: in every order of events, each item that was put is taken once and in order. A `get` or
/// `put` that is cancelled or that is never polled again takes no item and no place, and holds up
/// no other task (E6). After a shutdown `put` fails, and `get` takes what is left and then fails.
///
/// Method: all orders of polls, cancels and stalls of two `get`s and a `put`, and of a `get` and
/// two `put`s, on a queue with one place, of rechecks, and of both kinds of shutdown. In each
/// state, the tasks that were woken and the ready queue run to the end.
///
/// Kills: a `get` that frees no place; a cancelled `get` that keeps its wake; a shutdown that wakes
/// no `get`, or that fails while items are left; dropped items that stay unfinished.
#[test]
fn every_order_of_events_takes_each_item_once() {
    for tasks in [[0, 1, 2], [0, 2, 3]] {
        let mut events = vec![Event::Recheck, Event::Shutdown(false), Event::Shutdown(true)];
        for task in tasks {
            events.extend([Event::Poll(task), Event::Cancel(task), Event::Stall(task)]);
        }
        let visited = visit_all(&events, |path| {
            let mut rig = Rig::new();
            for &event in path {
                if !rig.is_possible(event) {
                    return None;
                }
                rig.apply(event);
            }
            let key = rig.key();
            rig.drain();
            Some(key)
        });
        assert!(visited.states > 100, "{visited:?}");
    }
}

/// An item whose order panics, or uses its queue, when it is asked to.
struct Hostile {
    order: u32,
    queue: Rc<PriorityQueue<Hostile>>,
    is_armed: Rc<Cell<bool>>,
}

impl Ord for Hostile {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_armed.take() {
            drop(self.queue.get_nowait()); // panics
        }
        self.order.cmp(&other.order)
    }
}

impl PartialOrd for Hostile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hostile {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Hostile {}

/// Goal: an order of items that panics, or that uses the queue, leaves a queue whose counts are
/// right.
/// Method: three puts, the last of which panics in `cmp`, where the item takes from its queue; then
/// every item that the queue counts is taken.
/// Kills: a store that is lost by the panic; a permit for an item that is not there.
#[test]
fn an_order_that_panics_leaves_the_queue_usable() {
    let queue = Rc::new(PriorityQueue::new(3));
    let is_armed = Rc::new(Cell::new(false));
    let item = |order| Hostile { order, queue: Rc::clone(&queue), is_armed: Rc::clone(&is_armed) };
    queue.put_nowait(item(3)).unwrap();
    queue.put_nowait(item(2)).unwrap();
    is_armed.set(true);
    assert!(catch_unwind(AssertUnwindSafe(|| queue.put_nowait(item(1)))).is_err());
    let (len, mut taken_count) = (queue.len(), 0);
    assert!(len >= 2, "{len}");
    while queue.get_nowait().is_ok() {
        taken_count += 1;
        queue.task_done();
    }
    assert_eq!((taken_count, queue.len(), queue.unfinished()), (len, 0, 0));
    (0..3).for_each(|order| queue.put_nowait(item(order)).unwrap());
    assert!(queue.put_nowait(item(0)).is_err());
    queue.shutdown(true);
}

/// Goal: the smallest item is taken first, and equal items in the order in which they were put.
/// Method: items of three priorities, each with its number, which the order ignores.
/// Kills: a heap without numbers; the greatest item first.
#[test]
fn equal_items_are_taken_in_the_order_of_their_puts() {
    struct Job(u32, u32);
    impl Ord for Job {
        fn cmp(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
    }
    impl PartialOrd for Job {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    impl PartialEq for Job {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other) == Ordering::Equal
        }
    }
    impl Eq for Job {}

    let queue = PriorityQueue::unbounded();
    for number in 0..12 {
        queue.put_nowait(Job(number % 3, number)).ok().unwrap();
    }
    let taken = std::iter::from_fn(|| queue.get_nowait().ok().map(|job| job.1));
    assert_eq!(taken.collect::<Vec<_>>(), [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
}
