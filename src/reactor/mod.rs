//! Operations in flight and timers.
//!
//! What lives here: the op table ([`slots`]), the timers, what is deferred until no `RefCell` is
//! borrowed ([`deferred`]), and the [`Reactor`] that connects resources with a driver. Resources
//! (streams, listeners) submit requests, and their completions come back through [`Owner`].
//!
//! **Invariant.** The reactor is not borrowed while it calls an owner, so an owner may submit,
//! cancel and set timers. No user code runs here: wakers and reports go to `deferred`.
//!
//! **Absent on purpose.** Sockets, tasks, and the name of the driver.

mod clock_holds;
mod counters;
mod deferred;
mod driver_failure;
mod flush;
mod foreign;
mod forked;
mod idle;
mod loop_clock;
pub(crate) mod oneshot;
mod owner;
mod phase;
mod quiescence;
mod slots;
mod spare;
mod stats;
mod submission;
mod teardown;
mod time;
mod timers;
mod watchdog;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

use crate::buf::Pool;
use crate::driver::request::{Completion, Key, PushOutcome, Request, Tag, Wait};
use crate::driver::{Clock, Drained, Driver, PollSet, Unparker};
use crate::error::Unhandled;
use crate::loop_id::{Home, LoopId};
use crate::op::OpResult;
use crate::sys::errno;
use counters::Counters;
use deferred::Deferred;
use loop_clock::LoopClock;
use phase::{Failure, ReactorPhase};
use quiescence::Quiescence;
use slots::{CancelStep, Recipient, Slots};
use spare::SpareBuffers;
use submission::Submission;
use timers::Timers;
use watchdog::state::Watchdog;

#[allow(unused_imports, reason = "for the pool of threads")]
pub(crate) use clock_holds::ClockHolds;
pub(crate) use counters::ReactorStats;
pub(crate) use loop_clock::Changed;
pub(crate) use owner::{Expire, Owner};
pub(crate) use quiescence::Settler;
pub(crate) use timers::TimerKey;
pub(crate) use watchdog::state::WatchdogStats;

pub(crate) struct Reactor {
    home: Home,
    /// `None` once the runtime is closed.
    driver: RefCell<Option<Driver>>,
    /// Set when a foreign loop drives this one.
    poll_set: OnceCell<PollSet>,
    slots: RefCell<Slots>,
    timers: RefCell<Timers>,
    watchdog: RefCell<Watchdog>,
    pub(crate) deferred: Deferred,
    submission: Submission,
    /// Completions of this turn. Kept for its capacity.
    batch: RefCell<Vec<Completion>>,
    spare: SpareBuffers,
    pool: Rc<Pool>,
    clock: LoopClock,
    quiescence: Quiescence,
    phase: Cell<ReactorPhase>,
    failure: Cell<Option<Failure>>,
    /// The loop's clock as the last wait left it.
    turn_ns: Cell<u64>,
    /// The time spent in waits that were allowed to sleep.
    idle_ns: Cell<u64>,
    /// The kernel's clock as the last wait left it.
    kernel_turn_ns: Cell<u64>,
    /// Operations in flight at the last call of `count_ended`.
    in_flight_before: Cell<usize>,
    /// `turn_ns` when the timers of tasks ended with the loop.
    ended_ns: Cell<Option<u64>>,
    counters: Counters,
    linger_ns: u64,
}

impl Reactor {
    pub(crate) fn new(
        id: LoopId,
        driver: Driver,
        clock: Clock,
        unparker: Unparker,
        pool: Rc<Pool>,
        linger_ns: u64,
    ) -> Reactor {
        let watchdog = RefCell::new(Watchdog::new(driver.may_lose()));
        Reactor {
            home: Home::new(id),
            watchdog,
            driver: RefCell::new(Some(driver)),
            poll_set: OnceCell::new(),
            slots: RefCell::new(Slots::new()),
            timers: RefCell::default(),
            deferred: Deferred::default(),
            submission: Submission::default(),
            batch: RefCell::default(),
            spare: SpareBuffers::default(),
            pool,
            clock: LoopClock::new(clock),
            quiescence: Quiescence::new(id, unparker),
            phase: Cell::new(ReactorPhase::Open),
            failure: Cell::new(None),
            turn_ns: Cell::new(0),
            idle_ns: Cell::new(0),
            kernel_turn_ns: Cell::new(0),
            in_flight_before: Cell::new(0),
            ended_ns: Cell::new(None),
            counters: Counters::default(),
            linger_ns,
        }
    }

    // ---- operations ------------------------------------------------------------------------

    /// Starts an operation. It is submitted with the next enter.
    ///
    /// The completions are the owner's, under its own `tag`. The owner lives at least until the
    /// final one, and the memory that the request names must belong to it.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` if as many operations are in flight as keys can name, and the reason if the loop
    /// is closed or its driver has failed. Nothing has been started then.
    pub(crate) fn submit(
        &self,
        owner: Rc<dyn Owner>,
        tag: Tag,
        request: Request,
    ) -> io::Result<Key> {
        self.check_process();
        if !self.is_accepting() {
            return Err(self.refusal());
        }
        let mut slots = self.slots.borrow_mut();
        let key = slots.insert(owner, tag, &request);
        let key = key.ok_or_else(|| io::Error::from_raw_os_error(errno::ENOBUFS))?;
        self.note_unsubmitted();
        let mut driver = self.driver.borrow_mut();
        let driver = driver.as_mut().expect("a loop that accepts operations has a driver");
        if self.submission.is_queue_empty() && driver.push(key, request) == PushOutcome::Taken {
            slots.pushed(key);
        } else {
            self.submission.wait(key, request);
        }
        Ok(key)
    }

    /// Asks an operation to end. Its final completion still comes, with any result (H30).
    pub(crate) fn cancel(&self, key: Key) {
        self.end(key, |driver| {
            self.note_unsubmitted();
            driver.cancel(key);
        });
    }

    /// Ends a receive of a socket that no other descriptor shares, at a cost that does not depend
    /// on how much is in flight. Its final completion still comes.
    pub(crate) fn end_recv(&self, key: Key, fd: RawFd) {
        self.end(key, |driver| driver.end_recv(key, fd));
    }

    /// Ends an operation that waits to be pushed, or has `ask` end it if it was pushed.
    fn end(&self, key: Key, ask: impl FnOnce(&mut Driver)) {
        if self.disown() {
            return;
        }
        let step = self.slots.borrow_mut().cancel(key);
        match step {
            CancelStep::Withdraw => {
                self.submission.withdraw(key, &self.slots.borrow());
            }
            CancelStep::AskDriver => {
                self.quiescence.is_quiet.set(false);
                if let Some(driver) = &mut *self.driver.borrow_mut() {
                    ask(driver);
                }
                self.watch_cancel(key);
            }
            CancelStep::Nothing => {}
        }
    }

    /// Drops the driver's state of a descriptor that its owner is about to close. None of the
    /// owner's operations is in flight: each would hold the owner.
    pub(crate) fn deregister(&self, fd: RawFd) {
        if self.disown() {
            return;
        }
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            driver.deregister(fd);
        }
    }

    /// Notes that the program has seen the descriptor of a stream.
    pub(crate) fn expose(&self, fd: RawFd) {
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            driver.expose(fd);
        }
    }

    /// Whether operations can still be started.
    pub(crate) fn is_accepting(&self) -> bool {
        matches!(self.phase.get(), ReactorPhase::Open | ReactorPhase::Lingering)
    }

    /// Lets keys name fewer operations than they can.
    #[cfg(test)]
    pub(crate) fn set_index_max(&self, index_max: u32) {
        self.slots.borrow_mut().set_index_max(index_max);
    }

    // ---- one turn --------------------------------------------------------------------------

    /// Enters the kernel once and dispatches what completed. Returns how many completions moved
    /// something.
    pub(crate) fn wait(&self, wait: Wait) -> io::Result<usize> {
        let mut batch = self.batch.take();
        let began_ns = wait.may_sleep().then(|| self.kernel_now_ns());
        let outcome = match &mut *self.driver.borrow_mut() {
            Some(driver) => driver.wait(wait, &mut batch),
            None => Err(self.refusal()),
        };
        let kernel_ns = self.kernel_now_ns();
        if let Some(began_ns) = began_ns {
            self.idle_ns.set(self.idle_ns.get() + kernel_ns.saturating_sub(began_ns));
        }
        self.kernel_turn_ns.set(kernel_ns);
        self.turn_ns.set(self.clock.at(kernel_ns));
        self.submission.entered(kernel_ns);
        self.note_enter(batch.is_empty());
        self.submission.is_dispatching.set(true);
        self.complete_withdrawn();
        let mut moved_count = 0;
        for completion in batch.drain(..) {
            moved_count += usize::from(self.dispatch(completion));
        }
        self.submission.is_dispatching.set(false);
        *self.batch.borrow_mut() = batch;
        outcome.map(|()| moved_count)
    }

    /// How long the wait of a turn may last: until the next timer, if the loop `may_sleep` and
    /// nothing is to be done at once.
    pub(crate) fn how_long(&self, may_sleep: bool) -> Wait {
        if !may_sleep || self.submission.has_work() || self.deferred.has_wakers() {
            return Wait::Poll;
        }
        if let Some(wait) = self.how_long_idle() {
            return wait;
        }
        self.sleep_until(self.next_timer_ns().and_then(|at_ns| self.clock.kernel_ns_of(at_ns)))
    }

    /// The wait until this time of the kernel's clock, or until the watchdog is due.
    fn sleep_until(&self, deadline_ns: Option<u64>) -> Wait {
        match deadline_ns.into_iter().chain(self.watchdog_due_ns()).min() {
            None => Wait::Forever,
            Some(deadline_ns) if deadline_ns <= self.kernel_now_ns() => Wait::Poll,
            Some(deadline_ns) => Wait::Until(deadline_ns),
        }
    }

    /// By how many operations fewer are in flight than at the last call. Like a completion that
    /// moved something, an operation that ends and is not started again is progress.
    pub(crate) fn count_ended(&self) -> usize {
        let in_flight_count = self.slots.borrow().len();
        let former_count = self.in_flight_before.replace(in_flight_count);
        former_count.saturating_sub(in_flight_count)
    }

    /// Passes one completion to its owner. Returns whether it moved something.
    fn dispatch(&self, completion: Completion) -> bool {
        // The buffer first: it comes back whatever the result is, even if the owner is gone (H58).
        let buffer = completion.flags.buffer().map(|id| {
            let len = u32::try_from(completion.result).unwrap_or(0);
            self.pool.filled(id, len)
        });
        if completion.result == -errno::ENOBUFS {
            self.count_pool_exhausted();
            self.pool.note_dry();
        }
        let recipient = self.slots.borrow_mut().complete(completion);
        let Some(Recipient { owner, tag, progress }) = recipient else {
            return false;
        };
        let result = OpResult { result: completion.result, more: completion.flags.more(), buffer };
        owner.complete(tag, result);
        progress.is_made_by(completion.result)
    }

    // ---- wakers, reports and buffers -------------------------------------------------------

    /// Wakes a task once no `RefCell` is borrowed.
    pub(crate) fn wake_deferred(&self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.deferred.wake(waker);
        }
    }

    /// Reports an error that no caller awaits, at the end of the turn.
    pub(crate) fn report(&self, unhandled: Unhandled) {
        self.deferred.report(unhandled);
    }

    pub(crate) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// An empty buffer for a writer, with the capacity of an earlier one if possible.
    pub(crate) fn take_spare(&self) -> Vec<u8> {
        self.spare.take()
    }

    pub(crate) fn give_spare(&self, buffer: Vec<u8>) {
        self.spare.give(buffer);
    }

    /// How long a dropped stream may take to send what was queued.
    pub(crate) fn linger_ns(&self) -> u64 {
        self.linger_ns
    }
}

impl Drop for Reactor {
    /// A runtime ends with `shut_down`. If that has not run, the ring is closed as it is, and
    /// memory that the kernel may still write to is leaked.
    fn drop(&mut self) {
        if self.disown() {
            return;
        }
        if let Some(driver) = self.driver.get_mut().take() {
            self.slots.get_mut().leak();
            driver.close(Drained::No);
        }
    }
}
