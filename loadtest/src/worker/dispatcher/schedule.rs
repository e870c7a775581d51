//! The messages that no connection has taken yet.

use std::collections::VecDeque;
use std::mem;
use std::slice;
use std::time::{Duration, Instant};

use crate::measure::stats;
use crate::measure::window::Window;
use crate::plan::load::{DispatchRule, LoadPlan, OpenLoad};
use crate::plan::schedule::arrivals::Arrivals;
use crate::plan::schedule::backlog::{self, Backlog};

/// The schedule of one worker.
///
/// What is due and not taken is the distance between two indices of the arrivals, not a queue.
/// Only messages that were taken and came back are stored.
#[derive(Debug)]
pub(super) struct MessageSchedule {
    /// Time zero of the arrivals. `None` until connections may send.
    origin: Option<Instant>,
    streams: Streams,
}

#[derive(Debug)]
enum Streams {
    /// Closed loop: a message is due whenever a connection has room.
    Closed,
    /// One stream for all connections (`--dispatch any`).
    Shared {
        arrivals: Arrivals,
        /// Messages taken by connections that ended before they could send them.
        returned: VecDeque<Instant>,
    },
    /// One stream for each connection (`--dispatch per-conn`).
    PerConn(Vec<Arrivals>),
}

impl MessageSchedule {
    /// `streams` are the arrivals of `load`: one stream for all connections or one for each.
    pub(super) fn new(load: &LoadPlan, streams: Vec<Arrivals>) -> MessageSchedule {
        let streams = match load {
            LoadPlan::Closed => Streams::Closed,
            LoadPlan::Open(OpenLoad { rule: DispatchRule::PerConn, .. }) => {
                Streams::PerConn(streams)
            }
            LoadPlan::Open(OpenLoad { rule: DispatchRule::Any, .. }) => Streams::Shared {
                arrivals: streams.into_iter().next().expect("one stream for each worker"),
                returned: VecDeque::new(),
            },
        };
        MessageSchedule { origin: None, streams }
    }

    pub(super) fn start(&mut self, origin: Instant) {
        self.origin = Some(origin);
    }

    /// Whether a message may be sent by any connection.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.streams, Streams::Shared { .. })
    }

    pub(super) fn is_per_conn(&self) -> bool {
        matches!(self.streams, Streams::PerConn(_))
    }

    /// The due time of the next message that connection `conn` may send. In a closed loop this is
    /// `now`.
    pub(super) fn next_due(&self, conn: u32, now: Instant) -> Option<Instant> {
        let origin = self.origin?;
        match &self.streams {
            Streams::Closed => Some(now),
            Streams::PerConn(streams) => streams[conn as usize].peek().map(|due| origin + due),
            Streams::Shared { .. } => self.next_shared_due(),
        }
    }

    /// The due time of the next message of the stream that all connections share, if there is such
    /// a stream.
    pub(super) fn next_shared_due(&self) -> Option<Instant> {
        let (Streams::Shared { arrivals, returned }, Some(origin)) = (&self.streams, self.origin)
        else {
            return None;
        };
        // A message that came back was due before any that is left.
        let returned = returned.front().copied();
        returned.or_else(|| arrivals.peek().map(|due| origin + due))
    }

    /// Takes the message of [`next_due`](MessageSchedule::next_due).
    pub(super) fn take(&mut self, conn: u32) {
        match &mut self.streams {
            Streams::Closed => {}
            Streams::PerConn(streams) => drop(streams[conn as usize].pop()),
            Streams::Shared { arrivals, returned } => {
                if returned.pop_front().is_none() {
                    arrivals.pop();
                }
            }
        }
    }

    /// Puts back a message that its connection could not send.
    pub(super) fn give_back(&mut self, due: Instant) {
        match &mut self.streams {
            Streams::Shared { returned, .. } => returned.push_back(due),
            Streams::Closed | Streams::PerConn(_) => {
                unreachable!("messages are assigned in advance from a shared stream only")
            }
        }
    }

    /// Takes the messages of the stream of `conn` that are due before `cutoff`. Those within
    /// `window` are passed to `record`, at most `limit` of them, as in
    /// [`take_window`](MessageSchedule::take_window). Returns how many that were.
    pub(super) fn take_before(
        &mut self,
        conn: u32,
        cutoff: Instant,
        window: Window,
        now: Instant,
        limit: u64,
        record: impl FnMut(u64, u64),
    ) -> u64 {
        let Some(origin) = self.origin else { return 0 };
        let streams = match &mut self.streams {
            Streams::Closed => return 0,
            Streams::PerConn(streams) => slice::from_mut(&mut streams[conn as usize]),
            Streams::Shared { arrivals, .. } => slice::from_mut(arrivals),
        };
        let since = |time: Instant| time.saturating_duration_since(origin);
        let backlog = Backlog {
            from: since(window.from).min(since(cutoff)),
            until: since(cutoff.min(window.until)),
            waited_until: since(now),
            limit,
        };
        backlog::drain(streams, backlog, stats::bucket_of, record).0
    }

    /// Takes the messages that are due in `window`, at most `limit` of them. `record` gets the
    /// nanoseconds that messages have waited at `waited_until`, and how many have waited so long.
    pub(super) fn take_window(
        &mut self,
        window: Window,
        waited_until: Instant,
        limit: u64,
        mut record: impl FnMut(u64, u64),
    ) {
        let Some(origin) = self.origin else { return };
        let mut left = limit;
        let streams = match &mut self.streams {
            Streams::Closed => return,
            Streams::PerConn(streams) => &mut streams[..],
            Streams::Shared { arrivals, returned } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let returned = mem::take(returned).into_iter().filter(|due| window.holds(*due));
                for due in returned.take(limit) {
                    left -= 1;
                    record(nanos(waited_until.saturating_duration_since(due)), 1);
                }
                slice::from_mut(arrivals)
            }
        };
        let since = |time: Instant| time.saturating_duration_since(origin);
        let backlog = Backlog {
            from: since(window.from),
            until: since(window.until),
            waited_until: since(waited_until),
            limit: left,
        };
        let _ = backlog::drain(streams, backlog, stats::bucket_of, record);
    }
}

fn nanos(duration: Duration) -> u64 {
    // Within u64 for 584 years.
    duration.as_nanos() as u64
}
