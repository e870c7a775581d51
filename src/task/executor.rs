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

/// Rounds in which a shutdown wakes and drops tasks before it gives up on destructors that keep
/// making new work.
const SHUTDOWN_ROUNDS_MAX: u32 = 100;

/// Pause of a round that found nothing.
const SHUTDOWN_PAUSE: Duration = Duration::from_millis(1);

/// Larger futures are boxed by the first function that takes them. Each further one would take as
/// much of the stack again: without optimization every call copies its arguments. Also the size
/// from which `async-task` allocates them apart.
const FUTURE_BYTES_MAX: usize = 2048;

/// Whether a public function must do nothing with such a future but box it.
pub(crate) const fn is_large<F>() -> bool {
    size_of::<F>() > FUTURE_BYTES_MAX
}

pub(crate) struct Executor {
    queue: Rc<Queue>,
    remote: Arc<Remote>,
    reporter: Rc<dyn Report>,
    /// Every task that has not ended, so that a shutdown can find them all.
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

    /// Makes a task of `future`, which the caller has boxed if it [is large](is_large). It is
    /// polled for the first time in a later turn.
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
        task.detach(); // the result has its own way, and the loop keeps the task
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

    /// Makes this the executor that wakes of this thread go to.
    pub(crate) fn enter(&self) -> queue::Entered {
        queue::enter(self.remote.id(), &self.queue)
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    pub(crate) fn reporter(&self) -> &dyn Report {
        &*self.reporter
    }

    /// Whether the loop may sleep: nothing is ready, here or in the inbox. Pairs with `awake`.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.queue.len() == 0 && self.remote.prepare_sleep()
    }

    pub(crate) fn awake(&self) {
        self.remote.awake();
    }

    /// Moves what other threads have sent to the ready queue.
    pub(crate) fn drain_inbox(&self) {
        for item in self.remote.take() {
            self.queue.push(item.into());
        }
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

    /// Runs the first ready entry. `Main` is the caller's to poll.
    pub(crate) fn run_next(&self) -> Option<Ran> {
        let ready = self.queue.pop()?;
        self.polls.set(self.polls.get() + 1);
        coop::refill();
        match ready {
            Ready::Main => return Some(Ran::Main),
            Ready::Call(call) => {
                if let Err(unhandled) = call.run() {
                    self.reporter.report_and_drop(unhandled);
                }
            }
            Ready::Task(runnable) => {
                // `Supervised` catches its future's panics. One that gets here comes from a waker
                // or a destructor of a foreign type, and the task is over.
                let run = || runnable.run();
                if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                    self.reporter.report_and_drop(Unhandled::WakePanic { payload });
                }
            }
        }
        Some(Ran::Other)
    }

    /// Drops every task's future, here and now, and refuses new ones. The caller has entered the
    /// loop's context, so that destructors find it.
    pub(crate) fn shut_down(&self) {
        self.is_closed.set(true);
        for _ in 0..SHUTDOWN_ROUNDS_MAX {
            if self.live.borrow().is_empty() {
                break;
            }
            // An aborted task that is run drops its future, and catches what the destructors
            // throw. (A `Runnable` that is dropped does the first and aborts on the second.)
            let tasks: Vec<AbortHandle> =
                self.live.borrow().iter().map(|(_, task)| task.clone()).collect();
            tasks.iter().for_each(AbortHandle::abort);
            self.drain_inbox();
            if self.queue.len() == 0 {
                // Another thread is between scheduling a task and putting it into the inbox.
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

    /// Ends what was ready. Destructors are user code: one that panics is reported, and the
    /// shutdown goes on.
    fn end(&self, ready: Ready) {
        let end = || match ready {
            Ready::Task(runnable) => drop(runnable.run()),
            Ready::Call(call) => self.reporter.drop_guarded(call.take()),
            Ready::Main => {}
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(end)) {
            self.reporter.report_and_drop(Unhandled::WakePanic { payload });
        }
    }
}

/// What `run_next` ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ran {
    /// Nothing yet: the main future is to be polled.
    Main,
    Other,
}

pin_project! {
    /// A task's future, its abort flag, and the way its result goes.
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
        // The locals go before the joiner hears of the end.
        let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
        this.live.leave();
        this.ending.finish(match dropped {
            Ok(()) => result,
            Err(payload) => this.ending.spoilt(result, payload),
        });
        Poll::Ready(())
    }
}

/// Sees to it that a joiner hears of the task's end, also when the task is dropped unfinished.
struct Ending<T> {
    cell: Option<Rc<JoinCell<T>>>,
}

impl<T> Ending<T> {
    /// The result of a task whose locals panicked when they were dropped. Its own panic comes
    /// first.
    fn spoilt(
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

/// A task's entry in the table of those that have not ended.
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
