//! What the enumerations of this module share: tasks that a test polls, and the ready queue of a
//! loop that does not turn.

mod hostile;
pub(super) mod interleavings;
pub(super) mod mini_executor;
pub(super) mod waits;

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::loop_id::LoopId;
use crate::task::queue::{Entered, Queue, Ready, enter};

/// A task that waits, which counts its wakes.
#[derive(Clone, Default)]
pub(super) struct Counter(Arc<Count>);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Whether the task was woken since the last call.
    pub(super) fn was_woken(&self) -> bool {
        self.0.0.swap(0, Ordering::Relaxed) > 0
    }

    /// Polls a future of this task once.
    pub(super) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker()))
    }
}

/// The ready queue of a loop that does not turn. Only rechecks are on it.
pub(super) struct ReadyQueue {
    id: LoopId,
    queue: Rc<Queue>,
    _entered: Entered,
}

impl ReadyQueue {
    pub(super) fn new() -> ReadyQueue {
        let (id, queue) = (LoopId::new(), Rc::new(Queue::default()));
        let _entered = enter(&id, &queue);
        ReadyQueue { id, queue, _entered }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Runs the first entry.
    pub(super) fn run_next(&self) {
        match self.queue.pop() {
            Some(Ready::Recheck(recheck)) => recheck.recheck(self.id.number()),
            _ => panic!("only rechecks are queued here"),
        }
    }
}

/// Futures of several tasks, and the order in which they were woken.
pub(super) struct Tasks<T> {
    tasks: Vec<Task<T>>,
    woken: Arc<Mutex<VecDeque<usize>>>,
    /// The tasks that wait, in the order in which they began to.
    order: Vec<usize>,
}

struct Task<T> {
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
    /// Alive and never polled again.
    is_stalled: bool,
    /// The number of rechecks that ran since it was woken, up to two.
    rechecks: Option<u8>,
}

/// What later events depend on, of one task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TaskKey {
    is_stalled: bool,
    rechecks: Option<u8>,
}

struct TaskWaker {
    index: usize,
    woken: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push_back(self.index);
    }
}

impl<T> Tasks<T> {
    pub(super) fn new(count: usize) -> Tasks<T> {
        let task = |_| Task { future: None, is_stalled: false, rechecks: None };
        let tasks = (0..count).map(task).collect();
        Tasks { tasks, woken: Arc::default(), order: Vec::new() }
    }

    /// Whether the task has no future.
    pub(super) fn is_idle(&self, index: usize) -> bool {
        self.tasks[index].future.is_none()
    }

    pub(super) fn is_stalled(&self, index: usize) -> bool {
        self.tasks[index].is_stalled
    }

    pub(super) fn begin(&mut self, index: usize, future: impl Future<Output = T> + 'static) {
        self.tasks[index].future = Some(Box::pin(future));
    }

    /// Polls the future of a task once.
    pub(super) fn poll(&mut self, index: usize) -> Poll<T> {
        let waker = TaskWaker { index, woken: Arc::clone(&self.woken) };
        let task = &mut self.tasks[index];
        task.rechecks = None;
        self.woken.lock().unwrap().retain(|woken| *woken != index);
        let future = task.future.as_mut().expect("a future");
        let polled = future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(waker))));
        if polled.is_ready() {
            task.future = None;
            self.order.retain(|waiting| *waiting != index);
        } else if !self.order.contains(&index) {
            self.order.push(index);
        }
        self.note_wakes();
        polled
    }

    /// Drops the future of a task.
    pub(super) fn cancel(&mut self, index: usize) {
        self.tasks[index].future = None;
        self.tasks[index].rechecks = None;
        self.woken.lock().unwrap().retain(|woken| *woken != index);
        self.order.retain(|waiting| *waiting != index);
        self.note_wakes();
    }

    pub(super) fn stall(&mut self, index: usize) {
        self.tasks[index].is_stalled = true;
    }

    /// Reads which tasks were woken. Called after each event.
    pub(super) fn note_wakes(&mut self) {
        for &index in &*self.woken.lock().unwrap() {
            self.tasks[index].rechecks.get_or_insert(0);
        }
    }

    pub(super) fn note_recheck(&mut self) {
        for task in &mut self.tasks {
            task.rechecks = task.rechecks.map(|count| 2.min(count + 1));
        }
        self.note_wakes();
    }

    /// The first task that was woken and may be polled.
    pub(super) fn next_woken(&self) -> Option<usize> {
        let woken = self.woken.lock().unwrap();
        woken.iter().copied().find(|index| !self.tasks[*index].is_stalled)
    }

    /// Whether a task waits that was not woken.
    pub(super) fn is_any_asleep(&self) -> bool {
        self.order.iter().any(|index| self.tasks[*index].rechecks.is_none())
    }

    /// Whether a task was woken so long ago that others may overtake it.
    pub(super) fn is_any_passed_over(&self) -> bool {
        self.tasks.iter().any(|task| task.rechecks == Some(2))
    }

    /// The tasks that wait and may be polled, in the order in which they began to wait.
    pub(super) fn waiting(&self) -> Vec<usize> {
        self.order.iter().copied().filter(|index| !self.tasks[*index].is_stalled).collect()
    }

    pub(super) fn key(&self) -> (Vec<usize>, Vec<TaskKey>, Vec<usize>) {
        let keys = self
            .tasks
            .iter()
            .map(|task| TaskKey { is_stalled: task.is_stalled, rechecks: task.rechecks });
        let woken = self.woken.lock().unwrap().iter().copied().collect();
        (self.order.clone(), keys.collect(), woken)
    }
}
