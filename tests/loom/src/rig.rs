//! A loop without a driver: the real executor, turns in the order of `runtime/turn.rs`, and an
//! eventfd that is a counter.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::error::Unhandled;
use crate::loop_id::LoopId;
use crate::task::{BlockingLimits, BlockingPool, Executor, MainWaker, Remote, Report};

/// The limits of blocking jobs: one thread and two queued jobs. A model decides when the keep-alive
/// time has passed (`primitives::LIMITS_ARE_OVER`).
const LIMITS: BlockingLimits =
    BlockingLimits { threads_max: 1, queued_max: 2, keep_alive: Duration::from_secs(1) };

/// The eventfd and the completion queue of a loop. A lost notification is a sleep without an end,
/// which loom reports as a deadlock.
pub(crate) struct Notified {
    state: Mutex<RigState>,
    changed: Condvar,
}

#[derive(Default)]
struct RigState {
    /// The counter of the eventfd.
    count: u32,
    rings: u32,
    /// A completion of something else has arrived.
    has_completion: bool,
}

impl Notified {
    fn notify(&self) {
        let mut state = self.state.lock().unwrap();
        state.count += 1;
        state.rings += 1;
        self.changed.notify_one();
    }

    /// Ends the sleep without the eventfd.
    pub(crate) fn complete_other(&self) {
        self.state.lock().unwrap().has_completion = true;
        self.changed.notify_one();
    }

    /// Sleeps until there is a completion. Another one leaves the eventfd as it is.
    fn sleep(&self) {
        let mut state = self.state.lock().unwrap();
        while state.count == 0 && !state.has_completion {
            state = self.changed.wait(state).unwrap();
        }
        if !std::mem::take(&mut state.has_completion) {
            state.count = 0;
        }
    }
}

/// A loop, used on one thread of a model.
pub(crate) struct Loop {
    pub(crate) executor: Rc<Executor>,
    pub(crate) wake_fd: Arc<Notified>,
    /// The number of times that the loop went to sleep.
    looks: Cell<u32>,
}

/// Every report is a failure of the model: loom's own panics pass through tasks too.
struct NoReports(LoopId);

impl Report for NoReports {
    fn loop_id(&self) -> &LoopId {
        &self.0
    }

    fn report(&self, unhandled: &Unhandled) {
        eprintln!("reported: {unhandled}");
        std::process::abort();
    }
}

impl Loop {
    pub(crate) fn new() -> Loop {
        let wake_fd = Arc::new(Notified { state: Mutex::default(), changed: Condvar::new() });
        let ringing = Arc::clone(&wake_fd);
        let id = LoopId::new();
        let remote = Remote::new(id, Box::new(move || ringing.notify()));
        let pool = BlockingPool::new(&remote, LIMITS, Box::new(|_is_busy| ()));
        let executor = Rc::new(Executor::new(remote, Rc::new(NoReports(id)), pool));
        Loop { executor, wake_fd, looks: Cell::new(0) }
    }

    pub(crate) fn main_waker(&self) -> Arc<MainWaker> {
        MainWaker::queued(self.executor.remote())
    }

    /// Turns until `poll_main` returns true. It is called as the main future of `block_on` is
    /// polled, which `main` wakes. The wake fd is notified once per sleep at most.
    pub(crate) fn block_on(
        &self,
        main: &Arc<MainWaker>,
        mut poll_main: impl FnMut(&Waker) -> bool,
    ) {
        let _entered = self.executor.enter();
        let waker = Waker::from(Arc::clone(main));
        self.executor.push_main(Location::caller());
        let mut is_done = false;
        while !is_done {
            self.turn(|| {
                main.polling();
                is_done = is_done || poll_main(&waker);
            });
        }
        let (rings, looks) = (self.wake_fd.state.lock().unwrap().rings, self.looks.get());
        assert!(rings <= looks, "{rings} rings, and {looks} times on the way to sleep");
    }

    fn turn(&self, mut poll_main: impl FnMut()) {
        let is_idle = self.executor.ready_count() == 0;
        self.looks.set(self.looks.get() + u32::from(is_idle));
        if self.executor.prepare_sleep() {
            self.wake_fd.sleep();
        }
        self.executor.awake();
        self.executor.drain_inbox();
        for _ in 0..self.executor.ready_count() {
            if !self.executor.run_next(&mut poll_main) {
                break;
            }
        }
    }
}
