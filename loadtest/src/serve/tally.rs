//! Counters of a server, to compare with those of the load tester.
//!
//! **Invariant.** A [`ServerTally`] has one writer, its thread. So an addition is a load and a
//! store, which is cheap and loses nothing. Any thread may read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::serve::fault::Fault;

/// The counters of one thread, on separate cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct ServerTally {
    connections: AtomicU64,
    messages: AtomicU64,
    bad_requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// By the index of the fault in [`Fault::ALL`].
    faults: [AtomicU64; Fault::COUNT],
}

/// All threads' counters.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<[ServerTally]>);

/// The sums over all threads, as printed at the end.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ServerTotals {
    /// Connections accepted.
    pub(super) connections: u64,
    /// Complete messages received; in `http`, requests answered, without those to `/count`.
    pub(super) messages: u64,
    /// Requests that were not HTTP or too large; in `ws`, refused handshakes and connections that
    /// violated the protocol. 0 for other servers.
    pub(super) bad_requests: u64,
    pub(super) bytes_in: u64,
    /// Bytes passed to the stream to send. A peer that closes may not have read the last ones.
    pub(super) bytes_out: u64,
    /// Number of injected faults by name, without zeros.
    pub(super) faults: BTreeMap<&'static str, u64>,
}

impl ServerTally {
    pub(super) fn connected(&self) {
        add(&self.connections, 1);
    }

    pub(super) fn messages(&self, count: u64) {
        add(&self.messages, count);
    }

    pub(super) fn bad_request(&self) {
        add(&self.bad_requests, 1);
    }

    pub(super) fn received(&self, len: usize) {
        add(&self.bytes_in, len as u64);
    }

    pub(super) fn sent(&self, len: usize) {
        add(&self.bytes_out, len as u64);
    }

    pub(super) fn injected(&self, fault: Fault) {
        add(&self.faults[fault as usize], 1);
    }
}

/// Adds to a counter. Relaxed: a counter orders nothing. The final values are read after joining
/// the writer's thread.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

impl Board {
    pub(super) fn new(threads_count: usize) -> Board {
        Board((0..threads_count).map(|_| ServerTally::default()).collect())
    }

    /// The counters of one thread. Only that thread may add to them.
    pub(super) fn of(&self, thread: usize) -> &ServerTally {
        &self.0[thread]
    }

    pub(super) fn totals(&self) -> ServerTotals {
        let mut totals = ServerTotals::default();
        for tally in &*self.0 {
            let ServerTally { connections, messages, bad_requests, bytes_in, bytes_out, faults } =
                tally;
            totals.connections += connections.load(Ordering::Relaxed);
            totals.messages += messages.load(Ordering::Relaxed);
            totals.bad_requests += bad_requests.load(Ordering::Relaxed);
            totals.bytes_in += bytes_in.load(Ordering::Relaxed);
            totals.bytes_out += bytes_out.load(Ordering::Relaxed);
            for (fault, count) in Fault::ALL.into_iter().zip(faults) {
                match count.load(Ordering::Relaxed) {
                    0 => {}
                    count => *totals.faults.entry(fault.name()).or_default() += count,
                }
            }
        }
        totals
    }
}

/// Counts messages of a fixed size in a byte stream of pieces of any size.
#[derive(Debug)]
pub(super) struct Messages {
    size: u64,
    /// Received bytes of an incomplete message.
    partial: u64,
}

impl Messages {
    pub(super) fn new(size: u32) -> Messages {
        assert!(size > 0, "a message has bytes");
        Messages { size: size.into(), partial: 0 }
    }

    /// Number of messages that the next `len` bytes complete.
    pub(super) fn completed_by(&mut self, len: usize) -> u64 {
        let total = self.partial + len as u64;
        self.partial = total % self.size;
        total / self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the count of messages does not depend on the sizes of the pieces.
    ///
    /// Method: 1 000 bytes in pieces of each length up to 40, messages of 7.
    ///
    /// Kills: counting pieces; losing the bytes of an incomplete message.
    #[test]
    fn messages_do_not_depend_on_pieces() {
        for piece in 1..40 {
            let mut messages = Messages::new(7);
            let mut rest = 1_000;
            let mut count = 0;
            while rest > 0 {
                let len = piece.min(rest);
                count += messages.completed_by(len);
                rest -= len;
            }
            assert_eq!(count, 1_000 / 7, "in pieces of {piece}");
        }
    }

    /// Goal: the totals are the sums over all threads, field by field.
    ///
    /// Method: different amounts in each field of two threads.
    ///
    /// Kills: the figures of the last thread in place of the sum; swapped fields.
    #[test]
    fn totals_are_sums_over_threads() {
        let board = Board::new(2);
        for (thread, factor) in [(0, 1), (1, 10)] {
            let tally = board.of(thread);
            (0..factor).for_each(|_| tally.connected());
            tally.messages(2 * factor);
            (0..5 * factor).for_each(|_| tally.bad_request());
            tally.received(3 * factor as usize);
            tally.sent(4 * factor as usize);
            (0..factor).for_each(|_| tally.injected(Fault::Extra));
        }
        let expected = ServerTotals {
            connections: 11,
            messages: 22,
            bad_requests: 55,
            bytes_in: 33,
            bytes_out: 44,
            faults: BTreeMap::from([("extra", 11)]),
        };
        assert_eq!(board.totals(), expected);
    }
}
