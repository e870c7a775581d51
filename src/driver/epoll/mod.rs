//! The epoll driver: the same requests, on readiness.
//!
//! Some facts about epoll that shape this file (more are in [`interest`] and [`perform`]):
//!
//! - **Edge-triggered: an event means "changed", not "is ready".** So a new operation is tried
//!   first, and only `EAGAIN` makes it wait. A spurious edge costs one call that returns `EAGAIN`.
//! - **Timeouts.** `epoll_pwait2` (5.11) takes nanoseconds. Without it a timerfd ends the sleep,
//!   because milliseconds would fire late, or early and spin.
//!
//! ```text
//!           push                  a call brought something (multishot: stays)
//!  absent ────────▶ runnable ────────────────────────────────────────▶ completion
//!                     ▲   │ EAGAIN                        cancel ─────▶ ECANCELED
//!                     │   ▼
//!                    waiting for an edge
//! ```
//!
//! **Invariant.** A pending operation is on the run list, or its last call has returned `EAGAIN`
//! (or was a short read that means "empty") and no edge has come since. So the next change makes
//! an edge.

mod alarm;
mod interest;
mod perform;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use super::request::{Completion, Flags, Key, PushOutcome, Request, Wait};
use super::stats::DriverStats;
use crate::buf::Pool;
use crate::sys::epoll::{self, Event, TimerFd};
use crate::sys::eventfd::EventFd;
use crate::sys::{clock, errno};
use alarm::Alarm;
use interest::{Interests, Place};
use perform::{Performer, Tried, refused};

/// Operations tried in one wait. The rest are tried in the next, before it may sleep.
const TRIES_PER_WAIT_MAX: usize = 128;

/// `data` of the two descriptors that are the driver's own. Sockets carry their number.
const WAKE_FD: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

pub(crate) struct Epoll {
    interests: Interests,
    performer: Performer,
    wake_fd: Arc<EventFd>,
    run_list: VecDeque<Place>,
    /// What was pushed since operations were last tried. A flush tries these only: a busy multishot
    /// operation gets its share once a turn.
    fresh: VecDeque<Place>,
    /// Completions decided outside a wait: cancelled operations.
    decided: Vec<Completion>,
    /// `Some` where the kernel has no `epoll_pwait2`.
    timer: Option<Alarm>,
    events: Vec<Event>,
    stats: DriverStats,
}

impl Epoll {
    pub(crate) fn new(pool: Rc<Pool>, wake_fd: Arc<EventFd>) -> io::Result<Epoll> {
        let epoll = epoll::Epoll::new()?;
        let timer = match epoll.wait(Some(0), &mut Vec::new()) {
            Ok(()) => None,
            // The kernel has no such call, or a sandbox does not know it.
            Err(error) if matches!(error.raw_os_error(), Some(errno::ENOSYS | errno::EPERM)) => {
                Some(TimerFd::new()?)
            }
            Err(error) => return Err(error),
        };
        Epoll::with(epoll, timer, pool, wake_fd)
    }

    fn with(
        epoll: epoll::Epoll,
        timer: Option<TimerFd>,
        pool: Rc<Pool>,
        wake_fd: Arc<EventFd>,
    ) -> io::Result<Epoll> {
        epoll.add(wake_fd.raw(), epoll::EDGE_IN, WAKE_FD)?;
        if let Some(timer) = &timer {
            epoll.add(timer.raw(), epoll::LEVEL_IN, TIMER)?;
        }
        Ok(Epoll {
            interests: Interests::new(epoll),
            performer: Performer::new(pool),
            wake_fd,
            run_list: VecDeque::new(),
            fresh: VecDeque::new(),
            decided: Vec::new(),
            timer: timer.map(Alarm::new),
            events: Vec::new(),
            stats: DriverStats::default(),
        })
    }

    pub(crate) fn features(&self) -> Vec<&'static str> {
        vec![if self.timer.is_none() { "epoll_pwait2" } else { "timerfd" }]
    }

    pub(crate) fn push(&mut self, key: Key, request: Request) -> PushOutcome {
        let place = Place::of(&request);
        self.stats.submissions += 1;
        self.interests.set_place(key, place); // also of one that fails here: it may be cancelled
        if let Err(error) = self.interests.add(place.fd, &request) {
            self.decide(key, refused(&error, &request));
            return PushOutcome::Taken;
        }
        let side = self.interests.side(place);
        assert!(side.pending.is_none(), "{request:?} while {:?} is pending", side.pending);
        side.pending = Some((key, request));
        if !std::mem::replace(&mut side.is_on_run_list, true) {
            self.fresh.push_back(place);
        }
        PushOutcome::Taken
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.stats.cancels += 1;
        let place = self.interests.place_of(key);
        let side = self.interests.side(place);
        if side.pending.is_some_and(|(pending, _)| pending == key) {
            side.pending = None;
            self.decide(key, -errno::ECANCELED);
        } else {
            self.stats.cancels_missed += 1; // its final completion is pending
        }
    }

    /// Removes a descriptor that is about to be closed. No operation names it any more.
    pub(crate) fn deregister(&mut self, fd: RawFd) {
        self.interests.deregister(fd);
    }

    /// Notes that the program has seen the descriptor.
    pub(crate) fn expose(&mut self, fd: RawFd) {
        self.interests.expose(fd);
    }

    /// Whether many new operations wait to be tried.
    pub(crate) fn is_half_full(&self) -> bool {
        self.fresh.len() >= TRIES_PER_WAIT_MAX / 2
    }

    /// Whether the last wait has tried everything that can be tried.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.decided.is_empty() && self.fresh.is_empty() && self.run_list.is_empty()
    }

    /// Tries what was pushed, without looking for events.
    pub(crate) fn flush(&mut self) {
        let mut decided = std::mem::take(&mut self.decided);
        for _ in 0..self.fresh.len().min(TRIES_PER_WAIT_MAX) {
            let Some(place) = self.fresh.pop_front() else { break };
            self.attempt(place, &mut decided);
        }
        self.decided = decided;
    }

    /// Tries what was pushed. Returns whether a wait would find something without an event.
    pub(crate) fn park(&mut self) -> bool {
        self.flush();
        !(self.decided.is_empty() && self.fresh.is_empty() && self.run_list.is_empty())
    }

    /// The descriptor that is readable when a wait would find an event.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.interests.epoll.as_fd().as_raw_fd()
    }

    /// Tries what was pushed, sleeps if that brought nothing and `wait` allows it, and tries what
    /// has become ready.
    pub(crate) fn wait(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        out.append(&mut self.decided);
        self.run_list.append(&mut self.fresh);
        self.run(out);
        let may_sleep = wait != Wait::Poll && out.is_empty() && self.run_list.is_empty();
        self.look(if may_sleep { wait } else { Wait::Poll })?;
        self.run(out);
        self.stats.completions += out.len() as u64;
        Ok(())
    }

    pub(crate) fn wake_fd(&self) -> &Arc<EventFd> {
        &self.wake_fd
    }

    pub(crate) fn stats(&self) -> DriverStats {
        self.stats
    }

    pub(crate) fn close(self) {
        self.performer.pool.reclaim(); // nothing is ever lent for longer than one call
    }

    fn run_soon(&mut self, place: Place) {
        let side = self.interests.side(place);
        if !side.is_on_run_list {
            side.is_on_run_list = true;
            self.run_list.push_back(place);
        }
    }

    fn decide(&mut self, key: Key, result: i32) {
        self.decided.push(Completion { key, result, flags: Flags::NONE });
    }

    /// Collects events. Neither a signal nor a full array of events concerns any one descriptor.
    fn look(&mut self, wait: Wait) -> io::Result<()> {
        self.stats.enter_calls += 1;
        self.stats.sleeps += u64::from(wait != Wait::Poll);
        let mut events = std::mem::take(&mut self.events);
        let outcome = match &mut self.timer {
            None => {
                let timeout_ns = match wait {
                    Wait::Poll => Some(0),
                    Wait::Until(at_ns) => Some(at_ns.saturating_sub(clock::monotonic_ns())),
                    Wait::Forever => None,
                };
                self.interests.epoll.wait(timeout_ns, &mut events)
            }
            Some(alarm) => {
                if let Wait::Until(deadline_ns) = wait {
                    alarm.set(deadline_ns)?;
                }
                self.interests.epoll.wait_plain(wait != Wait::Poll, &mut events)
            }
        };
        for event in events.drain(..) {
            self.note(event);
        }
        self.events = events;
        match outcome {
            Err(error) if error.raw_os_error() == Some(errno::EINTR) => {
                self.stats.enter_retries += 1;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn note(&mut self, event: Event) {
        match event.data {
            // An edge per write, also while the count is not zero: there is nothing to read.
            WAKE_FD => {}
            TIMER => self.timer.iter_mut().for_each(Alarm::has_fired),
            fd => {
                for direction in self.interests.directions_of(event).into_iter().flatten() {
                    self.run_soon(Place { fd: fd as RawFd, direction });
                }
            }
        }
    }

    /// Tries what is on the run list now. What this adds to the list waits for the next time.
    fn run(&mut self, out: &mut Vec<Completion>) {
        for _ in 0..self.run_list.len().min(TRIES_PER_WAIT_MAX) {
            let Some(place) = self.run_list.pop_front() else { return };
            self.attempt(place, out);
        }
    }

    fn attempt(&mut self, place: Place, out: &mut Vec<Completion>) {
        let side = self.interests.side(place);
        side.is_on_run_list = false;
        let Some((key, request)) = side.pending else { return }; // cancelled meanwhile
        match self.performer.perform(key, request, self.interests.socket(place.fd), out) {
            Tried::Ended(result) => {
                self.interests.side(place).pending = None;
                out.push(Completion { key, result, flags: Flags::NONE });
            }
            Tried::WaitsForEdge => {}
            Tried::HasMore => self.run_soon(place),
        }
    }
}
