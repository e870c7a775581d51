//! Every order of submits, aborts, starts, wake-ups and ends of a small pool.

use std::collections::VecDeque;

use super::*;
use crate::enumeration::visit_all;

const LIMITS: StateLimits = StateLimits { threads_max: 3, queued_max: 4 };

#[derive(Clone, Copy, Debug)]
enum Event {
    Submit,
    AbortFirst,
    AbortLast,
    /// A thread that was made looks for a job for the first time.
    Start,
    /// The system refuses a thread.
    Fail,
    /// A thread ends its job.
    End,
    /// A wait of an idle thread ends by a notification.
    Wake,
    /// A wait of an idle thread ends for no reason.
    WakeForNoReason,
    /// An idle thread has waited for the keep-alive time.
    KeepAlive,
    Close,
}

const EVENTS: [Event; 10] = [
    Event::Submit,
    Event::AbortFirst,
    Event::AbortLast,
    Event::Start,
    Event::Fail,
    Event::End,
    Event::Wake,
    Event::WakeForNoReason,
    Event::KeepAlive,
    Event::Close,
];

/// What the pool must do: the jobs by their numbers, and the threads as counts.
#[derive(Default, Debug)]
struct Model {
    queue: VecDeque<u64>,
    submitted: u64,
    starting: usize,
    idle: usize,
    running: usize,
    /// Idle threads that were notified and have not looked yet.
    notified: usize,
    /// The system has refused a thread, so the pool may have fewer than jobs need.
    has_failed: bool,
    is_closed: bool,
    was_busy: bool,
}

impl Model {
    fn is_possible(&self, event: Event) -> bool {
        match event {
            Event::Submit => true,
            Event::AbortFirst | Event::AbortLast => !self.queue.is_empty(),
            Event::Start | Event::Fail => self.starting > 0,
            Event::End => self.running > 0,
            Event::Wake => self.notified > 0,
            Event::WakeForNoReason | Event::KeepAlive => self.idle > self.notified,
            Event::Close => !self.is_closed,
        }
    }

    fn threads(&self) -> usize {
        self.starting + self.idle + self.running
    }

    /// A thread looks into the queue, which `after` says from where.
    fn look(&mut self, state: &mut PoolState<u64>, after: After) {
        match state.next(after) {
            Next::Run(job) => {
                assert_eq!(Some(job), self.queue.pop_front(), "jobs start in order");
                self.running += 1;
            }
            Next::Wait => {
                assert!(self.queue.is_empty() && !self.is_closed && after != After::KeepAlive);
                self.idle += 1;
            }
            Next::End => {
                assert!(self.queue.is_empty(), "a job was left");
                assert!(self.is_closed || after == After::KeepAlive);
            }
        }
    }

    fn submit(&mut self, state: &mut PoolState<u64>) {
        let job = self.submitted;
        self.submitted += 1;
        let is_full = self.queue.len() == LIMITS.queued_max;
        match state.submit(job) {
            Submitted::Closed(same) => assert!(same == job && self.is_closed),
            Submitted::Full(same) => assert!(same == job && is_full && !self.is_closed),
            Submitted::Queued(_, need) => {
                assert!(!is_full && !self.is_closed);
                self.queue.push_back(job);
                match need {
                    Need::Nothing => {}
                    Need::Notify => self.notified = self.idle.min(self.notified + 1),
                    Need::Thread => self.starting += 1,
                }
            }
        }
    }

    fn apply(&mut self, state: &mut PoolState<u64>, event: Event) {
        match event {
            Event::Submit => self.submit(state),
            Event::AbortFirst | Event::AbortLast => {
                let numbers: Vec<(u64, u64)> = state.queue.iter().map(|(n, j)| (*n, *j)).collect();
                let at = if matches!(event, Event::AbortFirst) { 0 } else { numbers.len() - 1 };
                let (number, job) = numbers[at];
                assert_eq!(state.abort(number), Some(job));
                assert_eq!(state.abort(number), None, "a job leaves the queue once");
                assert_eq!(self.queue.remove(at), Some(job));
            }
            Event::Start => {
                self.starting -= 1;
                self.look(state, After::Start);
            }
            Event::Fail => {
                self.starting -= 1;
                self.has_failed = true;
                let refused: Vec<u64> = state.thread_failed().into_values().collect();
                if self.threads() == 0 {
                    assert_eq!(refused, Vec::from(std::mem::take(&mut self.queue)));
                } else {
                    assert_eq!(refused, []);
                }
            }
            Event::End => {
                self.running -= 1;
                self.look(state, After::Job);
            }
            Event::Wake => {
                self.notified -= 1;
                self.idle -= 1;
                self.look(state, After::Woken);
            }
            Event::WakeForNoReason => {
                self.idle -= 1;
                self.look(state, After::Woken);
            }
            Event::KeepAlive => {
                self.idle -= 1;
                self.look(state, After::KeepAlive);
            }
            Event::Close => {
                self.is_closed = true;
                self.notified = self.idle;
                let dropped: Vec<u64> = state.close().into_values().collect();
                assert_eq!(dropped, Vec::from(std::mem::take(&mut self.queue)));
            }
        }
    }

    /// What must hold after each event.
    fn check(&mut self, state: &mut PoolState<u64>) {
        let is_busy = self.running > 0 || !self.queue.is_empty();
        let has_changed = std::mem::replace(&mut self.was_busy, is_busy) != is_busy;
        assert_eq!(state.take_busy_change(), has_changed.then_some(is_busy));
        assert_eq!(state.queued_count(), self.queue.len());
        assert_eq!((state.threads_count(), state.running_count()), (self.threads(), self.running));
        assert!(self.threads() <= LIMITS.threads_max, "{self:?}");
        assert_eq!(state.has_ended(), self.is_closed && self.threads() == 0);
        let looking = self.idle + self.starting;
        let is_served = self.queue.len() <= looking || self.threads() == LIMITS.threads_max;
        assert!(is_served || self.has_failed, "a job waits for a thread: {self:?}");
        assert!(self.notified >= self.queue.len().min(self.idle), "a thread sleeps: {self:?}");
        assert!(self.queue.is_empty() || self.threads() > 0, "a job without a thread: {self:?}");
    }
}

/// Goal: a job is run or given back exactly once, in order; none waits while a thread could be made
/// or sleeps; the pool has ended when it is closed and its last thread is gone.
///
/// Method: every order of the events of three threads and four queued jobs, against counts. A
/// thread may be refused, and waits may end for no reason.
///
/// Kills: a submit that counts a notified thread as free for a second job; a thread that ends by
/// its keep-alive without a look into the queue; a refused thread that stays counted, or that
/// strands the only job; `close` that keeps the queue; a last job whose end is not noticed;
/// a second job that is reported as a change.
#[test]
fn every_order_of_a_pool_runs_each_job_once() {
    let visited = visit_all(&EVENTS, |path| {
        let mut state = PoolState::new(LIMITS);
        let mut model = Model::default();
        for &event in path {
            if !model.is_possible(event) {
                return None;
            }
            model.apply(&mut state, event);
            model.check(&mut state);
        }
        let Model { queue, submitted: _, starting, idle, running, notified, .. } = &model;
        let flags = (model.has_failed, model.is_closed);
        Some((queue.len(), *starting, *idle, *running, *notified, flags))
    });
    assert!(visited.states > 200, "{visited:?}");
}
