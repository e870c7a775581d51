//! The limit of the time that a message waits for its reply (`--timeout`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ringloop::time::Sleep;

use crate::worker::message::Outcome;
use crate::worker::shared::Worker;

/// Ends a connection whose oldest message has waited for too long.
///
/// The timer is not set for each message. When it expires, it is set again by the message that is
/// the oldest at that time.
pub(super) struct ReplyTimeout {
    timer: Sleep,
    is_set: bool,
}

impl ReplyTimeout {
    pub(super) fn new() -> ReplyTimeout {
        ReplyTimeout { timer: ringloop::time::sleep(Duration::ZERO), is_set: false }
    }

    pub(super) fn poll(
        &mut self,
        worker: &Worker,
        conn: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome> {
        let timeout = worker.plan().timeout;
        loop {
            if !self.is_set {
                let Some(sent_at) = worker.oldest_sent_at(conn) else { return Poll::Pending };
                self.timer.reset(worker.loop_time(sent_at + timeout));
                self.is_set = true;
            }
            if Pin::new(&mut self.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.is_set = false;
            let oldest = worker.oldest_sent_at(conn);
            if oldest.is_some_and(|sent_at| sent_at.elapsed() >= timeout) {
                return Poll::Ready(Outcome::TimedOut);
            }
        }
    }
}
