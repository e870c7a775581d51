//! Spawning, running and ending tasks.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use slab::Slab;

use super::call::Call;
use super::coop;
use super::join::{AbortHandle, JoinCell, JoinError, JoinHandle, TaskId};
use super::queue::{self, Queue, Ready};
use super::remote::Remote;
use super::report::Report;
use crate::error::Unhandled;
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
    /// All tasks that have not ended. A shutdown aborts them.
    live: Rc<RefCell<Slab<AbortHandle>>>,
    is_closed: Cell<bool>,
    polls: Cell<u64>,
}

impl Executor {
    pub(crate) fn new(remote: Arc<Remote>, reporter: Rc<dyn Report>) -> Executor {
        Executor {
            queue: Rc::default(),
            remote,
            reporter,
            live: Rc::default(),
            is_closed: Cell::new(false),
            polls: Cell::new(0),
        }
    }

    /// Makes a task of `future`, which the caller has boxed if it [is large](is_large). Its first
    /// poll is in a later turn.
    pub(crate) fn spawn<F>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = TaskId(NEXT_ID.fetch_add(1, Ordering::Relaxed)); // unique, ordered with nothing
        let abort = AbortHandle::new(id, spawned_at);
        let cell = JoinCell::new(&self.reporter, abort.spawned_at());
        let handle = JoinHandle::new(Rc::clone(&cell), abort.clone());
        if self.is_closed.get() {
            drop(future);
            cell.finish(Err(JoinError::Cancelled));
            return handle;
        }

        let index = self.live.borrow_mut().insert(abort.clone());
        let live = LiveGuard { live: Rc::clone(&self.live), index: Cell::new(Some(index)) };
        let supervised = Supervised {
            future: Some(future),
            abort: abort.clone(),
            ending: Ending { cell: Some(cell) },
            live,
        };
        let remote = Arc::clone(&self.remote);
        let schedule = move |runnable| remote.schedule(runnable);
        let (runnable, task) = async_task::spawn_local(supervised, schedule);
        task.detach(); // `JoinCell` passes the result, and the loop keeps the task
        abort.set_waker(runnable.waker());
        runnable.schedule();
        handle
    }

    pub(crate) fn call_soon(&self, call: Rc<Call>) {
        if self.is_closed.get() {
            self.reporter.drop_guarded(call.take());
        } else {
            self.queue.push(Ready::Call(call));
        }
    }

    pub(crate) fn push_main(&self) {
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

    /// Moves the wakes of other threads from the inbox to the ready queue.
    pub(crate) fn drain_inbox(&self) {
        for item in self.remote.take() {
            self.queue.push(item.into());
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
        self.live.borrow().len()
    }

    pub(crate) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Runs the first ready entry. The caller polls the main future, for [`Ran::Main`].
    pub(crate) fn run_next(&self) -> Option<Ran> {
        let ready = self.queue.pop()?;
        let is_recheck = matches!(ready, Ready::Recheck(_));
        self.polls.set(self.polls.get() + u64::from(!is_recheck));
        coop::refill();
        match ready {
            Ready::Main => return Some(Ran::Main),
            Ready::Call(call) => {
                if let Err(unhandled) = call.run() {
                    self.reporter.report_and_drop(unhandled);
                }
            }
            // `Supervised` catches the panics of its future. A panic here comes from a waker or a
            // destructor of another library, and the task has ended.
            Ready::Task(runnable) => self.report_wake_panic(|| _ = runnable.run()),
            Ready::Recheck(recheck) => {
                let loop_number = self.remote.id().number();
                self.report_wake_panic(|| recheck.recheck(loop_number));
            }
        }
        Some(Ran::Other)
    }

    /// Runs code of other libraries: wakers and destructors. Reports a panic.
    fn report_wake_panic(&self, run: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            self.reporter.report_and_drop(Unhandled::WakePanic { payload });
        }
    }

    /// Drops the futures of all tasks, and refuses new tasks.
    ///
    /// The caller has entered the loop's context, so that destructors find it.
    pub(crate) fn shut_down(&self) {
        self.is_closed.set(true);
        for _ in 0..SHUTDOWN_ROUNDS_MAX {
            if self.live.borrow().is_empty() {
                break;
            }
            // An aborted task that is run drops its future and catches panics of destructors. (A
            // `Runnable` that is dropped drops its future too, but a panic aborts the process.)
            let tasks: Vec<AbortHandle> =
                self.live.borrow().iter().map(|(_, task)| task.clone()).collect();
            tasks.iter().for_each(AbortHandle::abort);
            self.drain_inbox();
            if self.queue.len() == 0 {
                // Another thread has scheduled a task and not put it into the inbox yet.
                primitives::pause(SHUTDOWN_PAUSE);
            }
            while let Some(ready) = self.queue.pop() {
                self.end(ready);
            }
        }
        for item in self.remote.close() {
            self.end(Ready::from(item));
        }
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

/// The kind of entry that `run_next` took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ran {
    /// The main future, which the caller polls.
    Main,
    /// A task, a callback or a recheck, which has been run.
    Other,
}

pin_project! {
    /// A task's future, its abort flag, and the cell for its result.
    struct Supervised<F: Future> {
        #[pin]
        future: Option<F>,
        abort: AbortHandle,
        ending: Ending<F::Output>,
        live: LiveGuard,
    }
}

impl<F: Future> Future for Supervised<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let result = if this.abort.is_aborted() {
            Err(JoinError::Cancelled)
        } else {
            let future = this.future.as_mut().as_pin_mut().expect("polled after its end");
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(output)) => Ok(output),
                Err(payload) => Err(JoinError::panicked(payload)),
            }
        };
        // The locals are dropped before the joiner is woken.
        let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
        this.live.leave();
        this.ending.finish(match dropped {
            Ok(()) => result,
            Err(payload) => this.ending.with_drop_panic(result, payload),
        });
        Poll::Ready(())
    }
}

/// Passes the result to the joiner. A task that is dropped unfinished is `Cancelled`.
struct Ending<T> {
    cell: Option<Rc<JoinCell<T>>>,
}

impl<T> Ending<T> {
    /// The result of a task whose locals panicked when they were dropped. A panic of the task
    /// itself takes precedence.
    fn with_drop_panic(
        &self,
        result: Result<T, JoinError>,
        payload: Box<dyn Any + Send>,
    ) -> Result<T, JoinError> {
        let Some(cell) = &self.cell else { return result };
        if matches!(result, Err(JoinError::Panic(_))) {
            cell.reporter().report_and_drop(Unhandled::DropPanic { payload });
            return result;
        }
        cell.reporter().drop_guarded(result);
        Err(JoinError::panicked(payload))
    }

    fn finish(&mut self, result: Result<T, JoinError>) {
        if let Some(cell) = self.cell.take() {
            cell.finish(result);
        }
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.finish(Err(JoinError::Cancelled));
    }
}

/// The entry of a task in the table of those that have not ended.
struct LiveGuard {
    live: Rc<RefCell<Slab<AbortHandle>>>,
    index: Cell<Option<usize>>,
}

impl LiveGuard {
    fn leave(&self) {
        if let Some(index) = self.index.take() {
            let task = self.live.borrow_mut().remove(index);
            drop(task); // after the borrow
        }
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.leave();
    }
}
