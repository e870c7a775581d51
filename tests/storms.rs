//! Storms: far more cancels, closes, overflows and shortages than programs make, on the real kernel
//! and on each driver. They must cause no loss, no mixed-up bytes, no spin and no leak.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `RINGLOOP_STORM` | cancels of the cancel storm, over all kinds of operations | 100000 |
//! | `RINGLOOP_STORM_SEED` | the one seed to run, to repeat a failure | a fixed set |
//! | `RINGLOOP_TEST_SCALE` | divides every size, for slow machines; limits grow with it | 1 |
//! | `RINGLOOP_DRIVER` | the one driver to run on | both |
//!
//! `scripts/storms.sh` runs a million cancels in a release build.

mod common;

#[path = "storms/bystander.rs"]
mod bystander;
#[path = "storms/cancels.rs"]
mod cancels;
#[path = "storms/harness.rs"]
mod harness;
#[path = "storms/load.rs"]
mod load;
#[path = "storms/reuse.rs"]
mod reuse;
#[path = "storms/tape.rs"]
mod tape;

use std::cell::Cell;

use ringloop::DriverKind;

use harness::{assert_quiet, on_each_driver};

/// Goal: cancelled operations of every kind end, and leave no slot, descriptor, buffer, timer or
/// memory. Other operations are not affected.
///
/// Method: waves of victims, each with an operation in flight (a receive, a send, an accept, a
/// connect, a poll), ended in random order after no, one or some turns, often while a completion is
/// due; peers stay open until the operation has ended, so that only the cancel can end it. Another
/// connection echoes position-coded data all the time. Counted: the cancels that reached the
/// driver, by kind, and the remaining resources after every wave and at the end.
///
/// Kills: a cancel that is not sent, or lost when the submission queue is full; a slot that is
/// freed before its final completion, or never; a descriptor, a buffer or a box that a cancelled
/// operation keeps; bytes lost with a receive that backpressure cancels.
#[test]
fn a_storm_of_cancels_leaves_nothing_behind() {
    on_each_driver("cancel storm", &[11], cancels::storm);
}

/// Goal: a connection that reuses a descriptor number at once gets no byte, cancel or end of the
/// former one.
///
/// Method: connections whose bytes encode their connection. Each step ends one of them in a random
/// way, with operations in flight, and opens another in its place; both directions of both are
/// checked to the last byte. Counted: the reused numbers, and the turns until their reuse.
///
/// Kills: a cancel by descriptor; a descriptor closed while an operation names it; interest of
/// epoll that outlives its socket; a completion for the next operation of the slot.
#[test]
fn reused_descriptors_bring_nothing_of_their_former_owner() {
    on_each_driver("descriptor reuse", &[21, 22, 23], reuse::storm);
}

/// Goal: the smallest queues only make the loop slower.
///
/// Method: the mixed load on every pair of 1, 2, 4 or 8 submission and 2, 4 or 8 completion
/// entries. Counted: overflows of the completion queue, without which this would test nothing.
///
/// Kills: an overflow that is not flushed; a request or a cancel dropped by a full submission
/// queue; a multishot that overflow ended and that is not armed again; a cap that is not released.
#[test]
fn tiny_rings_lose_nothing() {
    on_each_driver("tiny rings", &[31], |builder, seed| {
        let overflows = Cell::new(0);
        let mut kind = DriverKind::Uring;
        for submission in [1, 2, 4, 8] {
            for completion in [2, 4, 8].into_iter().filter(|&count| count >= submission) {
                let runtime = builder().ring_entries(submission, completion).build().unwrap();
                kind = runtime.handle().driver().kind();
                let tally = runtime.block_on(load::mixed(seed));
                let metrics = runtime.handle().metrics();
                assert_quiet(&metrics);
                println!(
                    "rings of {submission} and {completion}: {tally}, {} overflows, {} enters",
                    metrics.cq_overflows, metrics.enter_calls
                );
                overflows.set(overflows.get() + metrics.cq_overflows);
                if kind == DriverKind::Epoll {
                    return; // it has no rings: once is enough
                }
            }
        }
        assert!(overflows.get() > 0, "{kind}: no completion queue has overflowed");
    });
}

/// Goal: with one buffer for all connections reading goes on, and a receive that finds no buffer is
/// followed by a private receive, not by another attempt.
///
/// Method: the mixed load on pools of one and two buffers. Counted: receives that found no buffer
/// against the results of receives. Each of the former is followed by one that brings bytes or an
/// end, or is cancelled, so there can be no more of them than of these.
///
/// Kills: arming the multishot again on ENOBUFS; a stream that stays paused; a buffer that is used
/// twice or not returned.
#[test]
fn pools_of_one_buffer_starve_no_connection() {
    on_each_driver("tiny pools", &[41], |builder, seed| {
        let mut pool_exhausted = 0;
        for (count, len) in [(1, 64), (1, 4096), (2, 64), (2, 4096)] {
            let runtime = builder().recv_buffers(count, len).build().unwrap();
            let tally = runtime.block_on(load::mixed(seed));
            let metrics = runtime.handle().metrics();
            assert_quiet(&metrics);
            println!("{count} buffers of {len}: {tally}, {} ENOBUFS", metrics.pool_exhausted);
            let receives_max = tally.chunks + tally.streams + metrics.cancels;
            assert!(
                metrics.pool_exhausted <= receives_max,
                "{} ENOBUFS, but {tally} and {} cancels",
                metrics.pool_exhausted,
                metrics.cancels
            );
            pool_exhausted += metrics.pool_exhausted;
        }
        assert!(pool_exhausted > 0, "no receive has found the pool empty");
    });
}
