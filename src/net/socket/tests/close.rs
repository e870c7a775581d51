//! The end of streams, listeners and of the loop below them.

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use super::*;
use crate::driver::request::{Flags, OpKind, Request};
use crate::driver::uring::entry::Entry;
use crate::driver::uring::scripted::CancelPolicy;
use crate::sys::errno;
use crate::time::{sleep, timeout};

/// Goal: a descriptor stays open while an operation names it, and is closed right after (H36, H37).
/// Method: drop a stream with a receive armed and cancels ignored; the peer sees the end only after
/// the final completion. The same for a listener and its file.
/// Kills: closing with the stream; a descriptor that is not closed.
#[test]
fn the_descriptor_outlives_what_names_it() {
    let (script, runtime) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let (mut stream, peer) = shared_stream();
        {
            let mut recv = pin!(stream.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
        }
        drop(stream);
        assert_eq!(peer_sees(&peer), Peer::Open, "queued, not even submitted");
        turns(3).await;
        let op = script.the(OpKind::Recv);
        assert_eq!(script.cancels(), [op.user_data]);
        assert_eq!(peer_sees(&peer), Peer::Open);
        script.complete(op, -errno::ECANCELED, Flags::NONE);
        turns(2).await;
        assert_eq!(peer_sees(&peer), Peer::Closed);

        let listener = listener();
        let file = OpenFile::of(listener.as_raw_fd());
        {
            let mut accept = pin!(listener.accept());
            assert!(poll_once(accept.as_mut()).await.is_pending());
        }
        drop(listener);
        turns(3).await;
        assert!(file.is_open());
        script.complete(script.the(OpKind::Accept), -errno::ECANCELED, Flags::NONE);
        turns(2).await;
        assert!(!file.is_open());
    });
}

/// Goal: a cancel's own answer ends nothing, the target's does (C16, H30).
/// Method: post ENOENT and EALREADY for the cancel of a dropped stream; it stays; then the target
/// succeeds with bytes, which go back to the pool.
/// Kills: freeing on a cancel's completion; an unwanted success that is kept in the queue.
#[test]
fn only_the_target_ends_a_cancelled_operation() {
    let (script, runtime) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let (mut stream, peer) = shared_stream();
        {
            let mut recv = pin!(stream.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
        }
        drop(stream);
        turns(2).await;
        let op = script.the(OpKind::Recv);
        let log = script.log();
        let is_cancel = |entry: &Entry| matches!(entry, Entry::Cancel { .. });
        let (cancel, _) = log.iter().find(|(_, entry)| is_cancel(entry)).unwrap();
        for code in [errno::ENOENT, errno::EALREADY] {
            script.post(crate::driver::uring::entry::Cqe {
                user_data: *cancel,
                result: -code,
                flags: 0,
            });
        }
        turns(2).await;
        assert_eq!((metrics().cancels_missed, metrics().in_flight), (2, 1));
        assert_eq!(peer_sees(&peer), Peer::Open);
        script.deliver(op, b"unwanted", false);
        turns(2).await;
        assert_eq!(peer_sees(&peer), Peer::Closed);
        assert_eq!((metrics().buffers_held, metrics().stale_completions), (0, 0));
    });
}

/// Goal: a dropped stream sends what was queued before it closes, also over short sends.
/// Method: queue, drop in the same turn, let the kernel take it in two parts, look at the peer.
/// Kills: a drop that loses bytes; closing before the last byte.
#[test]
fn a_dropped_stream_sends_its_bytes_first() {
    let (script, runtime, reports) = reporting();
    runtime.block_on(async {
        let (mut stream, peer) = stream();
        stream.write_all(b"last words").await.unwrap();
        drop(stream);
        turns(2).await;
        assert_eq!(metrics().closing_streams, 1);
        let send = script.the(OpKind::Send);
        assert_eq!(script.bytes_of(send), b"last words");
        script.complete(send, 5, Flags::NONE);
        turns(2).await;
        assert_eq!(peer_sees(&peer), Peer::Open);
        let send = script.the(OpKind::Send);
        assert_eq!(script.bytes_of(send), b"words");
        script.complete(send, 5, Flags::NONE);
        turns(2).await;
        assert_eq!(peer_sees(&peer), Peer::Closed);
        assert_eq!((metrics().closing_streams, metrics().timers), (0, 0));
    });
    assert!(reports.take().is_empty());
}

/// Goal: a peer that does not read keeps a dropped stream for the linger and no longer, and the
/// loss is reported; `close` returns it.
/// Method: a send that never ends; five virtual seconds; reset. Once dropped, once with `close`.
/// Kills: no linger timer; a report for `close` as well; a loss that is not reported.
#[test]
fn the_linger_ends_in_a_reset_and_a_report() {
    let (script, runtime, reports) = reporting();
    runtime.block_on(async {
        let (mut dropped, peer) = stream();
        dropped.write_all(b"unread").await.unwrap();
        drop(dropped);
        sleep(Duration::from_millis(4999)).await;
        assert_eq!((peer_sees(&peer), metrics().closing_streams), (Peer::Open, 1));
        sleep(Duration::from_millis(2)).await;
        turns(2).await;
        assert_eq!((peer_sees(&peer), metrics().closing_streams), (Peer::Closed, 0));
        let texts = reports.take();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("lost 6 queued bytes"), "{texts:?}");

        let (mut closed, peer) = stream();
        closed.write_all(b"unread").await.unwrap();
        let error = closed.close().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(peer_sees(&peer), Peer::Closed);
        assert_eq!((metrics().in_flight, metrics().timers), (0, 0));
    });
    assert!(script.in_flight().is_empty() && reports.take().is_empty());
}

/// Goal: `close` returns when the descriptor is free, whatever is armed; `abort` drops the queue.
/// Method: close with a receive armed; abort with a send in flight and another chunk queued.
/// Kills: `close` returning early; an abort that goes on sending.
#[test]
fn close_waits_and_abort_does_not_send() {
    let (script, runtime, reports) = reporting();
    runtime.block_on(async {
        let (mut stream, peer) = stream();
        {
            let mut recv = pin!(stream.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
        }
        stream.close().await.unwrap();
        assert_eq!(peer_sees(&peer), Peer::Closed);

        let (mut stream, peer) = super::stream();
        stream.write_all(b"one").await.unwrap();
        turns(1).await;
        stream.write_all(b"two").await.unwrap();
        stream.abort();
        turns(3).await;
        assert_eq!(peer_sees(&peer), Peer::Closed);
        assert_eq!(script.count_ops(OpKind::Send), 1);
        assert_eq!(metrics().in_flight, 0);
    });
    assert!(reports.take().is_empty(), "an abort was asked for");
}

/// Goal: an operation whose owner is gone before it was submitted is never submitted, and ends
/// (H37). Its descriptor closes.
/// Method: a queue of 1 that takes nothing; streams, a listener and a connect beyond it; drop all.
/// Kills: submitting after the drop; a slot that is never freed.
#[test]
fn an_operation_cancelled_before_submission_is_never_submitted() {
    let (script, runtime) = scripted_with(|builder| builder.ring_entries(1, 16));
    script.set_consume_max(Some(0));
    runtime.block_on(async {
        let mut peers = Vec::new();
        let mut streams = Vec::new();
        for _ in 0..3 {
            let (mut stream, peer) = stream();
            {
                let mut recv = pin!(stream.recv());
                assert!(poll_once(recv.as_mut()).await.is_pending());
            }
            streams.push(stream);
            peers.push(peer);
        }
        let listener = listener();
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(accept.as_mut()).await.is_pending());
        let mut connect = Box::pin(TcpStream::connect("127.0.0.1:9"));
        assert!(poll_once(connect.as_mut()).await.is_pending());
        turns(2).await;
        let before_count = metrics().in_flight;
        assert_eq!(before_count, 5);
        drop((streams, connect, accept));
        drop(listener);
        turns(1).await;
        script.set_consume_max(None);
        turns(4).await;
        assert_eq!((metrics().in_flight, metrics().stale_completions), (0, 0));
        let ops = script.count(|entry| matches!(entry, Entry::Op(_)));
        assert!(ops <= 1, "{ops} submitted: only the one on the queue may");
        assert!(peers.iter().all(|peer| peer_sees(peer) == Peer::Closed));
    });
}

/// Goal: a cancel that finds the submission queue full is never lost (H30).
/// Method: three times as many receives as the queue has entries, all dropped in the same instant.
/// Kills: pushing a cancel once and forgetting it; cancels that stay behind new requests.
#[test]
fn no_cancel_is_lost() {
    for sq_entries in [1, 2, 8] {
        let (script, runtime) = scripted_with(|builder| builder.ring_entries(sq_entries, 16));
        runtime.block_on(async {
            let mut peers = Vec::new();
            let mut streams = Vec::new();
            for _ in 0..3 * sq_entries {
                let (mut stream, peer) = shared_stream();
                let mut recv = Box::pin(async move {
                    let _ = stream.recv().await;
                });
                assert!(poll_once(recv.as_mut()).await.is_pending());
                streams.push(recv);
                peers.push(peer);
            }
            turns(2).await;
            assert_eq!(script.in_flight().len() as u32, 3 * sq_entries);
            drop(streams);
            turns(3).await;
            assert_eq!(script.cancels().len() as u32, 3 * sq_entries);
            assert_eq!((metrics().in_flight, metrics().stale_completions), (0, 0));
            assert!(peers.iter().all(|peer| peer_sees(peer) == Peer::Closed));
        });
    }
}

/// Goal: a connect that succeeds after its future is gone leaves no open socket (H38).
/// Method: time it out with cancels ignored; the socket stays until the answer, which is success.
/// Kills: a socket without an owner; one closed under the connect (H36).
#[test]
fn a_late_connect_is_closed() {
    let (script, runtime) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let connect = TcpStream::connect("127.0.0.1:9");
        assert!(timeout(Duration::from_millis(5), connect).await.is_err());
        turns(2).await;
        let op = script.the(OpKind::Connect);
        let Request::Connect { fd, .. } = op.request else { panic!("{op:?}") };
        let file = OpenFile::of(fd);
        assert_eq!(script.cancels(), [op.user_data]);
        script.complete(op, 0, Flags::NONE);
        turns(2).await;
        assert!(!file.is_open());
    });
}

/// Goal: a late completion of an operation that has ended names no operation, not the slot's next
/// tenant (H35).
/// Method: end a receive, let another stream take its slot, post the first one's completion again.
/// Kills: keys without a generation.
#[test]
fn a_slot_has_a_generation() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut first, _first_peer) = stream();
        let mut recv = Box::pin(first.recv());
        assert!(poll_once(recv.as_mut()).await.is_pending());
        turns(1).await;
        let old = script.the(OpKind::Recv);
        script.complete(old, 0, Flags::NONE);
        assert!(recv.await.unwrap().is_empty());

        let (mut second, _second_peer) = stream();
        let mut recv = Box::pin(second.recv());
        assert!(poll_once(recv.as_mut()).await.is_pending());
        turns(1).await;
        let new = script.the(OpKind::Recv);
        assert_eq!(old.user_data as u32, new.user_data as u32, "the same slot");
        assert_ne!(old.user_data, new.user_data);
        script.post(crate::driver::uring::entry::Cqe {
            user_data: old.user_data,
            result: 0,
            flags: 0,
        });
        turns(2).await;
        assert_eq!(metrics().stale_completions, 1);
        script.deliver(new, b"mine", true);
        assert_eq!(&*recv.await.unwrap(), b"mine");
    });
}

/// Goal: closing costs no cancel, whose price grows with what is in flight, where the descriptor
/// was never shown to the program; and where it was, the socket is not shut down under a duplicate.
/// Method: close streams with an armed receive and look at cancels and shutdowns; the receive of
/// one was not submitted yet. Kills: cancelling always; shutting down always; a shutdown that
/// overtakes the receive and leaves it in flight.
#[test]
fn only_a_socket_that_nothing_shares_is_shut_down() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        for is_submitted in [true, false] {
            let (mut stream, peer) = stream();
            assert!(poll_once(pin!(stream.recv())).await.is_pending());
            turns(u32::from(is_submitted)).await;
            drop(stream);
            turns(2).await;
            assert_eq!((script.cancels().len(), metrics().in_flight), (0, 0));
            assert_eq!(peer_sees(&peer), Peer::Closed);
        }
        assert_eq!(script.shutdowns().len(), 2);

        let (mut stream, peer) = shared_stream();
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        turns(1).await;
        drop(stream);
        turns(2).await;
        assert_eq!((script.cancels().len(), metrics().in_flight), (1, 0));
        assert_eq!(script.shutdowns().len(), 2, "a duplicate would read the end");
        assert_eq!(peer_sees(&peer), Peer::Closed);
    });
}

/// Goal: the peer of a Unix socket can write until our last bytes are on their way.
/// Method: queue bytes, arm a receive, close: no shutdown while the send is in flight. Kills: a
/// shutdown that makes a peer's write fail before it has read the reply.
#[test]
fn a_unix_socket_with_bytes_to_send_is_not_shut_down() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, peer) = stream();
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        stream.write_all(b"reply").await.unwrap();
        turns(1).await;
        drop(stream);
        turns(1).await;
        assert_eq!((script.shutdowns().len(), script.cancels().len()), (0, 1));
        script.complete(script.the(OpKind::Send), 5, Flags::NONE);
        turns(2).await;
        assert_eq!(peer_sees(&peer), Peer::Closed);
    });
}

/// Goal: a closing stream is cut when its peer stands still, not because the whole takes long.
/// Method: a linger of 50 ms; the kernel takes one byte every 40 ms for a second; then the peer
/// reads bytes that the kernel had taken before (its own queue shrinks, no send completes); then
/// nothing.
/// Kills: a limit on the whole; progress that only completed sends show; a timer that is never set
/// again, or without end.
#[test]
fn linger_is_a_limit_on_standing_still() {
    let reports = Reports::default();
    let heard = Rc::clone(&reports.0);
    let (script, runtime) = scripted_with(|builder| {
        let builder = builder.linger(Duration::from_millis(50));
        builder.on_unhandled(move |unhandled| heard.borrow_mut().push(unhandled.to_string()))
    });
    runtime.block_on(async {
        let (mut stream, mut peer) = stream();
        let mut copy = UnixStream::from(stream.as_fd().try_clone_to_owned().unwrap());
        for _ in 0..25 {
            copy.write_all(&[1; 16]).unwrap(); // in the kernel's queue, a packet each
        }
        stream.write_all(&[7; 100]).await.unwrap();
        drop(stream);
        turns(2).await;
        for _ in 0..25 {
            sleep(Duration::from_millis(40)).await;
            script.complete(script.the(OpKind::Send), 1, Flags::NONE);
            turns(3).await;
            assert_eq!(metrics().closing_streams, 1);
        }
        for _ in 0..25 {
            sleep(Duration::from_millis(40)).await;
            assert_eq!(peer.read(&mut [0; 16]).unwrap(), 16);
            assert_eq!(metrics().closing_streams, 1);
        }
        assert_eq!(reports.take(), [""; 0]);
        sleep(Duration::from_millis(101)).await;
        assert_eq!(metrics().closing_streams, 0);
        turns(2).await;
        let report = reports.take().pop().expect("a report");
        assert!(report.contains("lost 75 queued bytes"), "{report}");
    });
}

/// Goal: a loss that a `close()` has been given and has not returned is reported when its future is
/// dropped, once.
/// Method: the send fails while a receive is still in flight, so the descriptor is not free; then
/// drop the future. Kills: an error that goes with the future; a report of one that `close` has
/// returned.
#[test]
fn a_dropped_close_reports_the_loss() {
    let (script, runtime, reports) = reporting();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        for is_dropped in [true, false] {
            let (mut stream, _peer) = stream();
            {
                let mut recv = pin!(stream.recv());
                assert!(poll_once(recv.as_mut()).await.is_pending());
            }
            stream.write_all(b"unsent").await.unwrap();
            turns(1).await;
            let mut close = Box::pin(stream.close());
            assert!(poll_once(close.as_mut()).await.is_pending());
            script.complete(script.the(OpKind::Send), -errno::ENOBUFS, Flags::NONE);
            turns(2).await;
            assert!(reports.take().is_empty(), "the future has it");
            let recv = script.the(OpKind::Recv);
            if is_dropped {
                drop(close);
                script.complete(recv, -errno::ECANCELED, Flags::NONE);
            } else {
                script.complete(recv, -errno::ECANCELED, Flags::NONE);
                assert_eq!(errno_of(close.await), errno::ENOBUFS);
            }
            turns(2).await;
            let texts = reports.take();
            assert_eq!(texts.len(), usize::from(is_dropped), "{texts:?}");
            assert!(texts.iter().all(|text| text.contains("lost 6 queued bytes")), "{texts:?}");
        }
    });
}

/// Goal: a loss after the future of `close()` was dropped is reported, once.
///
/// Method: drop the future while a send is in flight, then fail the send.
///
/// Kills: a loss that is stored for a future that no longer exists.
#[test]
fn a_loss_after_a_dropped_close_is_reported() {
    let (script, runtime, reports) = reporting();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.write_all(b"unsent").await.unwrap();
        turns(1).await;
        let mut close = Box::pin(stream.close());
        assert!(poll_once(close.as_mut()).await.is_pending());
        drop(close);
        script.complete(script.the(OpKind::Send), -errno::ENOBUFS, Flags::NONE);
        turns(2).await;
        let texts = reports.take();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("lost 6 queued bytes"), "{texts:?}");
    });
}
