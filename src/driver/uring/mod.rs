//! The io_uring driver: bookkeeping above one ring.
//!
//! Some facts about io_uring that shape this file:
//!
//! - **Task work runs only in an enter that asks for it.** With `DEFER_TASKRUN` a ready receive
//!   becomes a completion only inside an enter with `GETEVENTS` (H08). Since 6.13 an enter brings
//!   twenty of them (H09), forty if it also submits, and one after a real sleep (H81); older
//!   kernels bring all. So the one enter of a turn always asks, and an empty CQ does not mean that
//!   nothing is left: the ring's `TASKRUN` flag shows that.
//! - **A full CQ loses nothing, and shows nothing.** Further completions queue in the kernel, every
//!   enter succeeds, and only the `CQ_OVERFLOW` flag is set (H01). After reaping we enter again
//!   until it is clear. Ten thousand armed receives on a CQ of 4 096 make this an ordinary path.
//! - **The return value of enter is about submission.** It hides timeouts, signals and whether
//!   completions came (H03, H04); and an error does not mean that nothing was consumed (H05). We
//!   look at the queues and at nothing else. A pushed entry belongs to the kernel.
//! - **Cancellation is best effort.** The cancel's own result means nothing; only the target's
//!   final completion ends the operation (H30). So cancels ask for no completion on success, and a
//!   failure is only counted. They wait in a list of their own while the SQ is full, and go before
//!   everything else: a lost cancel is a task that hangs.
//! - **One timeout entry carries the loop's deadline**: see [`deadline`].

mod buffer_ring;
mod deadline;
mod encode;
pub(crate) mod entry;
mod internal;
mod probe;
mod queues;
pub(crate) mod ring;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code))] // most of it is for tests
pub(crate) mod scripted;
pub(crate) mod setup;
#[cfg(test)]
mod tests;
mod timespec;
mod timing;
mod wake;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

use super::request::{Completion, Drained, Flags, Key, PushOutcome, Request, Wait};
use super::stats::DriverStats;
use crate::buf::Pool;
use crate::sys::eventfd::EventFd;
use deadline::TimeoutEntry;
use entry::{Cqe, Enter, Entry, Full, Ring};
use queues::Queues;
use wake::WakePoll;

/// Completions handed upwards in one turn. The rest stay in the queue for the next.
const COMPLETIONS_PER_TURN_MAX: usize = 1024;

/// Cancels that one turn gives to the kernel, which walks a list for each. The rest follow in the
/// next turn, before it may sleep.
const CANCELS_PER_TURN_MAX: u32 = 256;

/// The longest sleep of a drain before it cancels the poll of the eventfd again.
const DRAIN_STEP_NS: u64 = 100_000_000;

/// Extra enters of one turn to flush an overflowed completion queue (H01).
const OVERFLOW_FLUSHES_PER_TURN_MAX: u32 = 16;

pub(crate) struct Uring<R> {
    queues: Queues<R>,
    pool: Rc<Pool>,
    /// Cancels that are not on the SQ yet. At most one per slot.
    cancels: VecDeque<Key>,
    /// Cancels that this turn may still push.
    cancels_left: u32,
    timeout: TimeoutEntry,
    wake: WakePoll,
    /// Completions copied out and not yet looked at. Kept for its capacity.
    reaped: Vec<Cqe>,
}

impl<R: Ring> Uring<R> {
    pub(crate) fn new(ring: R, pool: Rc<Pool>, wake_fd: Arc<EventFd>) -> io::Result<Uring<R>> {
        Ok(Uring {
            queues: Queues::new(ring),
            pool,
            cancels: VecDeque::new(),
            cancels_left: CANCELS_PER_TURN_MAX,
            timeout: TimeoutEntry::new(),
            wake: WakePoll::new(wake_fd),
            reaped: Vec::new(),
        })
    }

    pub(crate) fn push(&mut self, key: Key, request: Request) -> PushOutcome {
        match self.queues.ring.push(key.raw(), Entry::Op(request)) {
            Ok(()) => {
                self.queues.stats.submissions += 1;
                PushOutcome::Taken
            }
            Err(Full) => PushOutcome::Full,
        }
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.queues.stats.cancels += 1;
        self.cancels.push_back(key);
    }

    /// Ends a receive of a socket that no other descriptor shares.
    ///
    /// A cancel walks a list of what is in flight: 0.2 µs for the newest of 10 000 receives, 3 µs
    /// for the oldest, 61 µs for the oldest of 100 000 (Linux 6.18). A shutdown costs one system
    /// call of some 0.3 µs at any number, and a receive cannot miss it.
    pub(crate) fn end_recv(&mut self, key: Key, fd: RawFd) {
        if self.queues.ring.shut_down_reading(fd).is_err() {
            self.cancel(key); // the connection is gone, and the receive ends or has ended by itself
        }
    }

    /// Whether cancels wait for a later turn.
    pub(crate) fn has_cancels(&self) -> bool {
        !self.cancels.is_empty()
    }

    /// Whether half the submission queue waits for an enter.
    pub(crate) fn is_half_full(&mut self) -> bool {
        self.queues.ring.unsubmitted_count() >= self.sq_entries() / 2
    }

    /// Submits without waiting and without collecting completions.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.lend_buffers();
        self.push_cancels();
        if self.queues.ring.unsubmitted_count() > 0 {
            self.queues.enter(Enter::Submit)?;
        }
        Ok(())
    }

    /// Has the kernel notify an eventfd when a wait would find something.
    pub(crate) fn register_eventfd(&mut self, fd: RawFd) -> io::Result<()> {
        self.queues.ring.register_eventfd(fd)
    }

    /// Submits everything, so that what completes notifies the registered eventfd. Returns whether
    /// a wait would find something at once. The eventfd may have been notified for that before.
    pub(crate) fn park(&mut self) -> io::Result<bool> {
        let is_armed = self.wake.arm(&mut self.queues);
        self.flush()?;
        Ok(!is_armed || !self.has_caught_up())
    }

    /// Submits everything, sleeps if nothing is ready and `wait` allows it, and copies completions
    /// to `out`.
    pub(crate) fn wait(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        self.lend_buffers();
        self.cancels_left = CANCELS_PER_TURN_MAX;
        self.push_cancels();
        let Uring { queues, timeout, wake, .. } = self;
        let mut ready_to_sleep = wake.arm(queues);
        if let Wait::Until(deadline_ns) = wait {
            ready_to_sleep &= timeout.arm(queues, deadline_ns);
        }
        ready_to_sleep &= self.cancels.is_empty();

        let may_sleep = wait != Wait::Poll && ready_to_sleep;
        let entered = if may_sleep && queues.ring.reapable_count() == 0 {
            queues.enter(Enter::Sleep)
        } else if queues.ring.unsubmitted_count() > 0 || queues.ring.flags().hidden_completions() {
            queues.enter(Enter::Collect)
        } else {
            Ok(())
        };
        self.reap(out); // of a ring that has failed, too: nothing is lost
        let flushed = self.flush_overflow(out);
        entered.and(flushed)
    }

    /// Takes back what the driver itself has in flight. Call when no operation is left.
    pub(crate) fn drain(&mut self, deadline_ns: u64, now: impl Fn() -> u64) -> Drained {
        if self.wake.is_armed() {
            self.wake.cancel(&mut self.queues);
        }
        let mut stale_completions = Vec::new();
        while self.wake.is_armed() || self.timeout.is_armed() {
            let now_ns = now();
            if now_ns >= deadline_ns {
                return Drained::No;
            }
            // The timeout entry bounds each sleep, in case the cancel of the poll is lost. Once the
            // poll has ended, the entry is made to fire at once.
            let until_ns = match self.wake.is_armed() {
                true => deadline_ns.min(now_ns + DRAIN_STEP_NS),
                false => now_ns,
            };
            let is_bounded = self.timeout.arm(&mut self.queues, until_ns);
            let enter = if is_bounded { Enter::Sleep } else { Enter::Collect };
            if self.queues.enter(enter).is_err() {
                return Drained::No;
            }
            self.reap(&mut stale_completions);
            if self.wake.is_armed() && now() >= until_ns {
                self.wake.cancel(&mut self.queues);
            }
        }
        Drained::Yes
    }

    /// Completions that the kernel has dropped for want of memory (H02).
    pub(crate) fn dropped_count(&mut self) -> u32 {
        self.queues.ring.dropped_count()
    }

    /// Whether the last wait left nothing: no cancel here, no completion in the queue or the
    /// kernel.
    pub(crate) fn has_caught_up(&mut self) -> bool {
        let ring = &mut self.queues.ring;
        self.cancels.is_empty() && ring.reapable_count() == 0 && !ring.flags().hidden_completions()
    }

    /// Looks whether the kernel has lost a wake-up of the eventfd's poll (H55), and if so, cancels
    /// the poll. The next wait arms another.
    pub(crate) fn look_at_wake_poll(&mut self) -> bool {
        self.wake.look(&mut self.queues)
    }

    /// Closes the ring. Where something is still in flight, the memory that the kernel may write
    /// to is leaked on purpose: freeing it would be worse.
    pub(crate) fn close(self, drained: Drained) {
        let Uring { queues, pool, .. } = self;
        match drained {
            Drained::Yes => {
                drop(queues);
                pool.reclaim();
            }
            Drained::No => {
                queues.ring.leak();
                std::mem::forget(pool);
            }
        }
    }

    /// In a forked child: closes the child's descriptors. The memory that the parent shares with
    /// the kernel is not mapped here, so it is neither used nor unmapped.
    pub(crate) fn disown(self) {
        self.queues.ring.disown();
    }

    pub(crate) fn wake_fd(&self) -> &Arc<EventFd> {
        self.wake.wake_fd()
    }

    pub(crate) fn stats(&self) -> DriverStats {
        self.queues.stats
    }

    pub(crate) fn sq_entries(&self) -> u32 {
        self.queues.ring.sq_entries()
    }

    pub(crate) fn cq_entries(&self) -> u32 {
        self.queues.ring.cq_entries()
    }

    /// Gives the kernel every buffer that the program has returned.
    fn lend_buffers(&mut self) {
        let mut lent = false;
        while let Some(loan) = self.pool.lend() {
            self.queues.ring.provide(loan);
            lent = true;
        }
        if lent {
            self.queues.ring.publish();
        }
    }

    fn push_cancels(&mut self) {
        while self.cancels_left > 0 {
            let Some(&key) = self.cancels.front() else { return };
            let user_data = key.raw() & !0xFF | u64::from(internal::CANCEL);
            if self.queues.push_now(user_data, Entry::Cancel { target: key.raw() }).is_err() {
                return; // the kernel takes nothing right now; the list keeps them
            }
            self.cancels.pop_front();
            self.cancels_left -= 1;
        }
    }

    /// Enters and reaps again as long as the kernel's overflow list has entries (H01).
    ///
    /// What the kernel holds back as task work (H09) is left for the next turn: a batch is answered
    /// while its connections' memory is still in the cache, and the next turn's enter, which
    /// submits those answers, collects the next forty (H81).
    fn flush_overflow(&mut self, out: &mut Vec<Completion>) -> io::Result<()> {
        for _ in 0..OVERFLOW_FLUSHES_PER_TURN_MAX {
            if out.len() >= COMPLETIONS_PER_TURN_MAX || !self.queues.ring.flags().cq_overflow {
                return Ok(());
            }
            self.queues.stats.cq_overflows += 1;
            self.queues.enter(Enter::Collect)?;
            self.reap(out);
        }
        Ok(()) // if the flag is still set, the next wait will not sleep
    }

    /// Moves one batch from the queue to `out`, without entering the kernel. Completions of the
    /// driver's own entries are handled here.
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.queues.ring.reap(&mut reaped, COMPLETIONS_PER_TURN_MAX);
        let stats = &mut self.queues.stats;
        stats.completions += reaped.len() as u64;
        for cqe in reaped.drain(..) {
            match cqe.user_data as u8 {
                internal::TIMEOUT => self.timeout.ended(cqe),
                internal::TIMEOUT_UPDATE => self.timeout.update_failed(cqe),
                internal::CANCEL => stats.cancels_missed += 1, // H30: of interest as a count only
                internal::WAKE => self.wake.completed(Flags::from_raw(cqe.flags).more()),
                internal::PROBE => {
                    probe::close_accepted(cqe);
                    stats.stale_completions += 1;
                }
                internal::PROBE_TIMEOUT | internal::TIMING => stats.stale_completions += 1,
                internal::PROBE_CANCEL => stats.cancels_missed += 1,
                _tag => out.push(Completion {
                    key: Key::from_raw(cqe.user_data),
                    result: cqe.result,
                    flags: Flags::from_raw(cqe.flags),
                }),
            }
        }
        self.reaped = reaped;
    }
}
