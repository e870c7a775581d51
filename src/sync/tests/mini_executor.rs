//! A loop without a driver, for enumerations: a ready queue with the real rechecks on it, and one
//! task per waiter.
//!
//! An enumeration decides when an entry of the queue runs, and which woken waiters are polled.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crate::loop_id::LoopId;
use crate::task::queue::{self, Entered, Queue, Ready, Recheck, push_recheck};

/// The loop of this thread.
pub(in crate::sync) struct MiniExecutor {
    queue: Rc<Queue>,
    number: u64,
    tasks: Vec<Arc<TestTask>>,
    _entered: Entered,
}

/// An entry of the ready queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::sync) enum Entry {
    /// The caller polls the waiter, if anything polls it.
    Task(usize),
    Recheck,
}

struct TestTask {
    index: usize,
    is_queued: AtomicBool,
}

/// Stands in for a task on the ready queue.
struct StandIn;

#[derive(Default)]
struct Shared {
    queue: Rc<Queue>,
    /// What the entries of `queue` stand for. Entries at the end that are missing are rechecks.
    entries: VecDeque<Entry>,
    /// Tasks that become ready when the running one has returned, which is one of them.
    deferred: Option<Vec<usize>>,
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::default();
}

impl MiniExecutor {
    pub(in crate::sync) fn new(tasks_count: usize) -> MiniExecutor {
        let queue = Rc::new(Queue::default());
        let id = LoopId::new();
        let entered = queue::enter(&id, &queue);
        SHARED.set(Shared { queue: Rc::clone(&queue), ..Shared::default() });
        let task = |index| Arc::new(TestTask { index, is_queued: AtomicBool::new(false) });
        let tasks = (0..tasks_count).map(task).collect();
        MiniExecutor { queue, number: id.number(), tasks, _entered: entered }
    }

    pub(in crate::sync) fn waker(&self, index: usize) -> Waker {
        Waker::from(Arc::clone(&self.tasks[index]))
    }

    /// Runs `run` as a part of the poll of a task that waits itself: tasks that it wakes become
    /// ready when it has returned, behind a recheck that it has queued.
    pub(in crate::sync) fn in_a_waiting_task(&self, run: impl FnOnce()) {
        SHARED.with_borrow_mut(|shared| shared.deferred = Some(Vec::new()));
        run();
        let deferred = SHARED.with_borrow_mut(|shared| shared.deferred.take());
        deferred.into_iter().flatten().for_each(push);
    }

    /// Runs the first entry of the queue, and returns it.
    pub(in crate::sync) fn run_next(&self) -> Option<Entry> {
        let entry = SHARED.with_borrow_mut(|shared| {
            shared.complete_entries();
            shared.entries.pop_front()
        })?;
        if let Entry::Task(index) = entry {
            self.tasks[index].is_queued.store(false, Ordering::Relaxed);
        }
        let Some(Ready::Recheck(recheck)) = self.queue.pop() else {
            unreachable!("every entry is a recheck, or stands in for a task")
        };
        recheck.recheck(self.number);
        Some(entry)
    }

    /// The entries of the queue, in order.
    pub(in crate::sync) fn entries(&self) -> Vec<Entry> {
        SHARED.with_borrow_mut(|shared| {
            shared.complete_entries();
            shared.entries.iter().copied().collect()
        })
    }
}

impl Shared {
    fn complete_entries(&mut self) {
        self.entries.resize(self.queue.len(), Entry::Recheck);
    }
}

impl Wake for TestTask {
    fn wake(self: Arc<Self>) {
        if self.is_queued.swap(true, Ordering::Relaxed) {
            return;
        }
        let is_deferred = SHARED.with_borrow_mut(|shared| {
            shared.deferred.as_mut().map(|deferred| deferred.push(self.index)).is_some()
        });
        if !is_deferred {
            push(self.index);
        }
    }
}

fn push(index: usize) {
    SHARED.with_borrow_mut(|shared| {
        shared.complete_entries();
        shared.entries.push_back(Entry::Task(index));
    });
    push_recheck(&Rc::new(StandIn), 0);
}

impl Recheck for StandIn {
    fn recheck(self: Rc<Self>, _loop_number: u64) {}
}
