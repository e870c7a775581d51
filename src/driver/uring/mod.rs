//! The io_uring driver: bookkeeping above one ring.
//!
//! Some facts about io_uring that shape this file:
//!
//! - **Nothing runs unless asked.** With `DEFER_TASKRUN` a ready receive becomes a completion only
//!   inside an enter with `GETEVENTS` (H08). Since 6.13 an enter brings twenty of them (H09), forty
//!   if it also submits, and one after a real sleep (H81); older kernels bring all. So the one
//!   enter of a turn always asks, and "the CQ is empty" is never taken for "nothing is left": that
//!   is what the ring's `TASKRUN` sign is for.
//! - **A full CQ loses nothing, and shows nothing.** Further completions queue in the kernel, every
//!   enter succeeds, and only the `CQ_OVERFLOW` sign tells (H01). After reaping we enter again
//!   until it is clear. Ten thousand armed receives on a CQ of 4 096 make this an ordinary path.
//! - **The return value of enter is about submission.** It hides timeouts, signals and whether
//!   completions came (H03, H04); and an error does not mean that nothing was consumed (H05). We
//!   look at the queues and at nothing else. A pushed entry belongs to the kernel.
//! - **A cancel is a wish.** Its own answer means nothing; the target's final completion does
//!   (H30). Cancels therefore ask for no completion on success, and a failure is only counted. They
//!   wait in a list of their own when the SQ is full and go before everything else, because a
//!   dropped cancel is a task that hangs.
//! - **One timeout entry carries the loop's deadline.** It is armed when a deadline earlier than
//!   the armed one appears and otherwise left alone: firing too early costs one turn, removing one
//!   of ten thousand kernel timers costs up to 99 µs (H40).
//!
//! ```text
//! timeout entry            earlier deadline
//!                          ┌── update ──┐
//!          deadline        ▼            │
//!  Idle ─────────────▶ Armed(deadline, round) ──── its completion ───▶ Idle
//! ```
//!
//! The round is part of the entry's `user_data`, so the failed update of a timeout that had just
//! fired is not mistaken for news about the next one.

pub(crate) mod entry;
mod probe;
pub(crate) mod ring;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code))] // most of it is for tests
pub(crate) mod scripted;
pub(crate) mod setup;
#[cfg(test)]
mod tests;
mod timing;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

use entry::{Cqe, Enter, Entry, Ring};

use super::request::{Completion, Flags, Key, Request, Wait};
use super::{DriverStats, PushOutcome};
use crate::buf::Pool;
use crate::sys::epoll;
use crate::sys::errno;
use crate::sys::eventfd::EventFd;
use crate::sys::memory::Mapping;

/// Completions handed upwards in one turn. The rest stay in the queue for the next.
const COMPLETIONS_PER_TURN_MAX: usize = 1024;

/// Cancels that one turn gives to the kernel, which walks a list for each. The rest follow in the
/// next turn, before it may sleep.
const CANCELS_PER_TURN_MAX: u32 = 256;

/// The longest sleep of a drain before it cancels the eventfd read.
const DRAIN_STEP_NS: u64 = 100_000_000;

/// Extra enters of one turn to flush an overflowed completion queue (H01).
const OVERFLOW_FLUSHES_PER_TURN_MAX: u32 = 16;

/// The lowest byte of `user_data` says whose completion it is. Operations use the low values.
mod internal {
    pub(super) const TIMEOUT: u8 = 0xF0;
    pub(super) const TIMEOUT_UPDATE: u8 = 0xF1;
    pub(super) const CANCEL: u8 = 0xF2;
    pub(super) const WAKE: u8 = 0xF3;
    // Those of `probe`, on the ring before the driver.
    pub(super) const PROBE: u8 = 0xF4;
    pub(super) const PROBE_TIMEOUT: u8 = 0xF5;
    pub(super) const PROBE_CANCEL: u8 = 0xF6;
    pub(super) const TIMING: u8 = 0xF7; // of `timing`
}

pub(crate) struct Uring<R> {
    ring: R,
    pool: Rc<Pool>,
    wake_fd: Arc<EventFd>,
    /// Cancels that are not on the SQ yet. At most one per slot.
    cancels: VecDeque<Key>,
    /// Cancels that this turn may still push.
    cancels_left: u32,
    timeout: TimeoutEntry,
    wake: WakeRead,
    /// Completions copied out and not yet looked at. Kept for its capacity.
    reaped: Vec<Cqe>,
    stats: DriverStats,
}

#[derive(Clone, Copy, Debug)]
enum TimeoutEntry {
    Idle { next_round: u32 },
    Armed { round: u32, deadline_ns: u64 },
}

/// The read of the eventfd that lets other threads end a sleep.
struct WakeRead {
    armed: bool,
    /// The eventfd was readable at the watchdog's last look, and the read has not completed since.
    is_suspect: bool,
    /// Lent to the kernel while `armed`. A mapping, because its address must not change.
    target: Mapping,
}

/// Whether the kernel has let go of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Drained {
    Yes,
    /// Something is still in flight: memory it names must be leaked.
    No,
}

impl<R: Ring> Uring<R> {
    pub(crate) fn new(ring: R, pool: Rc<Pool>, wake_fd: Arc<EventFd>) -> io::Result<Uring<R>> {
        Ok(Uring {
            ring,
            pool,
            wake_fd,
            cancels: VecDeque::new(),
            cancels_left: CANCELS_PER_TURN_MAX,
            timeout: TimeoutEntry::Idle { next_round: 0 },
            wake: WakeRead {
                armed: false,
                is_suspect: false,
                target: Mapping::hidden_from_children(size_of::<u64>())?,
            },
            reaped: Vec::new(),
            stats: DriverStats::default(),
        })
    }

    pub(crate) fn push(&mut self, key: Key, request: Request) -> PushOutcome {
        match self.ring.push(key.raw(), Entry::Op(request)) {
            Ok(()) => {
                self.stats.submissions += 1;
                PushOutcome::Taken
            }
            Err(entry::Full) => PushOutcome::Full,
        }
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.stats.cancels += 1;
        self.cancels.push_back(key);
    }

    /// Ends a receive of a socket that no other descriptor shares.
    ///
    /// A cancel walks a list of what is in flight: 0.2 µs for the newest of 10 000 receives, 3 µs
    /// for the oldest, 61 µs for the oldest of 100 000 (Linux 6.18). A shutdown costs one system
    /// call of some 0.3 µs at any number, and a receive cannot miss it.
    pub(crate) fn end_recv(&mut self, key: Key, fd: RawFd) {
        if self.ring.shut_down_reading(fd).is_err() {
            self.cancel(key); // the connection is gone, and the receive ends or has ended by itself
        }
    }

    /// Whether cancels wait for a later turn.
    pub(crate) fn has_cancels(&self) -> bool {
        !self.cancels.is_empty()
    }

    /// Whether half the submission queue waits for an enter.
    pub(crate) fn is_half_full(&mut self) -> bool {
        self.ring.unsubmitted_count() >= self.ring.sq_entries() / 2
    }

    /// Submits without waiting and without collecting completions.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.lend_buffers();
        self.push_cancels();
        if self.ring.unsubmitted_count() > 0 {
            self.enter(Enter::Submit)?;
        }
        Ok(())
    }

    /// Submits everything, sleeps if nothing is ready and `wait` allows it, and copies completions
    /// to `out`.
    pub(crate) fn wait(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        self.lend_buffers();
        self.cancels_left = CANCELS_PER_TURN_MAX;
        self.push_cancels();
        let mut ready_to_sleep = self.arm_wake();
        if let Wait::Until(deadline_ns) = wait {
            ready_to_sleep &= self.arm_timeout(deadline_ns);
        }
        ready_to_sleep &= self.cancels.is_empty();

        let entered = if wait != Wait::Poll && ready_to_sleep && self.ring.reapable_count() == 0 {
            self.enter(Enter::Sleep)
        } else if self.ring.unsubmitted_count() > 0 || self.ring.flags().hidden_completions() {
            self.enter(Enter::Collect)
        } else {
            Ok(())
        };
        let collected = self.collect(out); // also of a ring that has failed: what came has come
        entered.and(collected)
    }

    /// Copies a batch of completions to `out` without entering the kernel.
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        self.reap_internal(out);
    }

    /// Takes back what the driver itself has in flight. Call when no operation is left.
    pub(crate) fn drain(&mut self, deadline_ns: u64, now: impl Fn() -> u64) -> Drained {
        self.wake_fd.notify(); // ends the eventfd read
        let mut stale_completions = Vec::new();
        while self.wake.armed || matches!(self.timeout, TimeoutEntry::Armed { .. }) {
            let now_ns = now();
            if now_ns >= deadline_ns {
                return Drained::No;
            }
            // The timeout entry bounds each sleep, in case the wake-up of the read is lost. Once
            // the read has ended, the entry is made to fire at once.
            let until_ns = match self.wake.armed {
                true => deadline_ns.min(now_ns + DRAIN_STEP_NS),
                false => now_ns,
            };
            let is_bounded = self.arm_timeout(until_ns);
            if self.enter(if is_bounded { Enter::Sleep } else { Enter::Collect }).is_err() {
                return Drained::No;
            }
            self.reap_internal(&mut stale_completions);
            if self.wake.armed && now() >= until_ns {
                self.cancel_wake_read();
            }
        }
        Drained::Yes
    }

    /// Completions that the kernel has dropped for want of memory (H02).
    pub(crate) fn dropped_count(&mut self) -> u32 {
        self.ring.dropped_count()
    }

    /// Whether the last wait left nothing: no cancel here, no completion in the queue or the
    /// kernel.
    pub(crate) fn has_caught_up(&mut self) -> bool {
        self.cancels.is_empty()
            && self.ring.reapable_count() == 0
            && !self.ring.flags().hidden_completions()
    }

    /// Looks whether the kernel has lost the wake-up of the eventfd read (H55), and if so, cancels
    /// the read. The next wait arms another.
    pub(crate) fn look_at_wake_read(&mut self) -> bool {
        let is_ready = self.wake.armed && epoll::is_readable(self.wake_fd.raw());
        let is_lost = std::mem::replace(&mut self.wake.is_suspect, is_ready) && is_ready;
        if is_lost {
            self.cancel_wake_read();
        }
        is_lost
    }

    fn cancel_wake_read(&mut self) {
        let target = internal_user_data(internal::WAKE, 0);
        let cancel = internal_user_data(internal::CANCEL, 0);
        let _ = self.push_now(cancel, Entry::Cancel { target }); // the next look tries again
    }

    /// Closes the ring. Where something is still in flight, the memory that the kernel may write
    /// to is leaked on purpose: freeing it would be worse.
    pub(crate) fn close(self, drained: Drained) {
        let Uring { ring, pool, wake, .. } = self;
        match drained {
            Drained::Yes => {
                drop(ring);
                pool.reclaim();
            }
            Drained::No => {
                ring.leak();
                std::mem::forget((pool, wake));
            }
        }
    }

    /// In a forked child: closes the child's descriptors. What the parent shares with the kernel is
    /// not mapped here, so it is neither used nor unmapped.
    pub(crate) fn disown(self) {
        let Uring { ring, wake, .. } = self;
        ring.disown();
        std::mem::forget(wake);
    }

    pub(crate) fn wake_fd(&self) -> &Arc<EventFd> {
        &self.wake_fd
    }

    pub(crate) fn stats(&self) -> DriverStats {
        self.stats
    }

    pub(crate) fn sq_entries(&self) -> u32 {
        self.ring.sq_entries()
    }

    pub(crate) fn cq_entries(&self) -> u32 {
        self.ring.cq_entries()
    }

    /// Gives the kernel every buffer that the program has returned.
    fn lend_buffers(&mut self) {
        let mut lent = false;
        while let Some(loan) = self.pool.lend() {
            self.ring.provide(loan);
            lent = true;
        }
        if lent {
            self.ring.publish();
        }
    }

    fn push_cancels(&mut self) {
        while self.cancels_left > 0 {
            let Some(&key) = self.cancels.front() else { return };
            let user_data = key.raw() & !0xFF | u64::from(internal::CANCEL);
            if self.push_now(user_data, Entry::Cancel { target: key.raw() }).is_err() {
                return; // the kernel takes nothing right now; the list keeps them
            }
            self.cancels.pop_front();
            self.cancels_left -= 1;
        }
    }

    /// Returns whether another thread's wake will end a sleep.
    fn arm_wake(&mut self) -> bool {
        if !self.wake.armed {
            let entry =
                Entry::WakeRead { fd: self.wake_fd.raw(), target: self.wake.target.as_ptr() };
            let pushed = self.push_now(internal_user_data(internal::WAKE, 0), entry);
            self.wake.armed = pushed.is_ok();
        }
        self.wake.armed
    }

    /// Returns whether the kernel will end a sleep by `deadline_ns`.
    fn arm_timeout(&mut self, deadline_ns: u64) -> bool {
        match self.timeout {
            TimeoutEntry::Armed { deadline_ns: armed_ns, .. } if armed_ns <= deadline_ns => true,
            TimeoutEntry::Armed { round, .. } => {
                let target = internal_user_data(internal::TIMEOUT, round);
                let user_data = internal_user_data(internal::TIMEOUT_UPDATE, round);
                let entry = Entry::TimeoutUpdate { target, deadline_ns };
                let pushed = self.push_now(user_data, entry).is_ok();
                if pushed {
                    self.timeout = TimeoutEntry::Armed { round, deadline_ns };
                    self.stats.timeout_arms += 1;
                }
                pushed
            }
            TimeoutEntry::Idle { next_round: round } => {
                let user_data = internal_user_data(internal::TIMEOUT, round);
                let pushed = self.push_now(user_data, Entry::Timeout { deadline_ns }).is_ok();
                if pushed {
                    self.timeout = TimeoutEntry::Armed { round, deadline_ns };
                    self.stats.timeout_arms += 1;
                }
                pushed
            }
        }
    }

    /// Pushes an entry of the driver's own, making room by submitting if there is none.
    fn push_now(&mut self, user_data: u64, entry: Entry) -> Result<(), entry::Full> {
        if self.ring.push(user_data, entry).is_err() {
            let _ = self.enter(Enter::Submit); // the push below tells whether it made room
            self.ring.push(user_data, entry)?;
        }
        self.stats.submissions += 1;
        Ok(())
    }

    /// The one place that enters the kernel. What it returns is never news about completions (H03).
    fn enter(&mut self, enter: Enter) -> io::Result<()> {
        self.stats.enter_calls += 1;
        if enter == Enter::Sleep {
            self.stats.sleeps += 1;
        }
        match self.ring.enter(enter) {
            Ok(()) => Ok(()),
            Err(error) if is_passing(&error) => {
                self.stats.enter_retries += 1;
                Ok(())
            }
            // A broken or forbidden ring (H25): it ends the driver (`reactor::driver_failure`).
            Err(error) => Err(error),
        }
    }

    /// Copies completions out, flushing the kernel's overflow list as long as it has entries (H01).
    ///
    /// What the kernel holds back as task work (H09) is left for the next turn: a batch is answered
    /// while its connections' memory is still in the cache, and the next turn's enter, which
    /// submits those answers, collects the next forty (H81).
    fn collect(&mut self, out: &mut Vec<Completion>) -> io::Result<()> {
        for _ in 0..OVERFLOW_FLUSHES_PER_TURN_MAX {
            self.reap_internal(out);
            if out.len() >= COMPLETIONS_PER_TURN_MAX || !self.ring.flags().cq_overflow {
                return Ok(());
            }
            self.stats.cq_overflows += 1;
            self.enter(Enter::Collect)?;
        }
        self.reap_internal(out);
        Ok(()) // the sign is still up, so the next wait will not sleep
    }

    /// Moves one batch from the queue to `out`, keeping what is the driver's own.
    fn reap_internal(&mut self, out: &mut Vec<Completion>) {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.ring.reap(&mut reaped, COMPLETIONS_PER_TURN_MAX);
        self.stats.completions += reaped.len() as u64;
        for cqe in reaped.drain(..) {
            match cqe.user_data as u8 {
                internal::TIMEOUT => self.timeout_ended(cqe),
                internal::TIMEOUT_UPDATE => self.timeout_update_failed(cqe),
                // H30: only the count of them is of interest.
                internal::CANCEL => self.stats.cancels_missed += 1,
                internal::WAKE => {
                    self.wake.armed = false; // armed again by the next wait
                    self.wake.is_suspect = false;
                }
                internal::PROBE => {
                    probe::close_accepted(cqe);
                    self.stats.stale_completions += 1;
                }
                internal::PROBE_TIMEOUT | internal::TIMING => self.stats.stale_completions += 1,
                internal::PROBE_CANCEL => self.stats.cancels_missed += 1,
                _verb => out.push(Completion {
                    key: Key::from_raw(cqe.user_data),
                    result: cqe.result,
                    flags: Flags::from_raw(cqe.flags),
                }),
            }
        }
        self.reaped = reaped;
    }

    fn timeout_ended(&mut self, cqe: Cqe) {
        let round = internal_round(cqe.user_data);
        match self.timeout {
            TimeoutEntry::Armed { round: armed, .. } if armed == round => {
                self.timeout = TimeoutEntry::Idle { next_round: round.wrapping_add(1) };
            }
            _ => {} // one that was forgotten when its update was refused
        }
    }

    /// The update came too late (the entry had fired, and its own completion says so), or the
    /// kernel would not do it. In the second case the entry still means a later deadline, so it is
    /// forgotten and the next wait arms another; its own completion, some day, is no news.
    fn timeout_update_failed(&mut self, cqe: Cqe) {
        let round = internal_round(cqe.user_data);
        match self.timeout {
            TimeoutEntry::Armed { round: armed, .. } if armed == round => {}
            _ => return, // news about a timeout that has already ended
        }
        match errno::from_result(cqe.result.min(-1)) {
            errno::ENOENT | errno::EALREADY => {}
            _ => {
                self.timeout = TimeoutEntry::Idle { next_round: round.wrapping_add(1) };
            }
        }
    }
}

/// Whether an enter failed for now only: a signal (H06), or the kernel is short of memory or room
/// (H02). The entries stay where they are, and the next enter tries again.
///
/// `EBADR` is the one that reports a loss: the kernel has dropped a completion. It is returned only
/// by an enter that submits nothing, so the loss itself is read from the ring's own counter
/// ([`Ring::dropped_count`]), and `reactor::watchdog` finds the operation that it belongs to.
fn is_passing(error: &io::Error) -> bool {
    let passing =
        [errno::EINTR, errno::EAGAIN, errno::EBUSY, errno::ENOMEM, errno::ETIME, errno::EBADR];
    error.raw_os_error().is_some_and(|code| passing.contains(&code))
}

fn internal_user_data(kind: u8, round: u32) -> u64 {
    u64::from(round) << 32 | u64::from(kind)
}

fn internal_round(user_data: u64) -> u32 {
    (user_data >> 32) as u32
}
