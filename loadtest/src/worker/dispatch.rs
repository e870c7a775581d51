//! Whose turn it is: from the schedule to the connection that sends.
//!
//! A connection asks for its turn whenever it has a place for a message ([`Dispatch::turn`]).
//!
//! * Closed loop: it is its turn at once.
//! * `any`: the next message that is due goes to it. If none is due, it queues up as free, and the
//!   dispatcher ([`run`]) hands it one when it is. If no connection is free, messages wait in the
//!   schedule, by index.
//! * `per-conn`: it has a schedule of its own and waits for that.
//!
//! **Invariant.** A message that was taken from the schedule is sent, or lies in `assigned` or
//! `returned`, where the end finds it: none is lost when a connection fails.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;
use std::time::Instant;

use crate::measure::window::Window;
use crate::plan::load::{DispatchRule, LoadPlan, OpenLoad};
use crate::plan::schedule::arrivals::Arrivals;
use crate::plan::schedule::backlog::{self, Backlog};

/// The schedule as a worker follows it.
#[derive(Debug)]
pub(super) struct Dispatch {
    /// Time zero of the schedules. `None` until the connections may send.
    origin: Option<Instant>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Closed,
    Any(Pool),
    /// By connection.
    PerConn(Vec<Arrivals>),
}

#[derive(Debug)]
struct Pool {
    arrivals: Arrivals,
    /// Taken by connections that failed before they could send them.
    returned: VecDeque<Instant>,
    /// Connections with a place, longest free first, so that all get the same share. Each at most
    /// once; some may have lost their place since.
    free: VecDeque<u32>,
    dispatcher: Option<Waker>,
    /// Whether it has to hear of a free connection. It must not, as long as it waits for a moment:
    /// every reply would wake it.
    waits_for_free: bool,
}

/// What the dispatcher has to wait for.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Due(Instant),
    FreeConnection,
    Nothing,
}

#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now {
        due: Instant,
    },
    /// Somebody will wake the connection.
    Later,
    /// Nobody will: the connection has to wait for this moment itself.
    At(Instant),
}

impl Dispatch {
    pub(super) fn new(load: &LoadPlan, streams: Vec<Arrivals>, connections: u32) -> Dispatch {
        let kind = match load {
            LoadPlan::Closed => Kind::Closed,
            LoadPlan::Open(OpenLoad { rule: DispatchRule::PerConn, .. }) => Kind::PerConn(streams),
            LoadPlan::Open(OpenLoad { rule: DispatchRule::Any, .. }) => Kind::Any(Pool {
                arrivals: streams.into_iter().next().expect("one per worker"),
                returned: VecDeque::new(),
                free: VecDeque::with_capacity(connections as usize),
                dispatcher: None,
                waits_for_free: false,
            }),
        };
        Dispatch { origin: None, kind }
    }

    pub(super) fn start(&mut self, origin: Instant) {
        self.origin = Some(origin);
    }

    /// Asks for a turn of connection `index`, which has a place. Messages due from `end` on are not
    /// sent. `is_queued` is the connection's own note that it is in the queue.
    pub(super) fn turn(
        &mut self,
        index: u32,
        is_queued: &mut bool,
        now: Instant,
        end: Instant,
    ) -> Turn {
        let Some(origin) = self.origin else { return Turn::Later };
        match &mut self.kind {
            Kind::Closed if now < end => Turn::Now { due: now },
            Kind::Closed => Turn::Later,
            Kind::PerConn(streams) => {
                let arrivals = &mut streams[index as usize];
                match arrivals.peek().map(|due| origin + due) {
                    Some(due) if due >= end => Turn::Later,
                    Some(due) if due > now => Turn::At(due),
                    Some(due) => {
                        arrivals.pop();
                        Turn::Now { due }
                    }
                    None => Turn::Later,
                }
            }
            Kind::Any(pool) => match pool.take(origin, now, end) {
                Some(due) => Turn::Now { due },
                None => {
                    if !*is_queued {
                        *is_queued = true;
                        pool.free.push_back(index);
                        if pool.waits_for_free {
                            self.wake_dispatcher();
                        }
                    }
                    Turn::Later
                }
            },
        }
    }

    /// Since when the connection that is free for the longest has been. `since_of` is asked about
    /// those in the queue; who has no place any more leaves it.
    pub(super) fn free_since(
        &mut self,
        mut since_of: impl FnMut(u32) -> Option<Instant>,
    ) -> Option<Instant> {
        let Kind::Any(pool) = &mut self.kind else { return None };
        loop {
            let since = since_of(*pool.free.front()?);
            if since.is_some() {
                return since;
            }
            pool.free.pop_front();
        }
    }

    /// Takes the next message that is due, if a connection is free for it.
    pub(super) fn hand_out(
        &mut self,
        now: Instant,
        end: Instant,
        mut has_place: impl FnMut(u32) -> bool,
    ) -> Result<(u32, Instant), Next> {
        let (Kind::Any(pool), Some(origin)) = (&mut self.kind, self.origin) else {
            return Err(Next::Nothing);
        };
        match pool.next(origin) {
            Some(due) if due >= end => return Err(Next::Nothing),
            Some(due) if due > now => return Err(Next::Due(due)),
            Some(_) => {}
            None => return Err(Next::Nothing),
        }
        while let Some(index) = pool.free.pop_front() {
            if has_place(index) {
                let due = pool.take(origin, now, end).expect("looked at above");
                return Ok((index, due));
            }
        }
        Err(Next::FreeConnection)
    }

    /// Puts a connection that still has a place back in the queue.
    pub(super) fn queue(&mut self, index: u32) {
        if let Kind::Any(pool) = &mut self.kind {
            pool.free.push_back(index);
        }
    }

    /// Gives back a message that its connection could not send.
    pub(super) fn give_back(&mut self, due: Instant) {
        match &mut self.kind {
            Kind::Any(pool) => pool.returned.push_back(due),
            Kind::Closed | Kind::PerConn(_) => unreachable!("only a dispatcher assigns"),
        }
        self.wake_dispatcher();
    }

    /// Notes what the dispatcher waits for.
    pub(super) fn wait(&mut self, waits_for_free: bool, waker: &Waker) {
        if let Kind::Any(pool) = &mut self.kind {
            pool.waits_for_free = waits_for_free;
            if pool.dispatcher.as_ref().is_none_or(|known| !known.will_wake(waker)) {
                pool.dispatcher = Some(waker.clone());
            }
        }
    }

    /// A connection is free or a message came back: the dispatcher must look again.
    fn wake_dispatcher(&mut self) {
        if let Kind::Any(pool) = &mut self.kind {
            pool.waits_for_free = false;
            if let Some(waker) = &pool.dispatcher {
                waker.wake_by_ref();
            }
        }
    }

    /// Takes the messages due in `window` that are not taken yet, at most `limit` of them, and shows how
    /// long they have waited by `waited_until`; equal waits together.
    pub(super) fn never_taken(
        &mut self,
        window: Window,
        waited_until: Instant,
        limit: u64,
        bucket_of: impl Fn(u64) -> u64,
        mut show: impl FnMut(u64, u64),
    ) {
        let (Some(origin), Window { from, until }) = (self.origin, window) else { return };
        let mut returned = VecDeque::new();
        let streams = match &mut self.kind {
            Kind::Closed => return,
            Kind::PerConn(streams) => &mut streams[..],
            Kind::Any(pool) => {
                returned = mem::take(&mut pool.returned);
                std::slice::from_mut(&mut pool.arrivals)
            }
        };
        let mut left = limit;
        returned.retain(|due| from <= *due && *due < until);
        for due in returned.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            left -= 1;
            show(waited_until.saturating_duration_since(due).as_nanos() as u64, 1);
        }
        let since = |time: Instant| time.saturating_duration_since(origin);
        let (from, until, waited_until) = (since(from), since(until), since(waited_until));
        let backlog = Backlog { from, until, waited_until, limit: left };
        let _ = backlog::drain(streams, backlog, bucket_of, show);
    }

    /// Takes the messages of a connection, or of all, that are due before `cutoff`: at most `limit`.
    pub(super) fn shed(
        &mut self,
        index: u32,
        backlog: impl FnOnce(Instant) -> Backlog,
        bucket_of: impl Fn(u64) -> u64,
        show: impl FnMut(u64, u64),
    ) -> u64 {
        let Some(origin) = self.origin else { return 0 };
        let streams = match &mut self.kind {
            Kind::Closed => return 0,
            Kind::PerConn(streams) => std::slice::from_mut(&mut streams[index as usize]),
            Kind::Any(pool) => std::slice::from_mut(&mut pool.arrivals),
        };
        backlog::drain(streams, backlog(origin), bucket_of, show).0
    }
}

impl Pool {
    fn next(&self, origin: Instant) -> Option<Instant> {
        // What came back was due before anything that is left.
        let returned = self.returned.front().copied();
        returned.or_else(|| self.arrivals.peek().map(|due| origin + due))
    }

    fn take(&mut self, origin: Instant, now: Instant, end: Instant) -> Option<Instant> {
        let due = self.next(origin).filter(|due| *due <= now && *due < end)?;
        if self.returned.pop_front().is_none() {
            self.arrivals.pop();
        }
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::plan::schedule::arrivals::Spacing;
    use crate::plan::schedule::rate::RateCurve;

    /// Goal: the place that has been free for the longest is found, past those that are taken.
    ///
    /// Method: three in the queue of which the first has no place any more: asked for once, it is gone
    /// from the queue; the second stays.
    ///
    /// Kills: a place that is taken still counted as free, which would blame the generator; a free one
    /// lost from the queue, which would starve it.
    #[test]
    fn the_longest_free() {
        let curve = Arc::new(RateCurve::new(1_000.0, &[]));
        let rule = DispatchRule::Any;
        let spin = Duration::ZERO;
        let load = OpenLoad { curve, spacing: Spacing::Constant, rule, spin };
        let streams = load.streams(0, 1, 3, 3);
        let mut dispatch = Dispatch::new(&LoadPlan::Open(load), streams, 3);
        for index in [2, 0, 1] {
            dispatch.queue(index);
        }
        let at = Instant::now();
        let mut asked = Vec::new();
        let mut look = |index| {
            asked.push(index);
            (index == 0).then_some(at)
        };
        assert_eq!(dispatch.free_since(&mut look), Some(at));
        assert_eq!(dispatch.free_since(&mut look), Some(at));
        assert_eq!(asked, [2, 0, 0]);
        assert_eq!(dispatch.free_since(|_| None), None);
    }
}
