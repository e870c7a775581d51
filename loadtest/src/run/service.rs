//! Detection of a lost target on the main thread (`--give-up`).

use std::time::{Duration, Instant};

use crate::measure::published::Snapshot;

/// Time between two checks of the workers' published counters.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Detector of a time without replies in which messages or connects fail.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) give_up_after: Duration,
    /// Time of the next check.
    pub(crate) look_at: Instant,
    replies: u64,
    failures: u64,
    /// Time of the check that found the first failure since the last reply.
    failing_since: Option<Instant>,
}

impl Service {
    pub(crate) fn new(give_up_after: Duration) -> Service {
        let look_at = Instant::now();
        Service { give_up_after, look_at, replies: 0, failures: 0, failing_since: None }
    }

    /// Returns whether there were failures and no reply for `give_up_after`.
    pub(crate) fn is_lost(&mut self, now: &Snapshot, at: Instant) -> bool {
        self.look_at = at + LOOK_PERIOD;
        let failures = now.errors + now.refused;
        if now.replies > self.replies {
            self.failing_since = None;
        } else if failures > self.failures && self.failing_since.is_none() {
            self.failing_since = Some(at);
        }
        (self.replies, self.failures) = (now.replies, failures);
        self.failing_since
            .is_some_and(|since| at.saturating_duration_since(since) >= self.give_up_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the target is lost after failures without a reply for the whole time limit.
    ///
    /// Method: checks at known times: silence without failures, failures among replies, failures
    /// that end with a reply, and failures that continue.
    ///
    /// Kills: giving up because no message was due; failures summed up across replies; a reply that
    /// does not restart the time limit.
    #[test]
    fn lost_is_failures_without_replies() {
        let start = Instant::now();
        let mut service = Service::new(Duration::from_secs(2));
        let mut look = |second: u64, replies, errors, refused| {
            let mut snapshot = Snapshot::zero();
            (snapshot.replies, snapshot.errors, snapshot.refused) = (replies, errors, refused);
            service.is_lost(&snapshot, start + Duration::from_secs(second))
        };
        assert!(!look(0, 1, 0, 0));
        assert!(!look(10, 1, 0, 0), "silence");
        assert!(!look(11, 2, 1, 0), "failures among replies");
        assert!(!look(20, 2, 1, 0));
        assert!(!look(21, 2, 2, 0));
        assert!(!look(22, 2, 2, 5));
        assert!(!look(23, 3, 2, 9), "a reply");
        assert!(!look(24, 3, 2, 10));
        assert!(!look(25, 3, 2, 10));
        assert!(look(26, 3, 2, 10), "no further failure is needed");
    }
}
