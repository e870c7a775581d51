//! The stall server: an echo that periodically pauses all replies.
//!
//! At a constant rate, a stall of length S every P delays the share S / P of all messages,
//! uniformly by 0 to S. So the response times that a tester must measure are known in advance.
//!
//! A stall delays every reply; it does not block the event loop. Its end is a function of the clock
//! alone, so all threads stall at the same times, and the loop can still be stopped. For a peer the
//! only difference to a blocked loop is that connections are accepted.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringloop::time::{Instant, sleep_until};

use crate::net::stream::Stream;
use crate::serve::serving_thread::ServingThread;
use crate::serve::tally::Messages;

/// Schedule of stalls: from `start + k * period` for `length`, for each k from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stalls {
    start: Instant,
    length: Duration,
    period: Duration,
}

impl Stalls {
    /// A schedule whose first stall starts one period from now.
    pub(super) fn from_now(length: Duration, period: Duration) -> Stalls {
        assert!(length < period, "{length:?} of {period:?}");
        Stalls { start: Instant::now(), length, period }
    }

    /// One line with the times of the stalls, for a peer on this machine.
    pub(super) fn describe(&self) -> String {
        let to_come = (self.start + self.period).duration_since(Instant::now());
        // The clock does not go back before 1970 during a test.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + to_come;
        let Stalls { length, period, .. } = self;
        format!("stalling for {length:?} every {period:?}, first at {} ns unix", unix.as_nanos())
    }

    /// The end of the current stall; `None` outside of stalls.
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

    /// Goal: stalls start and end at the scheduled times.
    ///
    /// Method: times around the edges of the first and the thousandth stall of 200 ms every 5 s.
    ///
    /// Kills: a stall at the start; an edge off by one; an end counted from `now`; a drift from
    /// stall to stall.
    #[test]
    fn stalls_start_and_end_on_schedule() {
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
