//! The stall target: an echo that now and then does nothing at all for a while.
//!
//! With rate R, a stall of S every P delays the share S / P of all messages, evenly by 0 to S. So
//! the response times that a tester must find are known beforehand.
//!
//! The stall is a gate that holds every reply, not a loop that is kept busy: when it ends is a
//! function of the clock alone, the same for all threads, so all of them stall together, and the
//! loop can still be stopped. To a peer it is the same, except that connections are accepted.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringloop::time::{Instant, sleep_until};

use crate::net::stream::Stream;
use crate::serve::serving_thread::ServingThread;
use crate::serve::tally::Messages;

/// When the server stalls: for `length` from `start + k * period` on, for each k from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stalls {
    start: Instant,
    length: Duration,
    period: Duration,
}

impl Stalls {
    /// The first one begins a period from now.
    pub(super) fn from_now(length: Duration, period: Duration) -> Stalls {
        assert!(length < period, "{length:?} of {period:?}");
        Stalls { start: Instant::now(), length, period }
    }

    /// One line that tells a peer on this machine when the stalls are.
    pub(super) fn describe(&self) -> String {
        let to_come = (self.start + self.period).duration_since(Instant::now());
        // No clock is set to a time before 1970 while a test runs.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + to_come;
        let Stalls { length, period, .. } = self;
        format!("stalling for {length:?} every {period:?}, first at {} ns unix", unix.as_nanos())
    }

    /// The end of the stall that `now` is in, if it is in one.
    fn end_at(&self, now: Instant) -> Option<Instant> {
        let elapsed = now.duration_since(self.start).as_nanos();
        let period = self.period.as_nanos();
        let since_begin = elapsed % period;
        let is_stalled = elapsed >= period && since_begin < self.length.as_nanos();
        is_stalled.then(|| {
            let left = self.length.as_nanos() - since_begin;
            now + Duration::from_nanos(u64::try_from(left).expect("options are bounded"))
        })
    }
}

pub(super) async fn serve(
    mut stream: Stream,
    worker: Rc<ServingThread>,
    size: u32,
    stalls: Stalls,
) {
    let tally = worker.tally();
    let mut messages = Messages::new(size);
    while let Ok(bytes) = stream.recv().await {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        tally.received(len);
        tally.messages(messages.completed_by(len));
        if let Some(end) = stalls.end_at(Instant::now()) {
            sleep_until(end).await;
        }
        if stream.send(bytes).await.is_err() {
            return;
        }
        tally.sent(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: stalls are where the closed form says, and end where they should.
    ///
    /// Method: moments around the edges of the first and the thousandth stall of 200 ms every 5 s.
    ///
    /// Kills: a stall at the very start; an edge off by one; an end counted from the moment of
    /// asking; a drift from stall to stall.
    #[test]
    fn closed_form() {
        let (length, period) = (Duration::from_millis(200), Duration::from_secs(5));
        let start = Instant::now();
        let stalls = Stalls { start, length, period };
        let ns = Duration::from_nanos(1);
        assert_eq!(stalls.end_at(start), None);
        assert_eq!(stalls.end_at(start + length / 2), None);
        for count in [1, 1_000] {
            let begin = start + period * count;
            let end = begin + length;
            assert_eq!(stalls.end_at(begin - ns), None);
            assert_eq!(stalls.end_at(begin), Some(end));
            assert_eq!(stalls.end_at(begin + length / 3), Some(end));
            assert_eq!(stalls.end_at(end - ns), Some(end));
            assert_eq!(stalls.end_at(end), None);
        }
    }
}
