//! The state of a pool: the queue of jobs, and how many threads do what.
//!
//! ```text
//!                     thread_started                     next
//!  a thread:  starting ─────────────▶ (chooses) ──┬──────────────────▶ running a job
//!                 │                        ▲      │                        │
//!                 │ thread_failed          │      │ no job                 │ job ended
//!                 ▼                        │      ▼                        │
//!               none ◀──────────────────── │ ── idle ──────────────────────┘
//!                       keep-alive, close  └── woken
//! ```
//!
//! **Invariant.** As long as the pool may make threads, no job waits for one: the queue is not
//! longer than the number of threads that are idle or starting, and each of these looks into the
//! queue before it waits or ends. A thread counts as idle from before it waits until it holds the
//! lock again. So a job whose notification reached no thread is found all the same.
//!
//! **Absent on purpose.** Locks, threads and jobs: `pool` performs what this module decides.

use std::collections::BTreeMap;

/// The limits of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StateLimits {
    pub(super) threads_max: usize,
    pub(super) queued_max: usize,
}

/// A queue of jobs and the counts of threads. Every access holds the lock of the pool.
pub(super) struct PoolState<Job> {
    limits: StateLimits,
    /// Jobs that have not started, by their numbers.
    queue: BTreeMap<u64, Job>,
    next_number: u64,
    /// All threads, also those that are starting.
    threads_count: usize,
    starting_count: usize,
    idle_count: usize,
    is_closed: bool,
    /// The last value of [`take_busy_change`](PoolState::take_busy_change).
    was_busy: bool,
}

/// What becomes of a job that was submitted.
#[must_use]
#[derive(Debug)]
pub(super) enum Submitted<Job> {
    /// It is in the queue under this number.
    Queued(u64, Need),
    /// The queue is full.
    Full(Job),
    Closed(Job),
}

/// What a new job needs.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// A thread will find it: one that starts, or one that ends its job.
    Nothing,
    /// An idle thread must be notified.
    Notify,
    /// A thread must be made.
    Thread,
}

/// Where a thread comes from when it asks for the next job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    Start,
    Job,
    /// A wait that was notified, or that ended for no reason.
    Woken,
    /// A wait that lasted for the keep-alive time.
    KeepAlive,
}

/// What a thread does next.
#[must_use]
#[derive(Debug)]
pub(super) enum Next<Job> {
    Run(Job),
    /// It is idle, and waits.
    Wait,
    /// It ends.
    End,
}

impl<Job> PoolState<Job> {
    pub(super) fn new(limits: StateLimits) -> PoolState<Job> {
        PoolState {
            limits,
            queue: BTreeMap::new(),
            next_number: 0,
            threads_count: 0,
            starting_count: 0,
            idle_count: 0,
            is_closed: false,
            was_busy: false,
        }
    }

    pub(super) fn submit(&mut self, job: Job) -> Submitted<Job> {
        if self.is_closed {
            return Submitted::Closed(job);
        }
        if self.queue.len() >= self.limits.queued_max {
            return Submitted::Full(job);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.queue.insert(number, job);
        let is_short = self.queue.len() > self.idle_count + self.starting_count;
        let need = if is_short && self.threads_count < self.limits.threads_max {
            self.threads_count += 1;
            self.starting_count += 1;
            Need::Thread
        } else if self.idle_count > 0 {
            Need::Notify
        } else {
            Need::Nothing
        };
        Submitted::Queued(number, need)
    }

    /// Removes a job that has not started.
    pub(super) fn abort(&mut self, number: u64) -> Option<Job> {
        self.queue.remove(&number)
    }

    /// The thread of the last [`Need::Thread`] cannot be made. Returns the jobs that no thread will
    /// run: none if there is another thread.
    pub(super) fn thread_failed(&mut self) -> BTreeMap<u64, Job> {
        self.starting_count -= 1;
        self.threads_count -= 1;
        match self.threads_count {
            0 => std::mem::take(&mut self.queue),
            _ => BTreeMap::new(),
        }
    }

    /// Chooses what a thread does next.
    pub(super) fn next(&mut self, after: After) -> Next<Job> {
        match after {
            After::Start => self.starting_count -= 1,
            After::Job => {}
            After::Woken | After::KeepAlive => self.idle_count -= 1,
        }
        if let Some((_number, job)) = self.queue.pop_first() {
            return Next::Run(job);
        }
        if self.is_closed || after == After::KeepAlive {
            self.threads_count -= 1;
            return Next::End;
        }
        self.idle_count += 1;
        Next::Wait
    }

    /// Refuses jobs from now on, and returns those that have not started. All idle threads must be
    /// notified.
    pub(super) fn close(&mut self) -> BTreeMap<u64, Job> {
        self.is_closed = true;
        std::mem::take(&mut self.queue)
    }

    /// Whether the pool is closed and has no thread.
    pub(super) fn has_ended(&self) -> bool {
        self.is_closed && self.threads_count == 0
    }

    /// Whether a job is queued or runs, if that has changed since the last call.
    pub(super) fn take_busy_change(&mut self) -> Option<bool> {
        let is_busy = self.running_count() > 0 || !self.queue.is_empty();
        let has_changed = std::mem::replace(&mut self.was_busy, is_busy) != is_busy;
        has_changed.then_some(is_busy)
    }

    pub(super) fn queued_count(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn running_count(&self) -> usize {
        self.threads_count - self.starting_count - self.idle_count
    }

    pub(super) fn threads_count(&self) -> usize {
        self.threads_count
    }
}

#[cfg(test)]
mod tests;
