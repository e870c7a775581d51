//! The pool: threads that are made on demand, run jobs in order, and end when they are idle.
//!
//! Every decision is one of `schedule`, made under one lock. Jobs run, and are dropped, with the
//! lock released. A job counts as ended after its result has been sent. So the loop finds the wake
//! in its inbox or the job in the pool, and virtual time does not pass in between
//! ([`OnBusy`]).
//!
//! **Signals.** Pool threads have the signal mask of the loop's thread, as all threads of std do. A
//! signal handler may run on any of them. They do not block signals, because the processes that a
//! job starts would inherit the mask and could not be terminated.
//!
//! **Forked children.** A child has no thread of the pool and cannot trust its lock. It does not
//! reach this module: a loop that runs in a child was built there and has a pool of its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::super::join_error::JoinError;
use super::super::remote::Remote;
use super::job::Job;
use super::schedule::{After, Need, Next, PoolState, StateLimits, Submitted};
use crate::error::Unhandled;
use crate::primitives::{self, Condvar, Mutex, MutexGuard};

/// The name of every thread of a pool.
const THREAD_NAME: &str = "ringloop-blocking";

/// The limits of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) threads_max: usize,
    pub(crate) queued_max: usize,
    /// The time after which an idle thread ends.
    pub(crate) keep_alive: Duration,
}

/// Called with `true` when a pool has its first job and with `false` when it has ended its last, in
/// this order, on any thread and with the lock of the pool held.
pub(crate) type OnBusy = Box<dyn Fn(bool) + Send + Sync>;

/// Counts of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolCounts {
    pub(crate) threads: usize,
    pub(crate) queued: usize,
    pub(crate) running: usize,
}

type State = PoolState<Box<dyn Job>>;

/// The threads that run the blocking jobs of one loop.
pub(crate) struct Pool {
    state: Mutex<State>,
    has_work: Condvar,
    has_ended: Condvar,
    limits: Limits,
    on_busy: OnBusy,
    remote: Arc<Remote>,
}

impl Pool {
    pub(crate) fn new(remote: &Arc<Remote>, limits: Limits, on_busy: OnBusy) -> Arc<Pool> {
        let Limits { threads_max, queued_max, .. } = limits;
        Arc::new(Pool {
            state: Mutex::new(PoolState::new(StateLimits { threads_max, queued_max })),
            has_work: Condvar::new(),
            has_ended: Condvar::new(),
            limits,
            on_busy,
            remote: Arc::clone(remote),
        })
    }

    /// Queues a job. Returns its number in the queue, or `None` if it was refused or cancelled.
    pub(super) fn submit(self: &Arc<Self>, job: Box<dyn Job>) -> Option<u64> {
        let submitted = self.with_state(|state| state.submit(job));
        match submitted {
            Submitted::Queued(number, need) => {
                self.provide(need);
                Some(number)
            }
            Submitted::Full(job) => {
                job.refuse(self.queue_full());
                None
            }
            Submitted::Closed(job) => {
                drop(job);
                None
            }
        }
    }

    fn provide(self: &Arc<Self>, need: Need) {
        match need {
            Need::Nothing => {}
            Need::Notify => self.has_work.notify_one(),
            Need::Thread => {
                let pool = Arc::clone(self);
                if let Err(error) = primitives::start_thread(THREAD_NAME, move || pool.work()) {
                    let refused = self.with_state(PoolState::thread_failed);
                    for job in refused.into_values() {
                        self.report_wake_panic(|| job.refuse(no_thread(&error)));
                    }
                }
            }
        }
    }

    fn queue_full(&self) -> JoinError {
        let Limits { threads_max, queued_max, .. } = self.limits;
        JoinError::Refused(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!(
                "{queued_max} blocking jobs wait for {threads_max} threads: await some of them \
                 first, or raise `Builder::blocking_queue`"
            ),
        ))
    }

    /// Removes a job that has not started. Its handle returns `Cancelled`.
    pub(super) fn abort(&self, number: u64) {
        if self.remote.id().is_of_parent() {
            return;
        }
        let job = self.with_state(|state| state.abort(number));
        drop(job); // after the lock: it is user code
    }

    /// Refuses jobs from now on, and drops those that have not started. Threads end with their
    /// jobs.
    pub(crate) fn close(&self) {
        let jobs = self.with_state(PoolState::close);
        self.has_work.notify_all();
        for job in jobs.into_values() {
            self.report_wake_panic(|| drop(job)); // after the lock
        }
    }

    /// Waits until the threads of a closed pool have ended, for `limit` at most. Returns the number
    /// of jobs that still run.
    pub(crate) fn wait_ended(&self, limit: Duration) -> usize {
        let mut state = self.lock();
        while !limit.is_zero() && !state.has_ended() {
            let (guard, is_over) = primitives::wait(&self.has_ended, &self.state, state, limit);
            state = guard;
            if is_over {
                break;
            }
        }
        state.running_count()
    }

    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        let state = self.lock();
        PoolCounts {
            threads: state.threads_count(),
            queued: state.queued_count(),
            running: state.running_count(),
        }
    }

    /// The body of a thread.
    fn work(&self) {
        let mut after = After::Start;
        while let Some(job) = self.next_job(after) {
            self.report_wake_panic(|| job.run());
            after = After::Job;
        }
    }

    /// Ends a job, which catches the panics of its function. One here comes from a waker: it is
    /// reported.
    fn report_wake_panic(&self, end: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(end)) {
            self.remote.report(Unhandled::WakePanic { payload });
        }
    }

    /// Waits for the next job. Returns `None` when the thread must end.
    fn next_job(&self, mut after: After) -> Option<Box<dyn Job>> {
        let mut state = self.lock();
        loop {
            let next = state.next(after);
            self.notice_busy(&mut state);
            match next {
                Next::Run(job) => return Some(job),
                Next::End => {
                    if state.has_ended() {
                        self.has_ended.notify_all();
                    }
                    return None;
                }
                Next::Wait => {}
            }
            let keep_alive = self.limits.keep_alive;
            let (guard, is_over) = primitives::wait(&self.has_work, &self.state, state, keep_alive);
            state = guard;
            after = if is_over { After::KeepAlive } else { After::Woken };
        }
    }

    fn with_state<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let outcome = change(&mut state);
        self.notice_busy(&mut state);
        outcome
    }

    fn notice_busy(&self, state: &mut State) {
        if let Some(is_busy) = state.take_busy_change() {
            (self.on_busy)(is_busy);
        }
    }

    /// Takes the lock. It cannot be poisoned in a bad state: no code that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_thread(error: &io::Error) -> JoinError {
    let text = format!("no thread could be made for blocking jobs, and there is none: {error}");
    JoinError::Refused(io::Error::new(error.kind(), text))
}
