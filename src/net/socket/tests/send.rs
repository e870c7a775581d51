//! The writing side.

use std::pin::pin;

use super::*;
use crate::buf::RecvBuf;
use crate::driver::request::{Flags, OpKind};
use crate::net::socket::send::HIGH_WATER_BYTES;
use crate::sys::errno;

/// Goal: small writes of one turn leave in one send, in order.
/// Method: ten writes of one task, one from another task; one send with all bytes.
/// Kills: a send per write; a chunk per write; bytes out of order.
#[test]
fn small_writes_of_a_turn_share_a_send() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        for _ in 0..10 {
            stream.write_all(b"abc").await.unwrap();
        }
        turns(1).await;
        let send = script.the(OpKind::Send);
        assert_eq!(script.bytes_of(send), b"abc".repeat(10));
        assert_eq!(script.count_ops(OpKind::Send), 1);
        script.complete(send, 30, Flags::NONE);
        stream.flush().await.unwrap();
    });
}

/// Goal: a short send goes on where it stopped, an interrupted one is repeated (H44, H19).
/// Method: a send of 6 that takes 2, is interrupted three ways, takes 3, takes 1.
/// Kills: counting a short send as whole; starting again at the first byte; EINTR as an error.
#[test]
fn short_sends_go_on() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.write_all(b"abcdef").await.unwrap();
        let steps: [(i32, &[u8]); 6] = [
            (2, b"abcdef"),
            (-errno::EINTR, b"cdef"),
            (-512, b"cdef"),
            (-errno::EAGAIN, b"cdef"),
            (3, b"cdef"),
            (1, b"f"),
        ];
        for (result, rest) in steps {
            turns(2).await;
            let send = script.the(OpKind::Send);
            assert_eq!(script.bytes_of(send), rest);
            script.complete(send, result, Flags::NONE);
        }
        stream.flush().await.unwrap();
        assert!(script.in_flight().is_empty());
    });
}

/// Goal: at most one send is in flight per socket, and bytes written meanwhile follow in order
/// (H42).
/// Method: write while a send is in flight, as bytes and as an owned buffer; look at each send.
/// Kills: a second send at once; appending to the chunk that is lent; a copied order.
#[test]
fn a_socket_has_one_send_in_flight() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.write_all(b"first").await.unwrap();
        turns(1).await;
        let first = script.the(OpKind::Send);
        stream.write_all(b"second").await.unwrap();
        stream.send(vec![b'3'; 3]).await.unwrap();
        stream.write_all(b"fourth").await.unwrap();
        turns(2).await;
        assert_eq!(script.the(OpKind::Send), first, "one at a time");
        assert_eq!(script.bytes_of(first), b"first", "lent, so not changed");
        script.complete(first, 2, Flags::NONE);
        turns(2).await;
        let rest = script.bytes_of(script.the(OpKind::Send));
        assert_eq!(rest, b"rst", "nothing was added to a lent chunk");
        let mut bytes = Vec::new();
        let mut flush = pin!(stream.flush());
        while poll_once(flush.as_mut()).await.is_pending() {
            let send = script.the(OpKind::Send);
            bytes.extend(script.bytes_of(send));
            let count = script.bytes_of(send).len() as i32;
            script.complete(send, count, Flags::NONE);
            turns(2).await;
        }
        assert_eq!(bytes, b"rstsecond333fourth");
    });
}

/// Goal: few bytes that are sent on to a peer that takes nothing do not keep the buffers they came
/// in, and share a chunk.
/// Method: an echo of single bytes and of one full buffer while the first send is in flight; an
/// empty buffer among them. Kills: a buffer of the pool per byte; a copy of a full buffer, or on
/// the way to an empty queue; a chunk for nothing.
#[test]
fn few_bytes_keep_no_buffer_on_their_way_out() {
    let (script, runtime) = scripted_with(|builder| builder.recv_buffers(8, 64));
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        let full = [b'f'; 64];
        let pieces: [&[u8]; 7] = [b"1", b"2", b"3", &full, b"4", b"5", &full];
        for (piece, held) in pieces.into_iter().zip([1, 1, 1, 2, 2, 2, 3]) {
            arm(&mut stream).await;
            turns(1).await;
            assert!(script.deliver(script.the(OpKind::Recv), piece, true));
            let bytes = stream.recv().await.unwrap();
            stream.send(bytes).await.unwrap();
            stream.send(RecvBuf::empty()).await.unwrap();
            assert_eq!(metrics().buffers_held, held, "after {piece:?}");
            turns(1).await;
        }
        for bytes in [b"1".as_slice(), b"23", &full, b"45", &full] {
            turns(2).await;
            let send = script.the(OpKind::Send);
            assert_eq!(script.bytes_of(send), bytes);
            script.complete(send, bytes.len() as i32, Flags::NONE);
        }
        stream.flush().await.unwrap();
        assert_eq!(metrics().buffers_held, 0);
    });
}

/// Goal: an error of a send reaches the next write, the next flush and `close`, and drops the
/// queue.
/// Method: queue two chunks, fail the first; look at all three; nothing more is sent.
/// Kills: an error that only one call sees; a queue that goes on after an error.
#[test]
fn a_failed_send_ends_the_side() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, peer) = stream();
        stream.write_all(b"first").await.unwrap();
        turns(1).await;
        stream.write_all(b"second").await.unwrap();
        script.complete(script.the(OpKind::Send), -ECONNRESET, Flags::NONE);
        assert_eq!(errno_of(stream.flush().await), ECONNRESET);
        assert_eq!(errno_of(stream.write_all(b"x").await), ECONNRESET);
        assert_eq!(errno_of(stream.send("x").await), ECONNRESET);
        assert_eq!(errno_of(stream.shutdown().await), ECONNRESET);
        turns(2).await;
        assert_eq!(script.count_ops(OpKind::Send), 1, "the queue is gone");
        assert_eq!(errno_of(stream.close().await), ECONNRESET);
        assert_eq!(peer_sees(&peer), Peer::Closed);
    });
}

/// Goal: a send that was cancelled ends the stream's writing side: what went out is not known
/// (H32).
/// Method: complete with ECANCELED without a cancel. Kills: sending the same bytes again.
#[test]
fn a_cancelled_send_is_not_repeated() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.write_all(b"perhaps").await.unwrap();
        turns(1).await;
        script.complete(script.the(OpKind::Send), -errno::ECANCELED, Flags::NONE);
        assert_eq!(errno_of(stream.flush().await), errno::ECANCELED);
        turns(2).await;
        assert_eq!(script.count_ops(OpKind::Send), 1);
    });
}

/// Goal: the end of our sending is ordered behind the bytes.
/// Method: queue bytes, ask for the end, drop that future; the peer sees the end only after the
/// last byte of a short send was taken; writes after it fail.
/// Kills: `shutdown(2)` at once; forgetting the end with the future.
#[test]
fn the_end_is_sent_behind_the_bytes() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, peer) = stream();
        stream.write_all(b"bytes").await.unwrap();
        {
            let mut shutdown = pin!(stream.shutdown());
            assert!(poll_once(shutdown.as_mut()).await.is_pending());
        }
        assert_eq!(errno_of(stream.write_all(b"late").await), errno::EPIPE);
        for count in [2, 3] {
            turns(2).await;
            assert_eq!(peer_sees(&peer), Peer::Open, "bytes are still queued");
            script.complete(script.the(OpKind::Send), count, Flags::NONE);
        }
        stream.shutdown().await.unwrap();
        assert_eq!(peer_sees(&peer), Peer::Closed);
    });
}

/// Goal: a writer waits at the high-water mark, and a dropped one has queued all or nothing.
/// Method: fill to the mark, poll a write that must wait, drop it, drain; only whole pieces left.
/// Kills: no mark; a mark that never opens again; bytes of a dropped write in the queue.
#[test]
fn writers_wait_at_the_mark() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.write_all(&vec![1; HIGH_WATER_BYTES]).await.unwrap();
        {
            let mut write = pin!(stream.write_all(b"dropped"));
            assert!(poll_once(write.as_mut()).await.is_pending());
        }
        let mut write = Box::pin(stream.write_all(b"kept"));
        assert!(poll_once(write.as_mut()).await.is_pending());
        turns(1).await;
        let send = script.the(OpKind::Send);
        script.complete(send, HIGH_WATER_BYTES as i32, Flags::NONE);
        write.await.unwrap();
        turns(1).await;
        assert_eq!(script.bytes_of(script.the(OpKind::Send)), b"kept");
        script.complete(script.the(OpKind::Send), 4, Flags::NONE);
        stream.flush().await.unwrap();
    });
}

/// Goal: operations that a peer never ends keep no other operation from being submitted.
/// Method: queues of 4 entries, 16 sends and 4 connects that do not complete; then another stream
/// writes, and its send completes at once. Kills: a cap on operations in flight, at any number
/// below five times the completion queue.
#[test]
fn blocked_operations_hold_up_no_other() {
    let (script, runtime) = scripted_with(|builder| builder.ring_entries(4, 4));
    runtime.block_on(async {
        let mut blocked = Vec::new();
        for _ in 0..16 {
            let (mut stream, peer) = stream();
            stream.write_all(b"never taken").await.unwrap();
            blocked.push((stream, peer));
        }
        let mut connects: Vec<_> =
            (0..4).map(|_| Box::pin(TcpStream::connect("127.0.0.1:9"))).collect();
        for connect in &mut connects {
            assert!(poll_once(connect.as_mut()).await.is_pending());
        }
        turns(2).await;
        assert_eq!((script.all(OpKind::Send).len(), script.all(OpKind::Connect).len()), (16, 4));

        let (mut stream, _peer) = stream();
        stream.write_all(b"!").await.unwrap();
        turns(1).await;
        let send = *script.all(OpKind::Send).last().unwrap();
        assert_eq!(script.bytes_of(send), b"!");
        script.complete(send, 1, Flags::NONE);
        stream.flush().await.unwrap();
        for (stream, _peer) in blocked {
            stream.abort();
        }
        drop(connects);
        turns(2).await;
        assert_eq!(metrics().in_flight, 0);
    });
}
