//! Spawning, running and ending tasks.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::blocking::Pool;
use super::call::Call;
use super::cell::JoinCell;
use super::coop;
use super::identity::Identity;
use super::info::{CurrentTask, TaskInfo};
use super::inherit::Inherited;
use super::join::JoinHandle;
use super::join_error::JoinError;
use super::polled::Polled;
use super::queue::{self, Queue, Ready};
use super::registry::Registry;
use super::remote::{self, Item, Remote};
use super::report::Report;
use super::scheduled::Destination;
use super::supervised::Supervised;
use crate::error::{Unhandled, try_drop};
use crate::primitives;

/// Rounds in which a shutdown wakes and drops tasks. After that, destructors that keep spawning
/// tasks are left alone.
const SHUTDOWN_ROUNDS_MAX: u32 = 100;

/// The pause after a round that found no ready task.
const SHUTDOWN_PAUSE: Duration = Duration::from_millis(1);

/// Larger futures are boxed by the first function that takes them: without optimization every call
/// copies its arguments, so each further function would need as much of the stack again. It is also
/// the size from which `async-task` allocates a future on its own.
const FUTURE_BYTES_MAX: usize = 2048;

/// Whether a public function must box a future of this type before it passes it on.
pub(crate) const fn is_large<F>() -> bool {
    size_of::<F>() > FUTURE_BYTES_MAX
}

/// The tasks of one loop.
pub(crate) struct Executor {
    queue: Rc<Queue>,
    remote: Arc<Remote>,
    reporter: Rc<dyn Report>,
    blocking: Arc<Pool>,
    registry: Rc<Registry>,
    is_closed: Cell<bool>,
    polls: Cell<u64>,
}

impl Executor {
    pub(crate) fn new(
        remote: Arc<Remote>,
        reporter: Rc<dyn Report>,
        blocking: Arc<Pool>,
    ) -> Executor {
        Executor {
            queue: Rc::default(),
            remote,
            reporter,
            blocking,
            registry: Rc::default(),
            is_closed: Cell::new(false),
            polls: Cell::new(0),
        }
    }

    /// Makes a task of `future`, which the caller has boxed if it [is large](is_large). Its first
    /// poll is in a later turn.
    pub(crate) fn spawn<F: Future + 'static>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        self.spawn_named(future, spawned_at, None)
    }

    /// Like [`spawn`](Executor::spawn), for a task that may have a name.
    pub(crate) fn spawn_named<F: Future + 'static>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
        name: Option<Arc<str>>,
    ) -> JoinHandle<F::Output> {
        self.spawn_as(future, Identity::new(name, spawned_at))
    }

    /// Like [`spawn`](Executor::spawn), for a task that has its number already.
    pub(super) fn spawn_as<F: Future + 'static>(
        &self,
        future: F,
        identity: Identity,
    ) -> JoinHandle<F::Output> {
        let cell = JoinCell::new(&self.reporter, identity);
        let handle = JoinHandle::new(Rc::clone(&cell));
        if self.is_closed.get() {
            let dropped = try_drop(future);
            cell.finish(Err(dropped.err().map_or(JoinError::Cancelled, JoinError::panicked)));
            return handle;
        }
        let inherited = Inherited::capture(); // clones values of the program
        let entry = self.registry.insert(Rc::clone(&cell) as Rc<_>);
        let supervised = Supervised::new(future, Rc::clone(&cell), entry, inherited);
        let destination = Destination::new(*self.remote.id(), Arc::clone(&self.remote) as Arc<_>);
        let task = async_task::Builder::new().metadata(destination);
        let (runnable, task) = task.spawn_local(|_destination| supervised, remote::schedule);
        task.detach(); // the cell passes the result, and the loop keeps the task
        cell.header().set_waker(runnable.waker());
        runnable.schedule();
        handle
    }

    /// The cell of a result that no task of its own produces.
    pub(super) fn new_cell<T>(&self, identity: Identity) -> Rc<JoinCell<T>> {
        JoinCell::new(&self.reporter, identity)
    }

    pub(crate) fn call_soon(&self, call: Rc<Call>) {
        if self.is_closed.get() {
            self.reporter.drop_guarded(call.take());
        } else {
            self.queue.push(Ready::Call(call));
        }
    }

    /// Makes the future of a `block_on` at this place the main one, and ready.
    pub(crate) fn push_main(&self, place: &'static Location<'static>) {
        self.registry.set_main(Identity::new(None, place));
        self.queue.push(Ready::Main);
    }

    /// Makes this the executor that receives the wakes of this thread. New tasks still go to the
    /// one that was [entered](Executor::enter) before.
    pub(crate) fn enter_queue(&self) -> queue::Entered {
        queue::enter(self.remote.id(), &self.queue)
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// The threads of blocking jobs.
    pub(crate) fn blocking(&self) -> &Arc<Pool> {
        &self.blocking
    }

    pub(crate) fn reporter(&self) -> &dyn Report {
        &*self.reporter
    }

    /// Whether the loop may sleep: no task is ready, in the queue or in the inbox. Call `awake`
    /// after the sleep.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.queue.len() == 0 && self.remote.prepare_sleep()
    }

    pub(crate) fn awake(&self) {
        self.remote.awake();
    }

    /// Moves the wakes and calls of other threads from the inbox to the ready queue, and reports
    /// their errors.
    pub(crate) fn drain_inbox(&self) {
        for item in self.remote.take() {
            self.accept(item);
        }
    }

    fn accept(&self, item: Item) {
        match item {
            Item::Task(runnable) => self.queue.push(Ready::Task(runnable)),
            Item::Main => self.queue.push(Ready::Main),
            Item::Call(call) => self.queue.push(call.into()),
            Item::Report(unhandled) => self.reporter.report_and_drop(*unhandled),
        }
    }

    /// Starts the pseudo-random sequence of this loop. With `permutes_batches`, which is for tests,
    /// each turn permutes its ready batch.
    pub(crate) fn seed_shuffle(&self, seed: u64, permutes_batches: bool) {
        self.queue.shuffle.seed(seed, permutes_batches);
    }

    /// Permutes the first `count` ready entries, if a test has asked for it.
    pub(crate) fn shuffle_batch(&self, count: usize) {
        self.queue.shuffle_batch(count);
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn ready_peak_count(&self) -> usize {
        self.queue.peak_count()
    }

    pub(crate) fn task_count(&self) -> usize {
        self.registry.count()
    }

    /// The live tasks, in the order of their numbers.
    pub(crate) fn tasks(&self) -> Vec<TaskInfo> {
        let cells = self.registry.cells();
        let mut tasks: Vec<_> = cells.iter().map(|cell| TaskInfo::new(cell.header())).collect();
        tasks.sort_unstable_by_key(TaskInfo::id);
        tasks
    }

    /// The task or the main future that is polled now.
    pub(crate) fn running(&self) -> Option<CurrentTask> {
        self.registry.running().map(CurrentTask::new)
    }

    /// Sets whether what runs is recorded, for [`take_last`](Executor::take_last).
    pub(crate) fn watch(&self, is_watched: bool) {
        self.registry.watch(is_watched);
    }

    /// What has run since the last call. `None` for a poll of no task.
    pub(crate) fn take_last(&self) -> Option<Polled> {
        self.registry.take_last()
    }

    pub(crate) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Runs the first ready entry. `poll_main` polls the main future. Returns false if there was no
    /// entry.
    pub(crate) fn run_next(&self, poll_main: impl FnOnce()) -> bool {
        let Some(ready) = self.queue.pop() else { return false };
        let is_recheck = matches!(ready, Ready::Recheck(_));
        self.polls.set(self.polls.get() + u64::from(!is_recheck));
        coop::refill();
        match ready {
            Ready::Main => {
                let _running = self.registry.run_main();
                poll_main();
            }
            Ready::Call(call) => {
                if let Err(unhandled) = call.run() {
                    self.reporter.report_and_drop(unhandled);
                }
                self.registry.has_run(&call);
            }
            // `Supervised` catches the panics of its future. A panic here comes from a waker or a
            // destructor of another library, and the task has ended.
            Ready::Task(runnable) => self.report_wake_panic(|| _ = runnable.run()),
            Ready::Recheck(recheck) => {
                let loop_number = self.remote.id().number();
                self.report_wake_panic(|| recheck.recheck(loop_number));
            }
        }
        true
    }

    /// Runs code of other libraries: wakers and destructors. Reports a panic.
    fn report_wake_panic(&self, run: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            self.reporter.report_and_drop(Unhandled::WakePanic { payload });
        }
    }

    /// Drops the futures of all tasks and the blocking jobs that have not started. Refuses new
    /// tasks, jobs and calls.
    ///
    /// The caller has entered the loop's context, so that destructors find it. It calls `close`
    /// later, when nothing can report any more.
    pub(crate) fn shut_down(&self) {
        self.is_closed.set(true);
        self.remote.refuse_calls();
        self.blocking.close();
        for _ in 0..SHUTDOWN_ROUNDS_MAX {
            if self.registry.count() == 0 {
                break;
            }
            // An aborted task that is run drops its future and catches panics of destructors. (A
            // `Runnable` that is dropped drops its future too, but a panic aborts the process.)
            self.registry.cells().iter().for_each(|cell| cell.header().abort());
            self.drain_inbox();
            if self.queue.len() == 0 {
                // Another thread has scheduled a task and not put it into the inbox yet.
                primitives::pause(SHUTDOWN_PAUSE);
            }
            self.end_ready();
        }
        self.drain_inbox();
        self.end_ready();
    }

    /// Closes the inbox. What is in it was sent during the shutdown, or was not run before.
    pub(crate) fn close(&self) {
        for item in self.remote.close() {
            self.accept(item);
        }
        self.end_ready();
    }

    fn end_ready(&self) {
        while let Some(ready) = self.queue.pop() {
            self.end(ready);
        }
    }

    /// Ends a ready entry during a shutdown. A destructor that panics is reported, and the shutdown
    /// goes on.
    fn end(&self, ready: Ready) {
        let end = || match ready {
            Ready::Task(runnable) => drop(runnable.run()),
            Ready::Call(call) => self.reporter.drop_guarded(call.take()),
            Ready::Main => {}
            Ready::Recheck(recheck) => drop(recheck),
        };
        self.report_wake_panic(end);
    }
}
