//! What is in flight, and when something is due.
//!
//! What lives here: the op table ([`slots`]), the timers, what is owed to user code
//! ([`deferred`]), and the [`Reactor`] that connects resources with a driver. Resources (streams,
//! listeners) submit requests and are called back with answers, through [`Owner`].
//!
//! **Invariant.** While an owner is called, nothing of the reactor is borrowed, so an owner may
//! submit, cancel and set timers. No user code runs here at all: it is put into `deferred`.
//!
//! **Absent on purpose.** Sockets, tasks, and the name of the driver.

mod deferred;
mod driver_failure;
mod forked;
pub(crate) mod oneshot;
mod owner;
mod slots;
mod submission;
mod teardown;
mod timers;
mod watchdog;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

use crate::buf::Pool;
use crate::driver::request::{Completion, Key, Request, Tag, Wait};
use crate::driver::{Clock, Driver, DriverStats};
use crate::error::Unhandled;
use crate::loop_id::{Home, LoopId};
use crate::op::OpResult;
use crate::sys::errno;
use deferred::Deferred;
use driver_failure::Failure;
use slots::{CancelStep, Recipient, Slots};
use submission::Submission;
use timers::{Expiry, Pending, Timers};
use watchdog::Watchdog;

pub(crate) use owner::{Expire, Owner};
pub(crate) use timers::TimerKey;
pub(crate) use watchdog::WatchdogStats;

/// Timers that expire in one turn. The rest expire in the next.
const TIMERS_PER_TURN_MAX: usize = 4096;

/// Out-buffers kept for the next writer, and the largest that is worth keeping.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_CAPACITY_MAX: usize = 16 * 1024;

pub(crate) struct Reactor {
    home: Home,
    /// `None` once the runtime is closed.
    driver: RefCell<Option<Driver>>,
    slots: RefCell<Slots>,
    timers: RefCell<Timers>,
    watchdog: RefCell<Watchdog>,
    deferred: Deferred,
    submission: Submission,
    /// Completions of this turn. Kept for its capacity.
    batch: RefCell<Vec<Completion>>,
    spare: RefCell<Vec<Vec<u8>>>,
    pool: Rc<Pool>,
    clock: Clock,
    phase: Cell<ReactorPhase>,
    failure: Cell<Option<Failure>>,
    /// The clock as the last wait left it.
    turn_ns: Cell<u64>,
    /// Operations in flight after the last wait.
    in_flight_before: Cell<usize>,
    /// `turn_ns` when the timers of tasks ended with the loop.
    ended_ns: Cell<Option<u64>>,
    pool_exhausted: Cell<u64>,
    closing_count: Cell<usize>,
    peer_resets: Cell<u64>,
    shed: Cell<u64>,
    linger_ns: u64,
}

/// How far a runtime's end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReactorPhase {
    Open,
    /// The driver has failed. Tasks and timers go on; no operation does.
    Broken,
    /// Tasks are gone; dropped streams still send what was queued.
    Lingering,
    /// Everything is being cancelled. Nothing new is accepted.
    Draining,
    Closed,
}

/// What the reactor counts.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ReactorStats {
    pub(crate) driver: DriverStats,
    pub(crate) stale_completions: u64,
    pub(crate) watchdog: WatchdogStats,
    pub(crate) pool_exhausted: u64,
    pub(crate) in_flight: usize,
    pub(crate) timers: usize,
    pub(crate) closing_streams: usize,
    pub(crate) peer_resets: u64,
    pub(crate) shed: u64,
    pub(crate) buffers_held: u32,
}

impl Reactor {
    pub(crate) fn new(
        id: LoopId,
        driver: Driver,
        clock: Clock,
        pool: Rc<Pool>,
        linger_ns: u64,
    ) -> Reactor {
        let watchdog = RefCell::new(Watchdog::new(driver.may_lose()));
        Reactor {
            home: Home::new(id),
            watchdog,
            driver: RefCell::new(Some(driver)),
            slots: RefCell::new(Slots::new()),
            timers: RefCell::default(),
            deferred: Deferred::default(),
            submission: Submission::default(),
            batch: RefCell::default(),
            spare: RefCell::default(),
            pool,
            clock,
            phase: Cell::new(ReactorPhase::Open),
            failure: Cell::new(None),
            turn_ns: Cell::new(0),
            in_flight_before: Cell::new(0),
            ended_ns: Cell::new(None),
            pool_exhausted: Cell::new(0),
            closing_count: Cell::new(0),
            peer_resets: Cell::new(0),
            shed: Cell::new(0),
            linger_ns,
        }
    }

    // ---- operations ------------------------------------------------------------------------

    /// Starts an operation. It is submitted with the next enter.
    ///
    /// The completions are the owner's, under its own `tag`. The owner lives at least until the final
    /// one, and the memory that the request names must belong to it.
    ///
    /// Fails with `ENOBUFS` if as many operations are in flight as keys can name. Then nothing has
    /// been started.
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
        let key = self.slots.borrow_mut().insert(owner, tag, &request);
        let key = key.ok_or_else(|| io::Error::from_raw_os_error(errno::ENOBUFS))?;
        self.push_or_wait(key, request);
        Ok(key)
    }

    /// Asks an operation to end. Its final answer comes all the same, whatever it is (H30).
    pub(crate) fn cancel(&self, key: Key) {
        if self.disown() {
            return;
        }
        let step = self.slots.borrow_mut().cancel(key);
        match step {
            CancelStep::AnswerNow => self.withdraw(key),
            CancelStep::AskDriver => {
                self.submission.note_unsubmitted();
                if let Some(driver) = &mut *self.driver.borrow_mut() {
                    driver.cancel(key);
                }
                self.watch_cancel(key);
            }
            CancelStep::Nothing => {}
        }
    }

    /// Ends a receive of a socket that no other descriptor shares, at a cost that does not depend on
    /// how much is in flight. Its final answer comes all the same.
    pub(crate) fn end_recv(&self, key: Key, fd: RawFd) {
        if self.disown() {
            return;
        }
        let step = self.slots.borrow_mut().cancel(key);
        match step {
            CancelStep::AnswerNow => self.withdraw(key),
            CancelStep::AskDriver => {
                if let Some(driver) = &mut *self.driver.borrow_mut() {
                    driver.end_recv(key, fd);
                }
                self.watch_cancel(key);
            }
            CancelStep::Nothing => {}
        }
    }

    /// An owner is about to close its descriptor. None of its operations is in flight: each would
    /// hold the owner.
    pub(crate) fn deregister(&self, fd: RawFd) {
        if self.disown() {
            return;
        }
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            driver.deregister(fd);
        }
    }

    /// The program has seen the descriptor of a stream.
    pub(crate) fn expose(&self, fd: RawFd) {
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            driver.expose(fd);
        }
    }

    /// Lets keys name fewer operations than they can.
    #[cfg(test)]
    pub(crate) fn set_index_max(&self, index_max: u32) {
        self.slots.borrow_mut().set_index_max(index_max);
    }

    // ---- one turn --------------------------------------------------------------------------

    /// Enters the kernel once and dispatches what completed. Sleeps at most until the next timer,
    /// and only if `may_sleep`.
    ///
    /// Returns how much progress there was: answers that moved something, and operations fewer in
    /// flight than after the last wait. An operation that fails and is asked for again is neither.
    pub(crate) fn wait(&self, may_sleep: bool) -> io::Result<usize> {
        self.fill_submission_queue()?;
        let moved_count = self.wait_for(self.how_long(may_sleep))?;
        let in_flight_count = self.slots.borrow().len();
        let former_count = self.in_flight_before.replace(in_flight_count);
        Ok(moved_count + former_count.saturating_sub(in_flight_count))
    }

    fn wait_for(&self, wait: Wait) -> io::Result<usize> {
        let mut batch = std::mem::take(&mut *self.batch.borrow_mut());
        let outcome = match &mut *self.driver.borrow_mut() {
            Some(driver) => driver.wait(wait, &mut batch),
            None => Err(self.refusal()),
        };
        let now_ns = self.clock.now_ns();
        self.turn_ns.set(now_ns);
        self.submission.entered(now_ns);
        self.submission.is_answering.set(true);
        self.answer_withdrawn();
        let mut moved_count = 0;
        for completion in batch.drain(..) {
            moved_count += usize::from(self.dispatch(completion));
        }
        self.submission.is_answering.set(false);
        *self.batch.borrow_mut() = batch;
        outcome.map(|()| moved_count)
    }

    /// Collects what is due, in order of deadline and of setting. Returns how many there were.
    pub(crate) fn expire_timers(&self) -> usize {
        let now_ns = self.turn_ns.get();
        self.run_watchdog(now_ns);
        for count in 0..TIMERS_PER_TURN_MAX {
            let expiry = self.timers.borrow_mut().pop_due(now_ns);
            match expiry {
                Some(Expiry::Wake(waker)) => self.deferred.wake(waker),
                Some(Expiry::Call(owner)) => {
                    self.deferred.run_wakers(); // those were due before it
                    owner.expire();
                }
                None => return count,
            }
        }
        TIMERS_PER_TURN_MAX
    }

    /// Whether a turn has something to do without sleeping first.
    fn has_work(&self) -> bool {
        self.submission.has_work() || self.deferred.has_wakers()
    }

    fn how_long(&self, may_sleep: bool) -> Wait {
        if !may_sleep || self.has_work() {
            return Wait::Poll;
        }
        // The end of time is no deadline, but what a saturated addition makes.
        let timer_ns = self.timers.borrow().next_deadline_ns().filter(|&at_ns| at_ns < u64::MAX);
        match timer_ns.into_iter().chain(self.watchdog_due_ns()).min() {
            None => Wait::Forever,
            Some(deadline_ns) if deadline_ns <= self.clock.now_ns() => Wait::Poll,
            Some(deadline_ns) => Wait::Until(deadline_ns),
        }
    }

    /// Hands one completion to whoever it is for.
    fn dispatch(&self, completion: Completion) -> bool {
        // The buffer first: it comes back whatever the result is and whoever is gone (H58).
        let buffer = completion.flags.buffer().map(|id| {
            let len = u32::try_from(completion.result).unwrap_or(0);
            self.pool.filled(id, len)
        });
        if completion.result == -errno::ENOBUFS {
            self.pool_exhausted.set(self.pool_exhausted.get() + 1);
            self.pool.note_dry();
        }
        let recipient = self.slots.borrow_mut().complete(completion);
        let Some(Recipient { owner, tag, progress }) = recipient else {
            return false;
        };
        let answer = OpResult { result: completion.result, more: completion.flags.more(), buffer };
        owner.complete(tag, answer);
        progress.is_made_by(completion.result)
    }

    // ---- timers, wakes and reports -----------------------------------------------------------

    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// The clock as the last wait left it.
    pub(crate) fn turn_ns(&self) -> u64 {
        self.turn_ns.get()
    }

    /// If the loop has ended, and with it the timers of tasks: the clock as its last turn had it. A
    /// timer that is set from now on never fires.
    pub(crate) fn ended_ns(&self) -> Option<u64> {
        self.ended_ns.get()
    }

    pub(crate) fn wake_at(&self, deadline_ns: u64, waker: &Waker) -> TimerKey {
        let expiry = Expiry::Wake(waker.clone());
        self.timers.borrow_mut().insert(deadline_ns, expiry)
    }

    pub(crate) fn expire_at(&self, deadline_ns: u64, owner: Rc<dyn Expire>) -> TimerKey {
        self.timers.borrow_mut().insert(deadline_ns, Expiry::Call(owner))
    }

    /// Timers set so far.
    #[cfg(test)]
    pub(crate) fn timers_set(&self) -> u64 {
        self.timers.borrow().set_count()
    }

    /// Makes a pending timer wake `waker`. Returns whether it is still pending.
    pub(crate) fn set_timer_waker(&self, key: TimerKey, waker: &Waker) -> bool {
        let pending = self.timers.borrow().look(key, waker);
        match pending {
            Pending::No => false,
            Pending::Yes => true,
            Pending::ForAnother => {
                let waker = waker.clone(); // cloning and dropping are user code: not under the borrow
                let former = self.timers.borrow_mut().replace_waker(key, waker);
                drop(former);
                true
            }
        }
    }

    pub(crate) fn remove_timer(&self, key: TimerKey) {
        let removed = self.timers.borrow_mut().remove(key);
        drop(removed); // as above
    }

    pub(crate) fn wake_deferred(&self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.deferred.wake(waker);
        }
    }

    pub(crate) fn report(&self, unhandled: Unhandled) {
        self.deferred.report(unhandled);
    }

    pub(crate) fn run_wakers(&self) {
        self.deferred.run_wakers();
    }

    pub(crate) fn take_reports(&self) -> Vec<Unhandled> {
        self.deferred.take_reports()
    }

    // ---- buffers and counts ------------------------------------------------------------------

    pub(crate) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// An empty buffer for a writer, with capacity left over from another if possible.
    pub(crate) fn take_spare(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_spare(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS_MAX && buffer.capacity() <= SPARE_CAPACITY_MAX {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Whether operations can still be started.
    pub(crate) fn is_accepting(&self) -> bool {
        matches!(self.phase.get(), ReactorPhase::Open | ReactorPhase::Lingering)
    }

    /// How long a dropped stream may take to send what was queued.
    pub(crate) fn linger_ns(&self) -> u64 {
        self.linger_ns
    }

    /// A stream began (+1) or ended (−1) sending in the background.
    pub(crate) fn count_closing(&self, change: isize) {
        self.closing_count
            .set(self.closing_count.get().checked_add_signed(change).expect("a count of streams"));
    }

    /// A background close ended because the peer had reset or left the connection.
    pub(crate) fn count_peer_reset(&self) {
        self.peer_resets.set(self.peer_resets.get() + 1);
    }

    /// A listener has reset a connection beyond its limit.
    pub(crate) fn count_shed(&self) {
        self.shed.set(self.shed.get() + 1);
    }

    pub(crate) fn stats(&self) -> ReactorStats {
        let slots = self.slots.borrow();
        ReactorStats {
            driver: self.driver.borrow().as_ref().map(Driver::stats).unwrap_or_default(),
            stale_completions: slots.stale_completions(),
            watchdog: self.watchdog.borrow().stats,
            pool_exhausted: self.pool_exhausted.get(),
            in_flight: slots.len(),
            timers: self.timers.borrow().len(),
            closing_streams: self.closing_count.get(),
            peer_resets: self.peer_resets.get(),
            shed: self.shed.get(),
            buffers_held: self.pool.held_count(),
        }
    }
}

impl Drop for Reactor {
    /// A runtime ends with `shut_down`. Should something have kept it from doing so, the ring goes
    /// as it is, and what the kernel may still write to is leaked.
    fn drop(&mut self) {
        if self.disown() {
            return;
        }
        if let Some(driver) = self.driver.get_mut().take() {
            self.slots.get_mut().leak();
            driver.close(crate::driver::Drained::No);
        }
    }
}
