//! TCP streams and listeners against blocking sockets of the kernel's own making.

mod common;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::{
    Dice, assert_coded, blocking_pair, coded_bytes, poll_once, run, std_pair, tcp_pair, turns,
    unanswering_addr,
};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::timeout;
use ringloop::{Handle, spawn};

/// Far more than the buffers of both sockets hold.
const LEN: usize = 16 << 20;

/// Goal: what is sent comes back, for every way to send and to receive.
///
/// Method: an echo of received buffers, and a client that writes slices and owned buffers of all
/// kinds and reads with `recv`, `read` and `read_exact`.
///
/// Kills: a kind of buffer sent from the wrong address; a slice's rest forgotten.
#[test]
fn echo() {
    run(async {
        let (mut client, mut server) = tcp_pair().await;
        let echo = spawn(async move {
            loop {
                let bytes = server.recv().await.unwrap();
                if bytes.is_empty() {
                    return server.close().await.unwrap();
                }
                server.send(bytes).await.unwrap();
            }
        });
        client.write_all(b"slice,").await.unwrap();
        client.send(b"array,").await.unwrap();
        client.send("text,").await.unwrap();
        client.send(String::from("string,")).await.unwrap();
        client.send(b"vec,".to_vec()).await.unwrap();
        client.send(Box::<[u8]>::from(&b"box,"[..])).await.unwrap();
        client.send(Rc::<[u8]>::from(&b"rc,"[..])).await.unwrap();
        client.send(Arc::<[u8]>::from(&b"arc."[..])).await.unwrap();
        client.send(Vec::new()).await.unwrap();
        client.write_all(b"").await.unwrap();
        client.flush().await.unwrap();
        let expected = b"slice,array,text,string,vec,box,rc,arc.";
        let mut received = [0; 39];
        client.read_exact(&mut received[..10]).await.unwrap();
        let count = client.read(&mut received[10..12]).await.unwrap();
        assert_eq!(client.read(&mut []).await.unwrap(), 0);
        client.read_exact(&mut received[10 + count..]).await.unwrap();
        assert_eq!(received, *expected);
        client.shutdown().await.unwrap();
        echo.await.unwrap();
    });
}

/// Goal: 16 MiB each way arrive in order while both sides stall now and then, and writers wait
/// instead of queueing without limit.
///
/// Method: coded data in pieces of random sizes; readers that pause for random numbers of turns.
///
/// Kills: a writer that is not woken; a chunk sent twice, out of order or not at all.
#[test]
fn backpressure_both_ways() {
    run(async {
        let (left, right) = tcp_pair().await;
        let mut tasks = Vec::new();
        for (seed, stream) in [(21, left), (22, right)] {
            let (mut reader, mut writer) = stream.into_split();
            tasks.push(spawn(async move {
                let mut dice = Dice::new(seed);
                let mut sent = 0;
                while sent < LEN {
                    let len = (1 + dice.roll(200_000) as usize).min(LEN - sent);
                    let piece = coded_bytes(sent as u64, len);
                    match dice.roll(2) {
                        0 => writer.write_all(&piece).await.unwrap(),
                        _ => writer.send(piece).await.unwrap(),
                    }
                    sent += len;
                }
                writer.shutdown().await.unwrap();
                assert!(writer.write_all(b"more").await.is_err(), "after the end");
            }));
            tasks.push(spawn(async move {
                let mut dice = Dice::new(seed + 10);
                let mut position = 0;
                loop {
                    let bytes = reader.recv().await.unwrap();
                    if bytes.is_empty() {
                        break;
                    }
                    assert_coded(position, &bytes);
                    position += bytes.len() as u64;
                    if dice.roll(50) == 0 {
                        turns(dice.roll(30) as usize).await;
                    }
                }
                assert_eq!(position, LEN as u64);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Goal: a writer to a peer that reads nothing becomes pending, and goes on when the peer reads.
/// Method: write until nothing moves for many turns; then let the peer read all of it on a thread.
/// Kills: a queue without a limit; a wake at the wrong water mark.
#[test]
fn a_stalled_peer_stops_the_writer() {
    run(async {
        let (mut stream, mut peer) = std_pair();
        let written = Rc::new(Cell::new(0));
        let counting = Rc::clone(&written);
        let writer = spawn(async move {
            while counting.get() < LEN {
                let start = counting.get();
                stream.write_all(&coded_bytes(start as u64, 4096)).await.unwrap();
                counting.set(start + 4096);
            }
            stream.close().await.unwrap();
        });
        let mut before = usize::MAX;
        while before != written.get() {
            before = written.get();
            turns(50).await;
        }
        assert!(before < LEN, "nobody read, and everything was written");
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received)
        });
        writer.await.unwrap();
        let received = reading.join().unwrap().unwrap();
        assert_eq!(received.len(), LEN);
        assert_coded(0, &received);
    });
}

/// Goal: ten thousand small writes arrive complete and in order (I9), and those of one turn share
/// sends.
///
/// Method: a socket that is full already, so that the first of them are in flight while others
/// queue; writes of 1 to 16 bytes with random yields and flushes; then the peer begins to read.
///
/// Kills: an append to a buffer that is being sent; a request per write.
#[test]
fn many_small_writes() {
    run(async {
        let (mut ours, mut peer) = blocking_pair();
        ours.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = ours.write(&coded_bytes(sent, 4096)) {
            sent += count as u64;
        }
        let mut stream = TcpStream::from_std(ours);
        for round in 0..2_000 {
            let len = 1 + round % 16;
            stream.write_all(&coded_bytes(sent, len)).await.unwrap();
            sent += len as u64;
            turns(round % 3).await;
        }
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received)
        });
        let mut dice = Dice::new(31);
        let before = Handle::current().metrics().submissions;
        for _ in 0..8_000 {
            let len = 1 + dice.roll(16) as usize;
            stream.write_all(&coded_bytes(sent, len)).await.unwrap();
            sent += len as u64;
            match dice.roll(100) {
                0 => stream.flush().await.unwrap(),
                1..5 => turns(1).await,
                _ => {}
            }
        }
        stream.close().await.unwrap();
        let received = reading.join().unwrap().unwrap();
        assert_eq!(received.len() as u64, sent);
        assert_coded(0, &received);
        let submissions = Handle::current().metrics().submissions - before;
        assert!(submissions < 5_000, "{submissions} requests");
    });
}

/// Goal: reading one byte at a time gets every byte of many buffers.
///
/// Method: 100 000 single-byte reads of coded data.
///
/// Kills: `unread` losing or doubling a buffer's rest.
#[test]
fn one_byte_reads() {
    run(async {
        let (mut stream, mut peer) = std_pair();
        let writing =
            std::thread::spawn(move || peer.write_all(&coded_bytes(0, 100_000)).map(|()| peer));
        for position in 0..100_000 {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
            assert_coded(position, &byte);
        }
        drop(writing.join().unwrap().unwrap());
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0, "and stays 0");
        let error = stream.read_exact(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

/// Goal: an end that is sent behind queued writes arrives behind their bytes, and reading goes on
/// (I3). Each side may end first.
///
/// Method: queue more than the socket holds, shut down at once or drop the writing half; the peer
/// reads to the end and then still sends.
///
/// Kills: `shutdown(2)` before the last send; a write half whose drop forgets the queue.
#[test]
fn half_close_comes_after_the_bytes() {
    run(async {
        for is_explicit in [true, false] {
            let (stream, mut peer) = std_pair();
            let reading = std::thread::spawn(move || {
                let mut received = Vec::new();
                peer.read_to_end(&mut received).unwrap();
                peer.write_all(b"got it").unwrap();
                received
            });
            let (mut reader, mut writer) = stream.into_split();
            writer.send(coded_bytes(0, LEN)).await.unwrap();
            if is_explicit {
                // Dropped after one poll: the end goes out all the same.
                assert!(poll_once(pin!(writer.shutdown())).await.is_pending());
                writer.write_all(b"?").await.unwrap_err();
            }
            drop(writer);
            assert_eq!(&*reader.recv().await.unwrap(), b"got it");
            assert!(reader.recv().await.unwrap().is_empty());
            let received = reading.join().unwrap();
            assert_eq!(received.len(), LEN);
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
#[test]
fn bytes_come_before_the_end() {
    run(async {
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
#[test]
fn a_reset_is_that_connections_error() {
    run(async {
        let (mut other, mut other_peer) = std_pair();
        let (mut stream, peer) = std_pair();
        stream.send(vec![0; LEN]).await.unwrap();
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
#[test]
fn abort_resets() {
    run(async {
        for kind in 0..3 {
            let (mut stream, mut peer) = std_pair();
            match kind {
                0 => {}
                1 => assert!(poll_once(pin!(stream.recv())).await.is_pending()),
                _ => stream.send(vec![0; LEN]).await.unwrap(),
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
#[test]
fn failing_connects() {
    run(async {
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
#[test]
fn addresses_and_options() {
    run(async {
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
#[test]
fn a_nonblocking_socket_from_elsewhere() {
    run(async {
        let (ours, mut theirs) = blocking_pair();
        ours.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(ours);
        let turns_before = common::turn();
        let idle = timeout(Duration::from_millis(20), stream.recv()).await;
        assert!(idle.is_err(), "nothing was sent");
        let turns_taken = common::turn() - turns_before;
        assert!(turns_taken < 20, "{turns_taken} turns in which nothing happens");
        theirs.write_all(b"hello").unwrap();
        assert_eq!(&*stream.recv().await.unwrap(), b"hello");
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).map(|_| received.len())
        });
        stream.send(vec![1; LEN]).await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), LEN);
    });
}

/// Goal: a thousand connections at once are all accepted, in order of arrival, and served.
///
/// Method: connect them all before the first accept, by four tasks.
///
/// Kills: an accept bound that loses what comes while it is being cancelled; a waiter not woken.
#[test]
fn a_crowd_is_accepted() {
    run(async {
        let listener = Rc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let addr = listener.local_addr().unwrap();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let listener = Rc::clone(&listener);
                spawn(async move {
                    for _ in 0..250 {
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
        for number in 0..1000_u32 {
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
            common::until(|| reply.is_finished()).await;
            let reply = reply.join().unwrap().unwrap();
            assert_eq!(reply, (number as u32).to_ne_bytes());
        }
    });
}
