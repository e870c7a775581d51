//! One turn of the loop.
//!
//! ```text
//! 1 wait      enter the kernel once: submit everything pushed, sleep only if nothing is ready
//! 2 reap      copy completions out, hand them to their owners; then wake whom they woke
//! 3 timers    expire what is due, in (deadline, sequence) order
//! 4 inbox     what other threads woke, a snapshot
//! 5 ready     run a snapshot of the ready queue, first in, first out
//! ```
//!
//! What becomes ready in step 5 runs in the next turn, so a task that wakes itself in every turn
//! delays neither I/O nor timers. Between two polls the loop looks whether submissions are waiting
//! for too long, so that the reply of one task does not wait for the computation of the next.

use std::io;
use std::time::Duration;

use super::core::Core;
use crate::task::executor::Ran;

/// Polls of one turn. The rest of the snapshot runs in the next turn.
const POLLS_PER_TURN_MAX: usize = 4096;

/// How long a request may wait, while tasks run, before it is submitted.
const SUBMIT_DELAY_MAX_NS: u64 = 100_000;

/// Turns in a row without any progress before the loop takes a break (H78). Errors and readiness
/// are no progress by themselves, or an operation that fails at once and is asked for again would
/// spin unseen: only the polls that follow are. A sleep that a signal
/// or a spurious wake-up ended is such a turn too, so a few are normal, and any number of them if
/// they are far apart.
const IDLE_TURNS_MAX: u32 = 1000;

/// So many idle turns in less than this are a spin. Real sleeps last longer.
const SPIN_NS: u64 = 100_000_000;

/// The break.
const SPIN_BACKOFF: Duration = Duration::from_millis(1);

impl Core {
    pub(super) fn turn(&self, poll_main: impl FnMut()) {
        self.turns.set(self.turns.get() + 1);
        let progress = self.try_turn(poll_main).unwrap_or_else(|error| {
            self.reactor.break_down(&error);
            1
        });
        self.back_off_if_spinning(progress);
        self.report_unhandled();
    }

    /// Returns the progress of this turn: polls, timers, and what `Reactor::wait` counts.
    fn try_turn(&self, mut poll_main: impl FnMut()) -> io::Result<usize> {
        self.reactor.run_wakers(); // owed by polls of the last turn
        let may_sleep = self.executor.prepare_sleep();
        let waited = self.reactor.wait(may_sleep);
        self.executor.awake();
        let moved_count = waited?;
        self.reactor.run_wakers();

        let timers_count = self.reactor.expire_timers();
        self.reactor.run_wakers();

        self.executor.drain_inbox();

        let polls_count = self.executor.ready_count().min(POLLS_PER_TURN_MAX);
        for _ in 0..polls_count {
            match self.executor.run_next() {
                Some(Ran::Main) => poll_main(),
                Some(Ran::Other) => {}
                None => break, // a shutdown inside a task has emptied the queue
            }
            if self.id().is_of_parent() {
                break; // this poll has forked, and this is the child: the others are the parent's
            }
            self.reactor.flush_if_due(SUBMIT_DELAY_MAX_NS)?;
        }
        Ok(moved_count + timers_count + polls_count)
    }

    /// Submits what the last polls of a `block_on` have asked for, so that it does not wait for the
    /// next one.
    pub(super) fn submit_pending(&self) {
        if let Err(error) = self.reactor.submit_pending() {
            self.reactor.break_down(&error);
        }
    }

    /// Spinning is how loops fail: some condition keeps ending the wait and is not handled. The
    /// loop then costs a core and looks alive. This turns it into a slow loop and a count.
    fn back_off_if_spinning(&self, progress: usize) {
        if progress > 0 {
            self.idle_turns.set(0);
            return;
        }
        let now_ns = self.reactor.turn_ns();
        if self.idle_turns.get() == 0 {
            self.idle_since_ns.set(now_ns);
        }
        self.idle_turns.set(self.idle_turns.get() + 1);
        if self.idle_turns.get() < IDLE_TURNS_MAX {
            return;
        }
        if self.idle_turns.get() == IDLE_TURNS_MAX && now_ns - self.idle_since_ns.get() >= SPIN_NS {
            self.idle_turns.set(0);
            return;
        }
        self.spin_backoffs.set(self.spin_backoffs.get() + 1);
        std::thread::sleep(SPIN_BACKOFF);
    }

    /// Hands what the reactor has collected to the hook, with nothing borrowed.
    pub(super) fn report_unhandled(&self) {
        for unhandled in self.reactor.take_reports() {
            self.executor.reporter().report_and_drop(unhandled);
        }
    }
}
