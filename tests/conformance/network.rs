//! Connections: made, refused, half closed, reset, and accepted by the hundred.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{
    assert_coded, blocking_pair, coded_bytes, poll_once, scaled, std_pair, tight_pair, turn, turns,
    unanswering_addr, until,
};
use crate::{Body, Driver, bodies};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;
use ringloop::{Handle, spawn};

pub(crate) const SHARED: &[Body] = bodies![
    i3_half_close_comes_after_the_bytes,
    i5_bytes_come_before_the_end,
    a_reset_is_that_connections_error,
    abort_resets,
    failing_connects,
    addresses_and_options,
    a_nonblocking_socket_from_elsewhere,
    a_crowd_is_accepted,
];

/// Far more than the buffers of a tight pair hold.
const BIG: usize = 2 << 20;

/// Goal: an end that is sent behind queued writes arrives behind their bytes, and reading goes on
/// (I3). Each side may end first.
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
                // Dropped after one poll: the end goes out all the same.
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

/// Goal: bytes that come together with the end, or before a reset, are all read first (I5).
///
/// Method: a peer that writes and closes before this side looks; one that resets. Many sizes around
/// the size of a buffer, and a queue long enough for backpressure.
///
/// Kills: the end taken for the answer to a receive that was cut short; a reset that drops bytes
/// which were received before it.
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
                    // A reset throws away what the kernel holds; so read it all first.
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

/// Goal: a reset is an error for every side that is used afterwards, and for nobody else.
///
/// Method: the peer resets while bytes are queued; writing, `flush`,
/// `shutdown` and `close` say so;
/// another connection goes on.
///
/// Kills: an error told once and then forgotten; a wait that never ends.
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
        // The kernel tells of a reset once, and the send has heard it.
        assert!(stream.recv().await.map_or(true, |bytes| bytes.is_empty()));
        stream.close().await.expect_err("close");
        other_peer.write_all(b"fine").unwrap();
        assert_eq!(&*other.recv().await.unwrap(), b"fine");
    });
}

/// Goal: an aborted connection is a reset for the peer, with nothing of what was queued and not
/// sent.
///
/// Method: abort an idle stream, one with a read in flight, and one with a blocked write.
///
/// Kills: an abort that closes in order.
fn abort_resets(on: Driver) {
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

/// Goal: connecting fails as the kernel says: refused, in time, or for a bad address.
///
/// Method: a port that nobody listens on, a full backlog with a deadline, text that is no address.
///
/// Kills: a result of `connect(2)` not looked at; a deadline without effect.
fn failing_connects(on: Driver) {
    on.run(async {
        let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
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
/// Kills: the two addresses exchanged; `SO_REUSEPORT` set for everybody.
fn addresses_and_options(on: Driver) {
    on.run(async {
        let any: [SocketAddr; 2] =
            [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()];
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
        let first = shared().bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _second = shared().bind(first.local_addr().unwrap()).unwrap();
    });
}

/// Goal: a socket from elsewhere works like any other, also in non-blocking mode.
///
/// Method: hand one over before bytes are there; read, and write more than the socket holds.
///
/// Kills: `EAGAIN` as an answer, retried without a wait.
fn a_nonblocking_socket_from_elsewhere(on: Driver) {
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

/// Goal: a thousand connections at once are all accepted, in order of arrival, and served.
///
/// Method: connect them all before the first accept, by four tasks.
///
/// Kills: an accept bound that loses what comes while it is being cancelled; a waiter not woken.
fn a_crowd_is_accepted(on: Driver) {
    on.run(async {
        let listener = Rc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let addr = listener.local_addr().unwrap();
        let crowd = scaled(1000).max(300).next_multiple_of(4); // more than a listener queues
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let listener = Rc::clone(&listener);
                spawn(async move {
                    for _ in 0..crowd / 4 {
                        let mut stream = listener.accept().await.unwrap();
                        spawn(async move {
                            let bytes = stream.recv().await.unwrap();
                            stream.send(bytes).await.unwrap();
                        });
                    }
                })
            })
            .collect();
        let mut clients = Vec::new();
        for number in 0..crowd {
            let mut client = std::net::TcpStream::connect(addr).unwrap();
            client.write_all(&number.to_ne_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            clients.push(client);
        }
        for worker in workers {
            worker.await.unwrap();
        }
        for (number, mut client) in clients.into_iter().enumerate() {
            let reply = std::thread::spawn(move || {
                let mut reply = Vec::new();
                client.read_to_end(&mut reply).map(|_| reply)
            });
            until(|| reply.is_finished()).await;
            let reply = reply.join().unwrap().unwrap();
            assert_eq!(reply, (number as u64).to_ne_bytes());
        }
    });
}
