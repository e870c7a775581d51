//! Connections: made, refused, half closed, reset, and accepted by the hundred.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use crate::common::{
    any_addr, assert_coded, blocking_pair, coded_bytes, poll_once, std_pair, tcp_pair, tight_pair,
    turn, turns, unanswering_addr, until,
};
use crate::{Body, Driver, bodies};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;
use ringloop::{Handle, spawn};

pub(crate) const SHARED: &[Body] = bodies![
    i3_half_close_comes_after_the_bytes,
    the_peer_may_finish_first,
    i5_bytes_come_before_the_end,
    i6_closing_ends_a_read_that_waits,
    a_reset_is_that_connections_error,
    bytes_that_have_come_are_read_before_a_reset,
    abort_resets_the_connection,
    connects_that_fail_return_the_reason,
    addresses_and_options_are_those_of_the_socket,
    a_nonblocking_socket_from_elsewhere_works,
    a_reset_is_returned_to_both_directions,
    after_a_reset_ending_is_no_error,
];

/// Far more bytes than the buffers of a tight pair hold.
const BIG: usize = 2 << 20;

/// Goal: an end that is queued behind writes arrives behind their bytes, and reading goes on (I3).
/// Each side may end first.
///
/// Method: queue more than the socket holds, shut down at once or drop the writing half; the peer
/// reads to the end and then still sends.
///
/// Kills: `shutdown(2)` before the last send; a write half whose drop forgets the queue.
fn i3_half_close_comes_after_the_bytes(on: Driver) {
    on.run(async {
        for is_explicit in [true, false] {
            let (stream, mut peer) = tight_pair();
            let reading = std::thread::spawn(move || {
                let mut received = Vec::new();
                peer.read_to_end(&mut received).unwrap();
                peer.write_all(b"got it").unwrap();
                received
            });
            let (mut reader, mut writer) = stream.into_split();
            writer.send(coded_bytes(0, BIG)).await.unwrap();
            if is_explicit {
                // Dropped after one poll: the end is still sent.
                assert!(poll_once(pin!(writer.shutdown())).await.is_pending());
                writer.write_all(b"?").await.unwrap_err();
            }
            drop(writer);
            assert_eq!(&*reader.recv().await.unwrap(), b"got it");
            assert!(reader.recv().await.unwrap().is_empty());
            let received = reading.join().unwrap();
            assert_eq!(received.len(), BIG);
            assert_coded(0, &received);
        }
    });
}

/// Goal: after the peer has finished sending, this side still sends its bytes and its end (I3).
///
/// Method: read to the end first, then write more than the sockets hold.
///
/// Kills: closing the connection at the peer's end; an epoll edge of the peer's end that hides the
/// one for room.
fn the_peer_may_finish_first(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = tight_pair();
        peer.write_all(&coded_bytes(0, 10_000)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut bytes = vec![0; 10_000];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_coded(0, &bytes);
        assert!(stream.recv().await.unwrap().is_empty());

        stream.send(coded_bytes(0, BIG)).await.unwrap();
        assert!(poll_once(pin!(stream.flush())).await.is_pending());
        turns(20).await; // the sockets are full now
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received)
        });
        stream.write_all(b"").await.unwrap();
        assert!(stream.recv().await.unwrap().is_empty(), "and it stays the end");
        stream.shutdown().await.unwrap();
        stream.close().await.unwrap();
        let received = reading.join().unwrap().unwrap();
        assert_eq!(received.len(), BIG);
        assert_coded(0, &received);
    });
}

/// Goal: closing works while a task is in the middle of a read: the peer sees the end although a
/// receive is armed, and the reader's own end does not disturb the writer (I6).
///
/// Method: abort a task that reads a whole stream; drop the writing half beside a reader; abort a
/// reader beside the writing half. The peer waits for the end on a thread of its own.
///
/// Kills: `close(2)` under an armed receive, after which no FIN is sent; a `shutdown` that waits
/// for the reader; a reading half whose drop closes the connection.
fn i6_closing_ends_a_read_that_waits(on: Driver) {
    on.run(async {
        let to_the_end = |mut peer: std::net::TcpStream| {
            let reading = std::thread::spawn(move || {
                let mut received = Vec::new();
                peer.read_to_end(&mut received).map(|_| (received, peer))
            });
            async move {
                until(|| reading.is_finished()).await;
                reading.join().unwrap().expect("an end, not a reset")
            }
        };
        let (mut stream, peer) = std_pair();
        let reader = spawn(async move { stream.recv().await.map(drop) });
        turns(3).await;
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled());
        assert!(to_the_end(peer).await.0.is_empty());

        let (stream, peer) = std_pair();
        let (mut reader, writer) = stream.into_split();
        let reader = spawn(async move { reader.recv().await.unwrap().to_vec() });
        turns(3).await;
        drop(writer);
        let (nothing, mut peer) = to_the_end(peer).await;
        assert!(nothing.is_empty() && !reader.is_finished());
        peer.write_all(b"still here").unwrap();
        assert_eq!(reader.await.unwrap(), b"still here");

        let (stream, peer) = std_pair();
        let (mut reader, mut writer) = stream.into_split();
        let reader = spawn(async move { reader.recv().await.map(drop) });
        turns(3).await;
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled());
        writer.write_all(b"last words").await.unwrap();
        drop(writer);
        assert_eq!(to_the_end(peer).await.0, b"last words");
    });
}

/// Goal: bytes that come together with the end, or before a reset, are all read first (I5).
///
/// Method: a peer that writes and closes before this side looks; one that resets. Many sizes around
/// the size of a buffer, and a queue long enough for backpressure.
///
/// Kills: the end taken for the result of a short receive; a reset that drops bytes which were
/// received before it.
fn i5_bytes_come_before_the_end(on: Driver) {
    on.run(async {
        for len in [1, 4095, 4096, 4097, 100_000, 400_000] {
            for is_reset in [false, true] {
                let (mut stream, mut peer) = std_pair();
                assert!(poll_once(pin!(stream.recv())).await.is_pending());
                let mut received = Vec::new();
                let writing = std::thread::spawn(move || {
                    peer.write_all(&coded_bytes(0, len)).unwrap();
                    peer
                });
                if is_reset {
                    // A reset discards the bytes in the kernel, so read all of them first.
                    while received.len() < len {
                        received.extend_from_slice(&stream.recv().await.unwrap());
                    }
                    let peer = socket2::Socket::from(writing.join().unwrap());
                    peer.set_linger(Some(Duration::ZERO)).unwrap();
                    drop(peer);
                    let error = stream.recv().await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    let again = stream.recv().await.unwrap_err();
                    assert_eq!(again.kind(), ErrorKind::ConnectionReset, "it is final");
                } else {
                    let closing = std::thread::spawn(move || drop(writing.join().unwrap()));
                    loop {
                        let bytes = stream.recv().await.unwrap();
                        if bytes.is_empty() {
                            break;
                        }
                        received.extend_from_slice(&bytes);
                    }
                    closing.join().unwrap();
                }
                assert_eq!(received.len(), len);
                assert_coded(0, &received);
            }
        }
    });
}

/// Goal: a reset is an error for every side that is used after it, and for no other.
///
/// Method: the peer resets while bytes are queued; writing, `flush`, `shutdown` and `close` return
/// the error; another connection goes on.
///
/// Kills: an error that is returned only once; a wait that does not end.
fn a_reset_is_that_connections_error(on: Driver) {
    on.run(async {
        let (mut other, mut other_peer) = std_pair();
        let (mut stream, peer) = tight_pair();
        stream.send(vec![0; BIG]).await.unwrap();
        turns(3).await;
        let peer = socket2::Socket::from(peer);
        peer.set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        stream.flush().await.expect_err("flush");
        stream.write_all(b"?").await.expect_err("write_all");
        stream.send(vec![1]).await.expect_err("send");
        stream.shutdown().await.expect_err("shutdown");
        // The kernel returns a reset once, and the send has received it.
        assert!(stream.recv().await.map_or(true, |bytes| bytes.is_empty()));
        stream.close().await.expect_err("close");
        other_peer.write_all(b"fine").unwrap();
        assert_eq!(&*other.recv().await.unwrap(), b"fine");
    });
}

/// Goal: bytes that were received before a reset are read first, and then the error (I5).
///
/// Method: both ends are streams of this loop. One sends and, once the other has the bytes in its
/// buffers and has read none, resets.
///
/// Kills: a failed receive that empties the queue.
fn bytes_that_have_come_are_read_before_a_reset(on: Driver) {
    on.run(async {
        let (mut sender, mut receiver) = tcp_pair().await;
        assert!(poll_once(pin!(receiver.recv())).await.is_pending());
        sender.write_all(&coded_bytes(0, 10_000)).await.unwrap();
        sender.flush().await.unwrap();
        until(|| Handle::current().metrics().buffers_held >= 3).await; // of 4 KiB each
        sender.abort();
        turns(10).await;
        let mut bytes = vec![0; 10_000];
        receiver.read_exact(&mut bytes).await.unwrap();
        assert_coded(0, &bytes);
        let error = receiver.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Goal: the peer of an aborted connection gets a reset, and none of the queued bytes.
///
/// Method: abort an idle stream, one with a read in flight, and one with a blocked write.
///
/// Kills: an abort that sends a FIN.
fn abort_resets_the_connection(on: Driver) {
    on.run(async {
        for kind in 0..3 {
            let (mut stream, mut peer) = tight_pair();
            match kind {
                0 => {}
                1 => assert!(poll_once(pin!(stream.recv())).await.is_pending()),
                _ => stream.send(vec![0; BIG]).await.unwrap(),
            }
            turns(10).await;
            stream.abort();
            turns(3).await;
            let mut buf = vec![0; 1 << 16];
            let end = loop {
                match peer.read(&mut buf) {
                    Ok(0) => panic!("an orderly end"),
                    Ok(_) => {}
                    Err(error) => break error.kind(),
                }
            };
            assert_eq!(end, ErrorKind::ConnectionReset);
        }
        assert_eq!(Handle::current().metrics().in_flight, 0);
    });
}

/// Goal: a connect fails with the error of the kernel: refused, timed out, or a bad address.
///
/// Method: a port without a listener, a full backlog with a deadline, text that is no address.
///
/// Kills: a result of `connect(2)` that is ignored; a deadline without effect.
fn connects_that_fail_return_the_reason(on: Driver) {
    on.run(async {
        let closed = std::net::TcpListener::bind(any_addr()).unwrap();
        let addr = closed.local_addr().unwrap();
        drop(closed);
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        let (addr, _full) = unanswering_addr();
        let error = TcpStream::connect_timeout(addr, Duration::from_millis(5)).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

        for text in ["localhost:80", "127.0.0.1", "127.0.0.1:99999", ""] {
            let error = TcpStream::connect(text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            let error = TcpListener::bind(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
        assert_eq!(Handle::current().metrics().timers, 0);
    });
}

/// Goal: addresses and options are those of the socket, for IPv4 and IPv6.
///
/// Method: bind, connect, compare both ends; a second bind on the port is refused unless shared.
///
/// Kills: the two addresses exchanged; `SO_REUSEPORT` set for all listeners.
fn addresses_and_options_are_those_of_the_socket(on: Driver) {
    on.run(async {
        let any: [SocketAddr; 2] = [any_addr(), (Ipv6Addr::LOCALHOST, 0).into()];
        for any in any {
            let Ok(listener) = TcpListener::builder().backlog(7).bind(any) else {
                assert!(any.is_ipv6(), "IPv4 always works");
                eprintln!("skipped: no IPv6 here");
                continue;
            };
            let addr = listener.local_addr().unwrap();
            let client = TcpStream::connect(addr.to_string()).await.unwrap();
            let server = listener.accept().await.unwrap();
            assert_eq!(client.peer_addr().unwrap(), addr);
            assert_eq!(client.local_addr().unwrap(), server.peer_addr().unwrap());
            client.set_nodelay(true).unwrap();
            let error = TcpListener::bind(addr).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
        let shared = || TcpListener::builder().reuse_port(true);
        let first = shared().bind(any_addr()).unwrap();
        let _second = shared().bind(first.local_addr().unwrap()).unwrap();
    });
}

/// Goal: a socket of std works like any other, also in non-blocking mode.
///
/// Method: hand one over before bytes are there; read, and write more than the socket holds.
///
/// Kills: `EAGAIN` that is returned, or retried without a wait.
fn a_nonblocking_socket_from_elsewhere_works(on: Driver) {
    on.run(async {
        let (ours, mut theirs) = blocking_pair();
        ours.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(ours);
        let turns_before = turn();
        let idle = timeout(Duration::from_millis(20), stream.recv()).await;
        assert!(idle.is_err(), "nothing was sent");
        let turns_taken = turn() - turns_before;
        assert!(turns_taken < 20, "{turns_taken} turns in which nothing happens");
        theirs.write_all(b"hello").unwrap();
        assert_eq!(&*stream.recv().await.unwrap(), b"hello");
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).map(|_| received.len())
        });
        stream.send(vec![1; 8 * BIG]).await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 8 * BIG);
    });
}

/// Goal: a reader does not take a broken connection for the end of the stream, whichever call got
/// the reset first.
///
/// Method: the peer closes with bytes unread, which resets the connection, in the middle of its
/// reply. A write and a flush come first, with the receive armed before or not; then read to the
/// end.
///
/// Kills: a reset that is returned to the send and not to the reader.
fn a_reset_is_returned_to_both_directions(on: Driver) {
    for is_armed in [true, false] {
        on.run(async {
            let (mut stream, mut peer) = std_pair();
            if is_armed {
                assert!(poll_once(pin!(stream.recv())).await.is_pending());
            }
            stream.write_all(b"a request that is not read").await.unwrap();
            stream.flush().await.unwrap();
            peer.write_all(b"half of an ans").unwrap();
            drop(peer);
            let written = stream.write_all(b"more").await;
            let written = written.and(stream.flush().await);
            let error = loop {
                match stream.recv().await {
                    Ok(bytes) if bytes.is_empty() => panic!("an end, after {written:?}"),
                    Ok(_bytes) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
    }
}

/// Goal: `shutdown` and `close` of a connection that the peer has reset succeed if no bytes were
/// queued; the reset stays readable.
///
/// Method: the peer resets; `shutdown`, `recv` and `close` in each order.
///
/// Kills: `ENOTCONN` of `shutdown(2)` returned to the caller; a shutdown that takes the reset away.
fn after_a_reset_ending_is_no_error(on: Driver) {
    for reads_first in [true, false] {
        on.run(async {
            let (mut stream, peer) = std_pair();
            socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            if reads_first {
                assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
            stream.shutdown().await.unwrap();
            if !reads_first {
                assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
            stream.close().await.unwrap();
        });
    }
}
