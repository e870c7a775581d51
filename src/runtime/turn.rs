//! One turn of the loop.
//!
//! ```text
//! 1 wait      enter the kernel once: submit all requests, sleep only if no task is ready
//! 2 reap      copy the completions out, pass them to their owners, then wake the tasks
//! 3 timers    expire the timers that are due, in (deadline, sequence) order
//! 4 inbox     move the wakes of other threads, a snapshot, to the ready queue
//! 5 ready     run a snapshot of the ready queue, first in, first out
//! ```
//!
//! A task that becomes ready in step 5 runs in the next turn, so a task that wakes itself in every
//! turn delays neither I/O nor timers. Between two polls the loop checks how long submissions have
//! waited, so that the reply of one task does not wait for the computation of the next.

use std::io;
use std::time::Duration;

use super::core::Core;
use crate::task::executor::Ran;

/// The greatest number of polls of one turn. The rest of the snapshot runs in the next turn.
const POLLS_PER_TURN_MAX: usize = 4096;

/// The time that a request may wait, while tasks run, before it is submitted.
const SUBMIT_DELAY_MAX_NS: u64 = 100_000;

/// The number of consecutive turns without progress after which the loop pauses (H78).
///
/// Errors and readiness do not count as progress, only the polls that follow them do. Otherwise an
/// operation that fails at once and is submitted again would spin unnoticed. A sleep that a signal
/// or a spurious wake-up ended is such a turn too, so a few are normal, and any number if they are
/// far apart.
const IDLE_TURNS_MAX: u32 = 1000;

/// [`IDLE_TURNS_MAX`] turns in less than this time are a spin. Real sleeps last longer.
const SPIN_NS: u64 = 100_000_000;

/// The pause of a loop that spins.
const SPIN_BACKOFF: Duration = Duration::from_millis(1);

impl Core {
    /// Runs one turn. `poll_main` polls the future of `block_on`.
    pub(super) fn turn(&self, poll_main: impl FnMut()) {
        self.turns.set(self.turns.get() + 1);
        let progress = self.try_turn(poll_main).unwrap_or_else(|error| {
            self.reactor.fail_driver(&error);
            1
        });
        self.back_off_if_spinning(progress);
        self.report_unhandled();
    }

    /// Returns the progress of this turn: polls, timers, completions that moved something, and
    /// operations fewer in flight. An operation that fails and is submitted again is none.
    fn try_turn(&self, mut poll_main: impl FnMut()) -> io::Result<usize> {
        self.reactor.deferred.run_wakers(); // collected by polls of the last turn
        let may_sleep = self.executor.prepare_sleep();
        let filled = self.reactor.fill_submission_queue();
        let waited = filled.and_then(|()| self.reactor.wait(self.reactor.how_long(may_sleep)));
        self.executor.awake();
        let moved_count = waited? + self.reactor.count_ended();
        self.reactor.deferred.run_wakers();

        let timers_count = self.reactor.expire_timers();
        self.reactor.deferred.run_wakers();

        self.executor.drain_inbox();

        let polls_count = self.executor.ready_count().min(POLLS_PER_TURN_MAX);
        for _ in 0..polls_count {
            match self.executor.run_next() {
                Some(Ran::Main) => poll_main(),
                Some(Ran::Other) => {}
                None => break, // a shutdown inside a task has emptied the queue
            }
            if self.id().is_of_parent() {
                break; // this poll has forked, and this is the child: the rest is the parent's
            }
            self.reactor.flush_if_due(SUBMIT_DELAY_MAX_NS)?;
        }
        Ok(moved_count + timers_count + polls_count)
    }

    /// Submits the requests of the last polls of a `block_on`, so that they do not wait for the
    /// next one.
    pub(super) fn submit_pending(&self) {
        if let Err(error) = self.reactor.submit_pending() {
            self.reactor.fail_driver(&error);
        }
    }

    /// Pauses a loop that turns without progress, and counts the pause.
    ///
    /// A condition that ends every wait and is not handled makes a loop spin. Such a loop uses a
    /// whole core and seems to work.
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

    /// Passes the collected reports to the hook, with no `RefCell` borrowed.
    pub(super) fn report_unhandled(&self) {
        for unhandled in self.reactor.deferred.take_reports() {
            self.executor.reporter().report_and_drop(unhandled);
        }
    }
}
