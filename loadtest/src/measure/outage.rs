//! Outages: times without a reply in which messages or connects fail.
//!
//! ```text
//!      last reply    first failure                     first reply
//! ─────────┼──────────────┼─────── failures ───────────────┼─────────
//!          └───────────────── the outage ──────────────────┘
//! ```
//!
//! Each worker records its own outages ([`Outages`]). The target was out of service while every
//! worker had an outage ([`of_all`]). A wrong reply, such as a status 503, is a failure like any
//! other.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// Shorter outages are not listed, because single failures among replies cause them.
pub(crate) const OUTAGE_MIN: Duration = Duration::from_millis(100);

/// Limit of outages per worker; the longest ones are kept.
const OUTAGES_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutageSpan {
    /// Time of the last reply before the outage, or of the first failure without one.
    pub(crate) from: Instant,
    pub(crate) first_failure: Instant,
    /// Time of the first reply after the outage, or the end of the load.
    pub(crate) until: Instant,
    pub(crate) is_over: bool,
}

impl OutageSpan {
    pub(crate) fn len(&self) -> Duration {
        self.until.saturating_duration_since(self.from)
    }
}

/// The outages of one worker.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    last_reply: Cell<Option<Instant>>,
    /// Time of the first failure since the last reply.
    first_failure: Cell<Option<Instant>>,
    kept: RefCell<Vec<OutageSpan>>,
}

impl Outages {
    pub(crate) fn failed(&self, now: Instant) {
        if self.first_failure.get().is_none() {
            self.first_failure.set(Some(now));
        }
    }

    pub(crate) fn replied(&self, now: Instant) {
        if let Some(first_failure) = self.first_failure.take() {
            self.end(first_failure, now, true);
        }
        self.last_reply.set(Some(now));
    }

    /// Returns the outages, in order of time. The load ended at `now`.
    pub(crate) fn finish(&self, now: Instant) -> Vec<OutageSpan> {
        if let Some(first_failure) = self.first_failure.take() {
            self.end(first_failure, now, false);
        }
        let mut kept = self.kept.take();
        kept.sort_by_key(|outage| outage.from);
        kept
    }

    fn end(&self, first_failure: Instant, until: Instant, is_over: bool) {
        let from = self.last_reply.get().unwrap_or(first_failure);
        let outage = OutageSpan { from, first_failure, until, is_over };
        if outage.len() < OUTAGE_MIN {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        if kept.len() < OUTAGES_MAX {
            kept.push(outage);
        } else if let Some(shortest) = kept.iter_mut().min_by_key(|outage| outage.len())
            && shortest.len() < outage.len()
        {
            *shortest = outage;
        }
    }
}

/// The times in which all workers had an outage, in order of time.
pub(crate) fn of_all(mut workers: impl Iterator<Item = Vec<OutageSpan>>) -> Vec<OutageSpan> {
    let Some(first) = workers.next() else { return Vec::new() };
    workers.fold(first, |all, worker| {
        let pairs = all.iter().flat_map(|one| worker.iter().map(move |other| (one, other)));
        let both = pairs.map(|(one, other)| OutageSpan {
            from: one.from.max(other.from),
            first_failure: one.first_failure.min(other.first_failure),
            until: one.until.min(other.until),
            is_over: one.is_over || other.is_over,
        });
        both.filter(|outage| outage.len() >= OUTAGE_MIN).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// Goal: an outage lasts from the last reply before a failure to the first reply after it.
    ///
    /// Method: replies and failures at known times: a single failure between two close replies, a
    /// long outage, one that lasts to the end, and one before any reply.
    ///
    /// Kills: an outage that starts at its second failure; a gap without a failure; a missing
    /// outage at the end; an outage for every single error.
    #[test]
    fn outages_are_gaps_with_failures() {
        let start = Instant::now();
        let at = |ms| at(start, ms);
        let outages = Outages::default();
        outages.replied(at(0));
        outages.replied(at(1_000)); // silence without a failure
        outages.failed(at(1_010));
        outages.replied(at(1_020));
        outages.failed(at(2_000));
        outages.failed(at(2_500));
        outages.replied(at(3_000));
        outages.failed(at(4_000));
        let found = outages.finish(at(5_000));
        let row = |from, first_failure, until, is_over| OutageSpan {
            from: at(from),
            first_failure: at(first_failure),
            until: at(until),
            is_over,
        };
        assert_eq!(found, [row(1_020, 2_000, 3_000, true), row(3_000, 4_000, 5_000, false)]);
        let never = Outages::default();
        never.failed(at(10));
        assert_eq!(never.finish(at(510)), [row(10, 10, 510, false)]);
    }

    /// Goal: the target is out of service while all workers have an outage.
    ///
    /// Method: two workers whose outages overlap once, and once for too short a time; a third
    /// worker without any.
    ///
    /// Kills: a union; an outage of a single worker; the later of two ends.
    #[test]
    fn outages_of_all_workers_are_intersected() {
        let start = Instant::now();
        let row = |from, until, is_over| {
            let (from, until) = (at(start, from), at(start, until));
            OutageSpan { from, first_failure: from, until, is_over }
        };
        let first = vec![row(0, 1_000, true), row(2_000, 3_000, true)];
        let second = vec![row(500, 1_500, false), row(2_950, 4_000, true)];
        let both = of_all([first.clone(), second].into_iter());
        let expected =
            OutageSpan { first_failure: at(start, 0), is_over: true, ..row(500, 1_000, true) };
        assert_eq!(both, [expected]);
        assert_eq!(of_all([first, Vec::new()].into_iter()), []);
        assert_eq!(of_all(std::iter::empty()), []);
    }

    /// Goal: the list is bounded and keeps the longest outages.
    ///
    /// Method: more outages than the limit, with the longest one in the middle.
    ///
    /// Kills: memory that grows with the failures of a long run; a list of the first ones.
    #[test]
    fn the_longest_outages_are_kept() {
        let start = Instant::now();
        let outages = Outages::default();
        let mut ms = 0;
        for number in 0..3 * OUTAGES_MAX as u64 {
            outages.replied(at(start, ms));
            outages.failed(at(start, ms));
            ms += if number == 150 { 5_000 } else { 100 };
        }
        let found = outages.finish(at(start, ms));
        assert_eq!(found.len(), OUTAGES_MAX);
        assert_eq!(found.iter().map(OutageSpan::len).max(), Some(Duration::from_secs(5)));
    }
}
