//! One turn of the loop.
//!
//! ```text
//! 1 wait      enter the kernel once: submit all requests, sleep only if no task is ready
//! 2 reap      copy the completions out, pass them to their owners, and the signals that have
//!             come to their listeners; then wake the tasks
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
use super::slow_poll::{SlowPoll, Stopwatch};
use crate::driver::request::Wait;

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

/// What one turn of the loop has done. [`Runtime::turn`](crate::Runtime::turn) returns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TurnStats {
    /// Operations that have moved something: bytes, connections. Errors and the ends of streams are
    /// not counted.
    pub completions: usize,
    /// Timers that have expired.
    pub timers: usize,
    /// Polls of tasks and calls of callbacks.
    pub polls: usize,
}

impl Core {
    /// Runs one turn, which sleeps no longer than `limit`. `poll_main` polls the future of
    /// `block_on`.
    pub(super) fn turn(&self, limit: Wait, poll_main: impl FnMut()) -> TurnStats {
        self.turns.set(self.turns.get() + 1);
        self.hooks.turn_start.run(self.executor.reporter());
        let (stats, progress) = self.try_turn(limit, poll_main).unwrap_or_else(|error| {
            self.reactor.fail_driver(&error);
            (TurnStats::default(), 1)
        });
        self.back_off_if_spinning(progress);
        self.report_unhandled();
        stats
    }

    /// Returns what this turn has done, and its progress: polls, timers, completions that moved
    /// something, and operations fewer in flight. An operation that fails and is submitted again is
    /// none.
    fn try_turn(&self, limit: Wait, mut poll_main: impl FnMut()) -> io::Result<(TurnStats, usize)> {
        let completions = self.wait(limit)?;
        let ended_count = self.reactor.count_ended();
        let signals_count = self.signals.dispatch();
        self.reactor.deferred.run_wakers();

        let timers = self.reactor.expire_timers();
        self.reactor.deferred.run_wakers();

        self.executor.drain_inbox();

        let polls = self.executor.ready_count().min(POLLS_PER_TURN_MAX);
        self.executor.shuffle_batch(polls);
        for _ in 0..polls {
            let has_run = match &self.stopwatch {
                None => self.executor.run_next(&mut poll_main),
                Some(stopwatch) => self.run_measured(stopwatch, &mut poll_main),
            };
            if !has_run {
                break; // a shutdown inside a task has emptied the queue
            }
            if self.id().is_of_parent() {
                break; // this poll has forked, and this is the child: the rest is the parent's
            }
            self.reactor.flush_if_due(SUBMIT_DELAY_MAX_NS)?;
        }
        if polls > 0 {
            self.reactor.note_polls();
        }
        let progress = completions + ended_count + signals_count + timers + polls;
        Ok((TurnStats { completions, timers, polls }, progress))
    }

    /// Runs the first ready entry, and reports it if it took too long.
    fn run_measured(&self, stopwatch: &Stopwatch, poll_main: impl FnMut()) -> bool {
        let (has_run, too_long) = stopwatch.measure(|| self.executor.run_next(poll_main));
        let polled = self.executor.take_last();
        if let (Some(polled), Some(duration)) = (polled, too_long) {
            self.reports.report_slow_poll(&SlowPoll::new(polled, duration));
        }
        has_run
    }

    /// Step 1, and the dispatch of step 2. Returns how many completions moved something.
    fn wait(&self, limit: Wait) -> io::Result<usize> {
        let mut wait = self.prepare_wait(limit);
        // What the hook makes ready is seen by the second look, which then forbids the sleep. The
        // turn still enters the kernel: I/O must not wait for a hook that is busy in every turn.
        if wait.as_ref().is_ok_and(|wait| wait.may_sleep())
            && self.hooks.before_park.run(self.executor.reporter())
        {
            self.executor.awake();
            wait = self.prepare_wait(limit);
        }
        let waited = wait.and_then(|wait| Ok((wait, self.reactor.wait(wait)?)));
        self.executor.awake();
        let (wait, moved_count) = waited?;
        if wait.may_sleep() {
            self.hooks.after_unpark.run(self.executor.reporter());
        }
        Ok(moved_count)
    }

    /// Prepares the wait of a turn. Returns how long it may last. Unless it is not to sleep, wakes
    /// of other threads notify the driver from here on.
    fn prepare_wait(&self, limit: Wait) -> io::Result<Wait> {
        self.reactor.deferred.run_wakers(); // collected by polls of the last turn
        // After the wake fd was reset, if it was: its notification may have been that of a signal.
        let may_sleep =
            limit.may_sleep() && !self.signals.has_pending() && self.executor.prepare_sleep();
        self.reactor.fill_submission_queue()?;
        Ok(self.reactor.how_long(may_sleep).min(limit))
    }

    /// Submits the requests of the last polls of a `block_on`, so that they do not wait for the
    /// next one.
    pub(super) fn submit_pending(&self) {
        if let Err(error) = self.reactor.submit_pending() {
            self.reactor.fail_driver(&error);
        }
    }

    /// Prepares a sleep in a foreign loop, if one polls this loop's descriptor.
    pub(super) fn park(&self) {
        if !self.reactor.has_poll_fd() {
            return;
        }
        // From here on wakes of other threads notify the driver, until the next turn.
        let may_sleep = self.executor.prepare_sleep() && !self.signals.has_pending();
        if let Err(error) = self.reactor.park(may_sleep) {
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
        let now_ns = self.reactor.kernel_turn_ns();
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
