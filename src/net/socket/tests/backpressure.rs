//! How much a socket queues for a reader that does not read.

use super::*;
use crate::driver::request::{Flags, OpKind};
use crate::driver::uring::scripted::CancelPolicy;
use crate::net::socket::recv_queue::QUEUED_BYTES_MAX;
use crate::sys::errno;

/// Buffers of 4 KiB that reach the bound of a queue.
const FULL_COUNT: u8 = (QUEUED_BYTES_MAX / 4096) as u8;

/// Goal: a reader that does not read stops the receive, reads everything in order later, and the
/// receive is armed again when it has caught up.
/// Method: deliver to the bound and two more while the cancel is under way, then read all.
/// Kills: no bound; arming while the queue is full; bytes that land after the cancel thrown away.
#[test]
fn a_slow_reader_closes_the_window() {
    let (script, runtime) = scripted_with(|builder| builder.recv_buffers(32, 4096));
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(1).await;
        let op = script.the(OpKind::Recv);
        for number in 0..FULL_COUNT {
            turns(2).await;
            assert!(script.cancels().is_empty(), "before the bound");
            assert!(script.deliver(op, &[number; 4096], true));
        }
        turns(2).await;
        assert_eq!(script.cancels(), [op.user_data]);
        for number in FULL_COUNT..FULL_COUNT + 2 {
            assert!(script.deliver(op, &[number; 4096], true));
        }
        script.complete(op, -errno::ECANCELED, Flags::NONE);
        turns(2).await;
        assert_eq!(metrics().buffers_held, u64::from(FULL_COUNT) + 2);

        for number in 0..FULL_COUNT + 2 {
            assert_eq!(script.count_ops(OpKind::Recv), 1, "still {number} to read");
            assert_eq!(*stream.recv().await.unwrap(), [number; 4096]);
        }
        arm(&mut stream).await;
        turns(1).await;
        script.deliver(script.the(OpKind::Recv), b"more", true);
        assert_eq!(&*stream.recv().await.unwrap(), b"more");
        assert_eq!(script.cancels().len(), 1);
    });
    script.set_cancel_policy(CancelPolicy::Obey);
}

/// Goal: a message far beyond the bound that a reader takes in the turn it comes costs no cancel
/// and no second receive, also if something is submitted while the reader waits for its poll.
/// Method: three messages of one and a half times the bound; a task in front of the reader lets
/// time pass, so that the loop flushes between the two polls. Kills: a cancel when the bound is
/// crossed; one decided by the flush between two polls; a decision that is lost with that flush.
#[test]
fn backpressure_is_decided_after_the_tasks_have_run() {
    const COUNT: u8 = FULL_COUNT + FULL_COUNT / 2;
    let (script, runtime) = scripted_with(|builder| builder.recv_buffers(64, 4096));
    runtime.block_on(async {
        let (mut reader, _peer) = stream();
        let (mut busy, _busy_peer) = stream();
        arm(&mut busy).await;
        turns(1).await;
        let first = script.the(OpKind::Recv);
        let slow = script.clone();
        let computing = crate::spawn(async move {
            while !busy.recv().await.unwrap().is_empty() {
                slow.advance_ns(1_000_000);
            }
        });
        let reading = crate::spawn(async move {
            for _ in 0..3 * COUNT {
                assert_eq!(reader.recv().await.unwrap().len(), 4096);
            }
            reader
        });
        turns(2).await;
        let op = *script.all(OpKind::Recv).iter().find(|op| **op != first).unwrap();
        for _ in 0..3 {
            assert!(script.deliver(first, b"compute", true));
            for number in 0..COUNT {
                assert!(script.deliver(op, &[number; 4096], true));
            }
            turns(3).await;
        }
        let mut reader = reading.await.unwrap();
        assert_eq!((script.cancels(), script.count_ops(OpKind::Recv)), (vec![], 2));

        // With the same load and no reader the decision comes with the next enter.
        arm(&mut reader).await;
        assert!(script.deliver(first, b"compute", true));
        for number in 0..COUNT {
            assert!(script.deliver(op, &[number; 4096], true));
        }
        turns(3).await;
        assert_eq!(script.cancels(), [op.user_data]);
        script.complete(first, 0, Flags::NONE);
        computing.await.unwrap();
    });
}

/// Goal: a peer that floods a reader which never reads is bounded, whatever the size of its pieces:
/// to the bound, and what one enter brings after it.
/// Method: pieces of a full buffer, of little more than a quarter, and single bytes, delivered turn
/// by turn for as long as the receive is armed; the payload and the buffers that it took.
/// Kills: no bound; a bound in buffers or in payload alone; short payloads that hold their buffers.
#[test]
fn a_flood_is_bounded_in_bytes() {
    for (len, payload_max, held_max) in [(4096, 65_536, 16), (1025, 33_000, 32), (1, 65_536, 1)] {
        let (script, runtime) = scripted_with(|builder| builder.recv_buffers(64, 4096));
        runtime.block_on(async {
            let (mut stream, _peer) = stream();
            arm(&mut stream).await;
            turns(1).await;
            let op = script.the(OpKind::Recv);
            let piece = vec![7; len];
            let mut sent = 0;
            while script.cancels().is_empty() {
                for _ in 0..(4096 / len).min(16) {
                    assert!(script.deliver(op, &piece, true), "the pool is empty");
                    sent += len;
                }
                turns(1).await;
                assert!(sent < 2 * QUEUED_BYTES_MAX, "no bound");
            }
            turns(1).await;
            assert!(sent <= payload_max + 2 * 4096, "{sent} bytes in pieces of {len}");
            let held = metrics().buffers_held;
            assert!(held <= held_max + 6, "{held} buffers for pieces of {len}");
            let mut received = 0;
            while received < sent {
                received += stream.recv().await.unwrap().len();
            }
            assert_eq!(metrics().buffers_held, 0);
        });
    }
}

/// Goal: single bytes to readers that are busy elsewhere hold at most half of the pool, one buffer
/// per reader that had been waiting; the bytes stay in order.
/// Method: eight readers, three waits each that are dropped before they are polled again; sixteen
/// single bytes to each. Kills: a second buffer per reader; a pool that short payloads can empty.
#[test]
fn single_bytes_do_not_hold_the_pool() {
    let (script, runtime) = scripted_with(|builder| builder.recv_buffers(8, 64));
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..8 {
            let (mut stream, peer) = stream();
            arm(&mut stream).await;
            streams.push((stream, peer));
        }
        turns(3).await;
        let receives = script.all(OpKind::Recv);
        for number in 0..16 {
            for &op in &receives {
                assert!(script.deliver(op, &[number], true), "the pool is empty");
                turns(1).await;
            }
        }
        turns(2).await;
        assert_eq!(metrics().buffers_held, 4);
        for (stream, _) in &mut streams {
            let mut bytes = [0; 16];
            stream.read_exact(&mut bytes).await.unwrap();
            assert_eq!(bytes, std::array::from_fn(|index| index as u8));
        }
        assert_eq!((metrics().buffers_held, metrics().pool_exhausted), (0, 0));
    });
}

/// Goal: a reader that is back before the cancel has ended gets the next receive all the same.
/// Method: reach the bound, take everything and wait again while the cancel is under way; let it
/// end. Kills: arming in `Cancelling`; not arming at its end.
#[test]
fn a_reader_may_catch_up_before_the_cancel_ends() {
    let (script, runtime) = scripted_with(|builder| builder.recv_buffers(32, 4096));
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(1).await;
        let op = script.the(OpKind::Recv);
        for number in 0..FULL_COUNT {
            script.deliver(op, &[number; 4096], true);
        }
        turns(2).await;
        assert_eq!(script.cancels(), [op.user_data]);
        for number in 0..FULL_COUNT {
            assert_eq!(*stream.recv().await.unwrap(), [number; 4096]);
        }
        arm(&mut stream).await;
        turns(2).await;
        assert_eq!(script.count_ops(OpKind::Recv), 1);
        script.complete(op, -errno::ECANCELED, Flags::NONE);
        turns(2).await;
        assert_eq!(script.count_ops(OpKind::Recv), 2);
        script.deliver(script.the(OpKind::Recv), b"next", false);
        assert_eq!(&*stream.recv().await.unwrap(), b"next");
    });
    script.set_cancel_policy(CancelPolicy::Obey);
}

/// Goal: a loop lends a part of a large pool until a receive has found no buffer.
/// Method: a pool of 1024; the buffers that the kernel has at first, after bytes, and after the
/// ENOBUFS of a burst. Kills: a pool lent as a whole; an ENOBUFS that is not passed to the pool.
#[test]
fn a_large_pool_is_lent_when_a_burst_needs_it() {
    let (script, runtime) = scripted_with(|builder| builder.recv_buffers(1024, 64));
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(1).await;
        assert_eq!(script.provided_count(), 256);
        script.deliver(script.the(OpKind::Recv), b"bytes", true);
        turns(2).await;
        assert_eq!(stream.recv().await.unwrap().len(), 5);
        turns(2).await;
        assert_eq!(script.provided_count(), 256);
        script.complete(script.the(OpKind::Recv), -errno::ENOBUFS, Flags::NONE);
        turns(2).await;
        assert_eq!(script.provided_count(), 512);
    });
}
