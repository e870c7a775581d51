//! Watchdog: lost wake-ups (H55), lost cancels (H33) and lost completions (H02).
//!
//! Some kernels lose a wake-up now and then: bytes lie in a socket, a receive is armed for them,
//! and no completion comes. (Seen on Linux 6.1.192 about once in some thousand connections, with
//! the receive in the ring's poll list and nothing queued; fixed in part in 6.12.115.) Some lose a
//! cancel. And when the kernel is out of memory, it may drop a completion: it counts that, and the
//! operation stays silent. Each leaves a connection that hangs although nothing in it is wrong.
//!
//! All times here are those of the kernel's clock: a paused loop watches the kernel as any other.
//!
//! **Wake-ups.** Once a second, a share of the operations in flight is looked at with one
//! `poll(2)`. One whose descriptor has been ready at two looks in a row, without a completion in
//! between, is cancelled. Owners of receives, accepts and polls submit again, which loses nothing:
//! what was read by then has been reported, and the rest is still in the socket. A send or a
//! connect ends with an error, because a cancelled send may have sent bytes without reporting it
//! (H32). So it is cancelled only if the loop has taken, between the two looks, all completions of
//! the kernel: an enter brings a limited number of completions (H09), and a loop whose turns last
//! seconds may be behind. A full pass over n operations takes the larger of [`LOOKS_PER_PASS`] and
//! n / [`LOOK_OPS_MAX`] seconds. The read of the driver's eventfd is looked at as well.
//!
//! **Cancels.** Each is noted with its time. If the operation is still in flight after
//! [`CANCEL_AGAIN_NS`], it is cancelled again, as often as it takes. Notes of operations that have
//! ended are dropped without a system call.
//!
//! **Completions.** When the kernel's count of dropped completions has grown, every receive, accept
//! and poll in flight is cancelled, to be submitted again. One that has not completed after
//! [`CANCELS_BEFORE_SILENT`] cancels, when the loop has taken all completions of the kernel, is the
//! one whose completion was dropped: it ends with `EBADR`, and the memory that it names is leaked,
//! because only a final completion ends a loan. All others go on. Sends and connects are found by
//! the looks.

pub(super) mod state;

use super::Reactor;
use super::slots::Recipient;
use crate::driver;
use crate::driver::request::Key;
use crate::sys::errno;
use state::{Cancel, Watchdog};

/// Between two looks.
const LOOK_NS: u64 = 1_000_000_000;

/// Looks that a pass over all operations takes, as long as none exceeds [`LOOK_OPS_MAX`].
const LOOKS_PER_PASS: usize = 32;

/// The fewest and the most operations of one look, besides those that were suspect.
const LOOK_OPS_MIN: usize = 256;
const LOOK_OPS_MAX: usize = 4096;

/// Pause between two cancels of the same operation.
pub(super) const CANCEL_AGAIN_NS: u64 = 100_000_000;

/// Cancels that one turn repeats, and operations that one turn checks after a dropped completion.
const REPEATS_PER_TURN_MAX: usize = 256;

/// Cancels without an effect after which an operation counts as silent, if the kernel has dropped
/// completions.
const CANCELS_BEFORE_SILENT: u32 = 3;

impl Reactor {
    /// When a sleep has to end for the watchdog.
    pub(super) fn watchdog_due_ns(&self) -> Option<u64> {
        let mut watchdog = self.watchdog.borrow_mut();
        if !watchdog.is_needed {
            return None;
        }
        self.drop_ended(&mut watchdog, usize::MAX);
        let cancel_ns = watchdog.cancels.front().map(|cancel| cancel.again_ns);
        // The first operations are given as much time as all others.
        let look_ns = *watchdog.look_ns.get_or_insert_with(|| self.kernel_now_ns() + LOOK_NS);
        Some(cancel_ns.map_or(look_ns, |cancel_ns| cancel_ns.min(look_ns)))
    }

    /// Notes that the driver was asked to end an operation.
    pub(super) fn watch_cancel(&self, key: Key) {
        let mut watchdog = self.watchdog.borrow_mut();
        if !watchdog.is_needed {
            return;
        }
        // At most two are dropped for one that is added, so the queue shrinks to what has not
        // ended.
        self.drop_ended(&mut watchdog, 2);
        let again_ns = self.kernel_turn_ns() + CANCEL_AGAIN_NS;
        watchdog.cancels.push_back(Cancel { key, again_ns, count: 1 });
    }

    /// Does what is due.
    pub(super) fn run_watchdog(&self, now_ns: u64) {
        if !self.watchdog.borrow().is_needed {
            return;
        }
        let has_caught_up =
            self.driver.borrow_mut().as_mut().is_some_and(driver::Driver::has_caught_up);
        self.repeat_cancels(now_ns, has_caught_up);
        self.check_after_drop();
        let mut watchdog = self.watchdog.borrow_mut();
        watchdog.has_caught_up |= has_caught_up;
        let look_ns = *watchdog.look_ns.get_or_insert(now_ns + LOOK_NS);
        if now_ns >= look_ns {
            watchdog.look_ns = Some(now_ns + LOOK_NS);
            drop(watchdog);
            self.look();
        }
    }

    /// Drops notes at the front whose operations have ended.
    fn drop_ended(&self, watchdog: &mut Watchdog, count_max: usize) {
        let slots = self.slots.borrow();
        for _ in 0..count_max {
            match watchdog.cancels.front() {
                Some(cancel) if !slots.is_cancelling(cancel.key) => watchdog.cancels.pop_front(),
                _ => return,
            };
        }
    }

    fn repeat_cancels(&self, now_ns: u64, has_caught_up: bool) {
        for _ in 0..REPEATS_PER_TURN_MAX {
            let mut watchdog = self.watchdog.borrow_mut();
            let is_due = |cancel: &Cancel| cancel.again_ns <= now_ns;
            let Some(&cancel) = watchdog.cancels.front().filter(|cancel| is_due(cancel)) else {
                return;
            };
            watchdog.cancels.pop_front();
            if !self.slots.borrow().is_cancelling(cancel.key) {
                continue;
            }
            // An operation that has completed since the last cancel is alive: the cancel was lost.
            let was_silent = self.slots.borrow_mut().suspect(cancel.key) || cancel.count == 1;
            let has_dropped = watchdog.stats.dropped_completions > 0;
            let may_be_silent = was_silent && has_dropped && has_caught_up;
            if may_be_silent && cancel.count >= CANCELS_BEFORE_SILENT {
                drop(watchdog);
                self.give_up(cancel.key);
                continue;
            }
            let count = if was_silent { cancel.count.saturating_add(1) } else { 1 };
            watchdog.cancels.push_back(Cancel {
                again_ns: now_ns + CANCEL_AGAIN_NS,
                count,
                ..cancel
            });
            watchdog.stats.cancels_repeated += 1;
            drop(watchdog);
            self.note_unsubmitted();
            if let Some(driver) = &mut *self.driver.borrow_mut() {
                driver.cancel(cancel.key);
            }
        }
    }

    /// Ends an operation whose completion the kernel has dropped. Its memory stays lent.
    fn give_up(&self, key: Key) {
        let Recipient { owner, tag, .. } = self.slots.borrow_mut().remove_silent(key);
        owner.abandon(tag, errno::EBADR);
    }

    /// Cancels, a few at a time, the operations that may have lost their completion.
    fn check_after_drop(&self) {
        let dropped_count =
            self.driver.borrow_mut().as_mut().map_or(0, driver::Driver::dropped_count);
        let mut watchdog = self.watchdog.borrow_mut();
        let new_count = dropped_count.wrapping_sub(watchdog.dropped_count);
        if new_count > 0 {
            watchdog.dropped_count = dropped_count;
            watchdog.stats.dropped_completions += u64::from(new_count);
            watchdog.unchecked = self.slots.borrow().repeatable_keys();
        }
        let rest_count = watchdog.unchecked.len().saturating_sub(REPEATS_PER_TURN_MAX);
        let keys = watchdog.unchecked.split_off(rest_count);
        drop(watchdog);
        for key in keys {
            self.cancel(key);
        }
    }

    fn look(&self) {
        let (suspects, cursor, has_caught_up) = {
            let mut watchdog = self.watchdog.borrow_mut();
            let has_caught_up = std::mem::take(&mut watchdog.has_caught_up);
            (std::mem::take(&mut watchdog.suspects), watchdog.cursor, has_caught_up)
        };
        let share = self.slots.borrow().slot_count() / LOOKS_PER_PASS;
        let count_max = share.clamp(LOOK_OPS_MIN, LOOK_OPS_MAX);
        let (looked_at, next) = self.slots.borrow().watched(&suspects, cursor, count_max);
        let ready = driver::are_ready(looked_at.iter().map(|&(_, fd, interest)| (fd, interest)));
        let mut lost = Vec::new();
        let mut suspects = Vec::new();
        for (&(key, ..), is_ready) in looked_at.iter().zip(ready) {
            if !is_ready {
                continue;
            }
            let mut slots = self.slots.borrow_mut();
            match slots.suspect(key) && (has_caught_up || slots.is_repeatable(key)) {
                true => lost.push(key),
                false => suspects.push(key),
            }
        }
        let is_wake_lost = match &mut *self.driver.borrow_mut() {
            Some(driver) => driver.look_at_wake_poll(),
            None => false,
        };
        {
            let mut watchdog = self.watchdog.borrow_mut();
            watchdog.suspects = suspects;
            watchdog.cursor = next;
            watchdog.stats.lost_wakeups += lost.len() as u64 + u64::from(is_wake_lost);
        }
        for key in lost {
            self.cancel(key);
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn watch_from_now_on(&self) {
        *self.watchdog.borrow_mut() = Watchdog::new(true);
    }
}
