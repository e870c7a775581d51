//! `readable`, `peek` and `closed`, which take no bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use crate::common::{
    Woken, assert_coded, blocking_pair, coded_bytes, poll_once, std_pair, turns, until,
};
use crate::{Body, Driver, bodies};
use ringloop::net::{TcpStream, UnixStream};

pub(crate) const SHARED: &[Body] = bodies![
    closed_sees_every_end_of_a_tcp_peer,
    closed_sees_every_end_of_a_unix_peer,
    closed_sees_the_end_behind_unread_bytes,
    closed_wakes_all_waiters_and_survives_drops,
    a_stream_with_a_poll_for_the_end_closes,
    readable_and_peek_take_nothing,
    peek_copies_from_several_buffers,
    readable_and_peek_return_at_the_end,
];

fn reset(stream: StdStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Goal: `closed` waits while the peer is connected, also if it sends, and is ready when the peer
/// closes, finishes sending or resets, and then every time. The stream then reads the bytes, and
/// the end or the error.
///
/// Method: each end, with a receive armed and without one. Bytes first, which must not be taken.
///
/// Kills: a poll that bytes end; an end that is not remembered; a reset that is not seen, or that
/// the reader does not get.
fn closed_sees_every_end_of_a_tcp_peer(on: Driver) {
    type End = fn(StdStream) -> Option<StdStream>;
    let ends: [(&str, End, Option<ErrorKind>); 3] = [
        ("close", |peer| (drop(peer), None).1, None),
        (
            "shutdown",
            |peer| {
                peer.shutdown(Shutdown::Write).unwrap();
                Some(peer)
            },
            None,
        ),
        ("reset", |peer| (reset(peer), None).1, Some(ErrorKind::ConnectionReset)),
    ];
    for is_armed in [false, true] {
        for (name, end, error) in ends {
            on.run(async {
                let (mut stream, mut peer) = std_pair();
                if is_armed {
                    assert!(poll_once(pin!(stream.recv())).await.is_pending());
                }
                {
                    let mut closed = pin!(stream.closed());
                    assert!(poll_once(closed.as_mut()).await.is_pending(), "{name}");
                    peer.write_all(b"text").unwrap();
                    turns(5).await;
                    assert!(poll_once(closed.as_mut()).await.is_pending(), "{name}: bytes");
                    let _peer = end(peer);
                    closed.await.unwrap();
                }
                stream.closed().await.unwrap();
                // A reset discards what has not been received.
                let mut text = [0; 4];
                let outcome = match stream.read_exact(&mut text).await {
                    Ok(()) => stream.recv().await.map(|bytes| assert!(bytes.is_empty())),
                    Err(error) => Err(error),
                };
                assert_eq!(outcome.err().map(|error| error.kind()), error, "{name}");
                stream.closed().await.unwrap();
            });
        }
    }
}

/// Goal: as for TCP, on Unix sockets.
/// Method: a peer that closes, and one that finishes sending and then still reads.
/// Kills: waiting for `POLLHUP`, which is not reported while one direction is open.
fn closed_sees_every_end_of_a_unix_peer(on: Driver) {
    on.run(async {
        for is_half in [false, true] {
            let (ours, mut theirs) = StdUnixStream::pair().unwrap();
            let mut stream = UnixStream::from_std(ours);
            let mut peer = None;
            theirs.write_all(b"text").unwrap();
            {
                let mut closed = pin!(stream.closed());
                assert!(poll_once(closed.as_mut()).await.is_pending());
                turns(5).await;
                assert!(poll_once(closed.as_mut()).await.is_pending());
                if is_half {
                    theirs.shutdown(Shutdown::Write).unwrap();
                    peer = Some(theirs);
                } else {
                    drop(theirs);
                }
                closed.await.unwrap();
            }
            if let Some(mut peer) = peer {
                stream.write_all(b"more").await.unwrap();
                stream.flush().await.unwrap();
                peer.read_exact(&mut [0; 4]).unwrap();
            }
            stream.closed().await.unwrap();
            assert_eq!(&*stream.recv().await.unwrap(), b"text");
            assert!(stream.recv().await.unwrap().is_empty());
        }
    });
}

/// Goal: the end is seen behind unread bytes: in the stream's queue, which is full, and in the
/// kernel. Then every byte is read.
///
/// Method: more than the queue's bound and less than the kernel's buffer, then the end; a receive
/// that has filled the queue and waits, and no receive at all.
///
/// Kills: an end that is looked for in the queue; a `closed` that takes bytes or drops them.
fn closed_sees_the_end_behind_unread_bytes(on: Driver) {
    const LEN: usize = 110 << 10;
    for is_armed in [false, true] {
        on.run(async {
            let (ours, mut theirs) = StdUnixStream::pair().unwrap();
            theirs.write_all(&coded_bytes(0, LEN)).unwrap();
            let mut stream = UnixStream::from_std(ours);
            if is_armed {
                stream.readable().await.unwrap();
                turns(20).await;
            }
            {
                let mut closed = pin!(stream.closed());
                assert!(poll_once(closed.as_mut()).await.is_pending());
                turns(3).await;
                drop(theirs);
                closed.await.unwrap();
            }
            let mut received = vec![0; LEN];
            stream.read_exact(&mut received).await.unwrap();
            assert_coded(0, &received);
            assert!(stream.recv().await.unwrap().is_empty());
        });
    }
}

/// Goal: all waiters of both halves are woken; dropping a `closed` does not affect the others, also
/// if it had armed the poll.
/// Method: three waiters of two halves, the first dropped. Kills: one waker for all; a poll that
/// ends with the future that armed it.
fn closed_wakes_all_waiters_and_survives_drops(on: Driver) {
    on.run(async {
        let (stream, peer) = std_pair();
        let (reader, writer) = stream.into_split();
        let first = Arc::new(Woken::default());
        let mut dropped = Box::pin(reader.closed());
        assert!(first.poll(dropped.as_mut()).is_pending());
        turns(3).await;
        drop(dropped);
        let (one, two) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (mut of_one, mut of_two) = (pin!(reader.closed()), pin!(writer.closed()));
        assert!(one.poll(of_one.as_mut()).is_pending());
        assert!(two.poll(of_two.as_mut()).is_pending());
        drop(peer);
        until(|| one.is_woken() && two.is_woken()).await;
        assert!(!first.is_woken());
        of_one.await.unwrap();
        of_two.await.unwrap();
    });
}

/// Goal: a poll for the end keeps neither a closed stream nor a handed-over one alive.
///
/// Method: `close`, a drop, and `into_std`, each with the poll armed, an idle timeout set and its
/// peer waiting for the end. After `into_std` the peer reads no end.
///
/// Kills: a poll that is not cancelled; a timer that holds the socket.
fn a_stream_with_a_poll_for_the_end_closes(on: Driver) {
    async fn watched() -> (TcpStream, StdStream) {
        let (ours, theirs) = blocking_pair();
        let mut stream = TcpStream::from_std(ours);
        stream.set_idle_timeout(Some(Duration::from_secs(3600)));
        assert!(poll_once(pin!(stream.closed())).await.is_pending());
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        turns(3).await;
        (stream, theirs)
    }
    on.run(async {
        let (stream, mut peer) = watched().await;
        stream.close().await.unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);

        let (stream, mut peer) = watched().await;
        drop(stream);
        turns(5).await;
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);

        let (stream, peer) = watched().await;
        let (_ours, unread) = stream.into_std().await.unwrap();
        assert!(unread.is_empty());
        turns(5).await;
        peer.set_nonblocking(true).unwrap();
        assert_eq!((&peer).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Goal: `readable` and `peek` wait for bytes and leave them, for the stream and its halves.
/// Method: each before and after the bytes come, dropped in between, repeated; then one read.
/// Kills: a peek that takes bytes; a `readable` that is ready before bytes came; one that is not
/// woken.
fn readable_and_peek_take_nothing(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        assert!(poll_once(pin!(stream.readable())).await.is_pending());
        assert!(poll_once(pin!(stream.peek(&mut [0]))).await.is_pending());
        assert_eq!(stream.peek(&mut []).await.unwrap(), 0);
        turns(3).await;
        {
            let mut readable = pin!(stream.readable());
            assert!(poll_once(readable.as_mut()).await.is_pending());
            peer.write_all(b"text").unwrap();
            readable.await.unwrap();
        }
        let mut peeked = [0; 8];
        for len in [1, 4, 8] {
            stream.readable().await.unwrap();
            assert_eq!(stream.peek(&mut peeked[..len]).await.unwrap(), len.min(4));
            assert_eq!(&peeked[..len.min(4)], &b"text"[..len.min(4)]);
        }
        let (mut reader, _writer) = stream.split();
        reader.readable().await.unwrap();
        assert_eq!(reader.peek(&mut peeked).await.unwrap(), 4);
        let (mut reader, _writer) = stream.into_split();
        reader.readable().await.unwrap();
        assert_eq!(reader.peek(&mut peeked).await.unwrap(), 4);
        assert_eq!(&*reader.recv().await.unwrap(), b"text");
        assert!(poll_once(pin!(reader.peek(&mut peeked))).await.is_pending());
    });
}

/// Goal: a peek spans several receive buffers.
///
/// Method: several receive buffers of bytes, seen whole, in part, and after a read of a part.
///
/// Kills: a peek into the first buffer only; a rest that is put back and seen twice.
fn peek_copies_from_several_buffers(on: Driver) {
    const LEN: usize = 20_000;
    let runtime = on.builder().recv_buffers(64, 1024).build().unwrap();
    runtime.block_on(async {
        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        let mut stream = UnixStream::from_std(ours);
        theirs.write_all(&coded_bytes(0, LEN)).unwrap();
        let mut peeked = vec![0; 2 * LEN];
        while stream.peek(&mut peeked).await.unwrap() < LEN {
            turns(1).await;
        }
        assert_coded(0, &peeked[..LEN]);
        assert_eq!(stream.peek(&mut peeked[..1500]).await.unwrap(), 1500);
        assert_coded(0, &peeked[..1500]);
        let mut read = [0; 1500];
        stream.read_exact(&mut read).await.unwrap();
        assert_coded(0, &read);
        assert_eq!(stream.peek(&mut peeked).await.unwrap(), LEN - 1500);
        assert_coded(1500, &peeked[..LEN - 1500]);
    });
}

/// Goal: at the end `readable` is ready and `peek` returns 0; after a reset, `peek` and the read
/// return the error, after the bytes that came before.
/// Method: a peer that closes, and one that resets after its bytes were received.
/// Kills: a `readable` that does not return at the end; a peek that takes the error from the read.
fn readable_and_peek_return_at_the_end(on: Driver) {
    on.run(async {
        let (mut stream, peer) = std_pair();
        drop(peer);
        stream.readable().await.unwrap();
        assert_eq!(stream.peek(&mut [0]).await.unwrap(), 0);
        assert!(stream.recv().await.unwrap().is_empty());

        let (mut stream, mut peer) = std_pair();
        peer.write_all(b"text").unwrap();
        stream.readable().await.unwrap();
        reset(peer);
        stream.closed().await.unwrap();
        turns(5).await;
        assert_eq!(stream.peek(&mut [0; 8]).await.unwrap(), 4);
        assert_eq!(&*stream.recv().await.unwrap(), b"text");
        for _ in 0..2 {
            stream.readable().await.unwrap();
            let error = stream.peek(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}
