//! What a server counts of its own, so that a tester's account can be compared with it.
//!
//! **Invariant.** A [`ServerTally`] has one writer, its thread. So adding is a load and a store, which
//! costs an echo nothing, and nothing is lost; anybody may read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::serve::fault::Fault;

/// The counters of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct ServerTally {
    connections: AtomicU64,
    messages: AtomicU64,
    bad_requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// By the fault's place in [`Fault::ALL`].
    faults: [AtomicU64; Fault::COUNT],
}

/// All threads' counters.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<[ServerTally]>);

/// The sum over all threads, as it is printed at the end.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ServerTotals {
    /// Connections accepted.
    pub(super) connections: u64,
    /// Whole messages received; in `http`, requests answered, without those to `/count`.
    pub(super) messages: u64,
    /// Requests that were no HTTP or too large; in `ws`, openings that were refused and connections
    /// that broke the protocol. Always 0 elsewhere.
    pub(super) bad_requests: u64,
    pub(super) bytes_in: u64,
    /// Bytes handed to the loop to send. A peer that goes away may not have read the last of them.
    pub(super) bytes_out: u64,
    /// How often each fault was injected, by its name, if it was.
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

/// Relaxed: a counter orders nothing. Whoever wants the last value joins the writer's thread first.
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

/// Counts messages of a fixed size in a stream of bytes that come in pieces of any size.
#[derive(Debug)]
pub(super) struct Messages {
    size: u64,
    /// Bytes of a message that has not come whole.
    partial: u64,
}

impl Messages {
    pub(super) fn new(size: u32) -> Messages {
        assert!(size > 0, "a message has bytes");
        Messages { size: size.into(), partial: 0 }
    }

    /// How many messages the next `len` bytes complete.
    pub(super) fn completed_by(&mut self, len: usize) -> u64 {
        let total = self.partial + len as u64;
        self.partial = total % self.size;
        total / self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: messages are counted whatever pieces they come in.
    ///
    /// Method: 1 000 bytes in pieces of each length up to 40, messages of 7.
    ///
    /// Kills: counting pieces; forgetting the bytes of a message that is not whole.
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
    /// Kills: the last thread's figures in place of the sum; a field read from its neighbour.
    #[test]
    fn totals_are_sums() {
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
        let wanted = ServerTotals {
            connections: 11,
            messages: 22,
            bad_requests: 55,
            bytes_in: 33,
            bytes_out: 44,
            faults: BTreeMap::from([("extra", 11)]),
        };
        assert_eq!(board.totals(), wanted);
    }
}
