//! The reading side.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::buf::RecvBuf;
use crate::driver::request::{Flags, OpKind, Request};
use crate::sys::errno;

/// Goal: a dropped `recv` loses nothing, whether its bytes come before or after (H31).
/// Method: drop a pending `recv`, deliver, drop one that is woken but not polled, read.
/// Kills: cancelling the receive with the future; keeping bytes in the future.
#[test]
fn a_dropped_recv_loses_no_byte() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(2).await;
        let op = script.the(OpKind::Recv);
        {
            let mut recv = pin!(stream.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
            assert!(script.deliver(op, b"one", true));
            turns(2).await;
        }
        assert!(script.deliver(op, b"two", true));
        assert_eq!(&*stream.recv().await.unwrap(), b"one");
        assert_eq!(&*stream.recv().await.unwrap(), b"two");
        assert!(script.cancels().is_empty(), "no cancel was asked for");
    });
}

/// Goal: a dropped `read` or `read_exact` puts back what it has taken (H31).
/// Method: read 2 of 5 bytes, drop a `read_exact` that has taken the rest, read it again.
/// Kills: `Filling` without its drop; `read` forgetting what did not fit.
#[test]
fn a_dropped_read_exact_puts_its_bytes_back() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(1).await;
        script.deliver(script.the(OpKind::Recv), b"abcde", true);
        let mut buf = [0; 2];
        assert_eq!(stream.read(&mut buf).await.unwrap(), 2);
        {
            let mut buf = [0; 9];
            let mut exact = pin!(stream.read_exact(&mut buf));
            assert!(poll_once(exact.as_mut()).await.is_pending());
        }
        let mut rest = [0; 9];
        assert_eq!(stream.read(&mut rest).await.unwrap(), 3);
        assert_eq!((&buf, &rest[..3]), (b"ab", &b"cde"[..]));
    });
}

/// Goal: there is at most one receive in flight per socket (H43).
/// Method: poll several `recv` in a row, also after an interrupted receive and after ENOBUFS, and
/// count what is in flight after each.
/// Kills: arming without looking at the state; arming both kinds.
#[test]
fn a_socket_has_one_receive_in_flight() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        for code in [errno::EINTR, errno::ENOBUFS, errno::EAGAIN, errno::ENOBUFS] {
            for _ in 0..3 {
                arm(&mut stream).await;
                turns(2).await;
            }
            let receives = script.in_flight();
            assert_eq!(receives.len(), 1, "{receives:?}");
            script.complete(receives[0], -code, Flags::NONE);
            turns(2).await;
        }
        assert_eq!(script.in_flight().len(), 1);
    });
}

/// Goal: bytes of a final completion are read, and the receive is armed again (H49).
/// Method: two deliveries without MORE, each read; then the end. Kills: looking at MORE before the
/// result; treating a final completion as the end of the stream.
#[test]
fn a_final_receive_carries_bytes() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        for bytes in [b"one", b"two"] {
            arm(&mut stream).await;
            turns(1).await;
            script.deliver(script.the(OpKind::Recv), bytes, false);
            assert_eq!(&*stream.recv().await.unwrap(), bytes);
        }
        assert_eq!(script.count_ops(OpKind::Recv), 2);
    });
}

/// Reads until the program holds all four buffers of the pool. The receive stays armed.
async fn hold_the_pool(script: &Script, stream: &mut TcpStream) -> Vec<RecvBuf> {
    let mut held = Vec::new();
    for _ in 0..4 {
        arm(stream).await;
        turns(1).await;
        assert!(script.deliver(script.the(OpKind::Recv), &[b'k'; 64], true));
        held.push(stream.recv().await.unwrap());
    }
    assert_eq!(metrics().buffers_held, 4);
    held
}

/// The one receive in flight: whether it looks for a buffer only when bytes are there.
fn polls_first(script: &Script) -> bool {
    match script.the(OpKind::Recv).request {
        Request::Recv { poll_first, .. } => poll_first,
        other => panic!("{other:?}"),
    }
}

/// Goal: reading goes on while the program holds every buffer of the pool (H47), and the end of
/// the stream shows although the empty pool hid it (H48).
/// Method: hold all four buffers; ENOBUFS, bytes into a private buffer; then a receive that polls
/// first, ENOBUFS, and 0 into another private buffer.
/// Kills: waiting for the pool; ENOBUFS taken for an error or for the end; arming the multishot
/// again at once.
#[test]
fn reading_goes_on_without_the_pool() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        let held = hold_the_pool(&script, &mut stream).await;
        arm(&mut stream).await;
        assert!(!polls_first(&script), "the pool had buffers when it was armed");
        assert!(!script.deliver(script.the(OpKind::Recv), b"", true), "ENOBUFS");
        turns(2).await;
        script.deliver(script.the(OpKind::RecvInto), b"private", false);
        assert_eq!(&*stream.recv().await.unwrap(), b"private");

        arm(&mut stream).await;
        turns(1).await;
        assert!(polls_first(&script), "the pool is empty");
        assert!(!script.deliver(script.the(OpKind::Recv), b"", true), "ENOBUFS");
        turns(2).await;
        script.complete(script.the(OpKind::RecvInto), 0, Flags::NONE);
        assert!(stream.recv().await.unwrap().is_empty(), "the end");
        assert_eq!((metrics().pool_exhausted, metrics().buffers_held), (2, 4));
        assert!(held.iter().all(|buffer| **buffer == [b'k'; 64]));
    });
}

/// Goal: a stream that waits has no buffer of its own, whatever the pool has: a private receive
/// that finds nothing gives its buffer back, and the next receive polls first (H47).
/// Method: ENOBUFS with lent buffers and no bytes (other sockets took them), then EAGAIN; look at
/// what is armed, also after EINTR. Then bytes come.
/// Kills: a private receive armed again; a multishot that ends with ENOBUFS as soon as it is armed;
/// EAGAIN taken for an error.
#[test]
fn a_private_receive_that_finds_nothing_is_given_up() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        for code in [errno::EAGAIN, errno::EINTR] {
            let (mut stream, _peer) = stream();
            let mut recv = Box::pin(stream.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
            turns(1).await;
            assert!(!polls_first(&script));
            script.complete(script.the(OpKind::Recv), -errno::ENOBUFS, Flags::NONE);
            turns(2).await;
            script.complete(script.the(OpKind::RecvInto), -code, Flags::NONE);
            turns(2).await;
            assert!(polls_first(&script), "errno {code}");
            assert!(script.deliver(script.the(OpKind::Recv), b"bytes", true));
            assert_eq!(&*recv.await.unwrap(), b"bytes");
            drop(stream);
            turns(2).await;
        }
        assert_eq!(script.count_ops(OpKind::RecvInto), 2);
    });
}

/// Goal: a peer that sends much while the pool is empty is read with one operation per buffer.
/// Method: hold the pool; fill private buffers to the end twice, then one in part.
/// Kills: a poll, an ENOBUFS and a private receive for each; a private receive where less than a
/// buffer was there.
#[test]
fn full_private_receives_follow_each_other() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        let _held = hold_the_pool(&script, &mut stream).await;
        arm(&mut stream).await;
        assert!(!script.deliver(script.the(OpKind::Recv), b"", true), "ENOBUFS");
        for len in [64, 64, 40] {
            turns(2).await;
            script.deliver(script.the(OpKind::RecvInto), &vec![b'p'; len], false);
            assert_eq!(stream.recv().await.unwrap().len(), len);
            arm(&mut stream).await;
        }
        turns(1).await;
        assert!(polls_first(&script));
        assert_eq!((script.count_ops(OpKind::RecvInto), metrics().pool_exhausted), (3, 1));
    });
}

/// Goal: once the pool has buffers again, receives use it again (H47).
/// Method: hold the pool, ENOBUFS, one private receive; let go of the buffers; look at the
/// operation of the next receive. Kills: a socket that stays private.
#[test]
fn a_refilled_pool_is_used_again() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(1).await;
        script.complete(script.the(OpKind::Recv), -errno::ENOBUFS, Flags::NONE);
        turns(2).await;
        script.deliver(script.the(OpKind::RecvInto), b"private", false);
        assert_eq!(&*stream.recv().await.unwrap(), b"private");
        arm(&mut stream).await;
        turns(1).await;
        script.deliver(script.the(OpKind::Recv), b"pooled", true);
        assert_eq!(&*stream.recv().await.unwrap(), b"pooled");
    });
}

/// Goal: a buffer is returned, whatever the result of the completion that names it (H58).
/// Method: name a buffer in ECANCELED, in an error, in the end and in a stale completion; count.
/// Kills: taking the buffer only with a positive result, or only for a known operation.
#[test]
fn every_named_buffer_comes_back() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        for result in [-errno::ECANCELED, -ECONNRESET, 0] {
            let (mut stream, _peer) = stream();
            arm(&mut stream).await;
            turns(1).await;
            script.complete_with_buffer(script.the(OpKind::Recv), result);
            turns(2).await;
            assert_eq!(metrics().buffers_held, 0, "result {result}");
        }
        turns(2).await;
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(2).await;
        assert_eq!(script.provided_count(), 4, "all lent again");
    });
}

/// Goal: a reader does not take a connection that a send has found broken for one that has ended,
/// as the kernel returns a reset once.
/// Method: a send fails with a reset; then a receive of either form completes with the end.
/// Kills: a reset that only the send returns; a receive that keeps the end.
#[test]
fn the_end_of_a_broken_connection_is_an_error() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        for op_kind in [OpKind::Recv, OpKind::RecvInto] {
            let (mut stream, _peer) = stream();
            arm(&mut stream).await;
            stream.write_all(b"request").await.unwrap();
            turns(1).await;
            script.complete(script.the(OpKind::Send), -ECONNRESET, Flags::NONE);
            if op_kind == OpKind::RecvInto {
                script.complete(script.the(OpKind::Recv), -errno::ENOBUFS, Flags::NONE);
            }
            turns(2).await;
            script.complete(script.the(op_kind), 0, Flags::NONE);
            assert_eq!(errno_of(stream.recv().await), ECONNRESET, "{op_kind:?}");
        }
    });
}

/// Goal: strange results end nothing that they should not, and panic nowhere (H19).
/// Method: restart codes are retried; a result beyond every errno is an error of this stream, and
/// stays one. Kills: `unreachable!` on results; negating `i32::MIN`; 512 shown to the program.
#[test]
fn strange_results_are_retried_or_reported() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        for code in 512..=516 {
            turns(2).await;
            script.complete(script.the(OpKind::Recv), -code, Flags::NONE);
        }
        turns(2).await;
        script.complete(script.the(OpKind::Recv), i32::MIN, Flags::NONE);
        assert_eq!(errno_of(stream.recv().await), libc::EIO);
        assert_eq!(errno_of(stream.recv().await), libc::EIO);
    });
}

/// Goal: with many more receives armed than the completion queue has entries, nothing is lost
/// (H01).
/// Method: 64 readers on a queue of 4; every one gets its own number, all in one enter.
/// Kills: reaping without looking at the overflow sign; sleeping while it is up.
#[test]
fn more_receives_than_the_queue_holds_lose_nothing() {
    const READERS: u8 = 64;
    let (script, runtime) =
        scripted_with(|builder| builder.ring_entries(4, 4).recv_buffers(64, 64));
    let numbers = Rc::new(RefCell::new(Vec::new()));
    runtime.block_on(async {
        let mut peers = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..READERS {
            let (mut stream, peer) = stream();
            peers.push(peer);
            let numbers = Rc::clone(&numbers);
            tasks.push(crate::spawn(async move {
                let bytes = stream.recv().await.unwrap();
                numbers.borrow_mut().push(bytes[0]);
            }));
        }
        turns(2).await;
        let receives = script.all(OpKind::Recv);
        assert_eq!(receives.len(), usize::from(READERS));
        for (number, &op) in (0..).zip(&receives) {
            assert!(script.deliver(op, &[number], true));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(metrics().cq_overflows > 0, "the queue was to overflow");
        turns(20).await;
        assert_eq!((metrics().in_flight, metrics().stale_completions), (0, 0));
    });
    assert_eq!(*numbers.borrow(), Vec::from_iter(0..READERS), "in order");
}

/// Goal: completions in any order reach the operations they are for (H20).
/// Method: three readers, answered last to first, then a timer. Kills: a state machine that counts
/// on submission order.
#[test]
fn completions_in_reverse_order_reach_their_operations() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let mut peers = Vec::new();
        let mut tasks = Vec::new();
        for number in 0..3u8 {
            let (mut stream, peer) = stream();
            peers.push(peer);
            tasks.push(crate::spawn(async move {
                assert_eq!(*stream.recv().await.unwrap(), [number]);
            }));
        }
        turns(2).await;
        let receives = script.all(OpKind::Recv);
        for (number, &op) in (0..3u8).zip(&receives).rev() {
            assert!(script.deliver(op, &[number], true));
        }
        crate::time::sleep(Duration::from_millis(1)).await;
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Goal: a reading half that is gone holds no buffer of the pool, whatever still arrives.
/// Method: drop the half with its receive in flight, deliver while the cancel is on its way.
/// Kills: a queue that goes on filling without a reader.
#[test]
fn a_dropped_reading_half_gives_its_buffers_back() {
    let (script, runtime) = scripted();
    script.set_cancel_policy(crate::driver::uring::scripted::CancelPolicy::Ignore);
    runtime.block_on(async {
        let (stream, _peer) = stream();
        let (mut reader, writer) = stream.into_split();
        {
            let mut recv = std::pin::pin!(reader.recv());
            assert!(poll_once(recv.as_mut()).await.is_pending());
        }
        turns(1).await;
        let op = script.the(OpKind::Recv);
        assert!(script.deliver(op, b"queued", true));
        turns(2).await;
        assert_eq!(metrics().buffers_held, 1);
        drop(reader);
        assert_eq!(metrics().buffers_held, 0);
        turns(1).await;
        assert_eq!(script.cancels(), [op.user_data]);
        assert!(script.deliver(op, b"late", true));
        turns(2).await;
        assert_eq!(metrics().buffers_held, 0);
        script.complete(op, -crate::sys::errno::ECANCELED, Flags::NONE);
        drop(writer);
        turns(2).await;
    });
}
