//! Bytes of a stream: all arrive, once and in order, whichever side stalls.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    Code, Dice, any_addr, assert_coded, blocking_pair, coded_bytes, poll_once, scaled, std_pair,
    tcp_pair, tight_pair, turns, until,
};
use crate::{Body, Driver, bodies};
use ringloop::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use ringloop::{Handle, spawn};

pub(crate) const SHARED: &[Body] = bodies![
    what_is_sent_comes_back,
    backpressure_works_both_ways,
    a_stalled_peer_stops_the_writer,
    i9_many_small_writes_arrive_in_order,
    one_byte_reads_return_every_byte,
    one_byte_writes_arrive_complete,
    i10_blocked_writers_go_on_each_by_itself,
    closing_a_stream_leaves_its_duplicate_open,
    a_silent_peer_is_timed_out_and_the_stream_goes_on,
];

/// Far more bytes than the buffers of a tight pair and the queue hold.
const BIG: usize = 2 << 20;

/// Goal: sent bytes come back, for every way to send and to receive.
///
/// Method: an echo of received buffers, and a client that writes slices and owned buffers of all
/// kinds and reads with `recv`, `read` and `read_exact`.
///
/// Kills: a kind of buffer that is sent from the wrong address; the rest of a slice that is lost.
fn what_is_sent_comes_back(on: Driver) {
    on.run(async {
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

/// Goal: 16 MiB each way on each of two connections at once arrive in order and on their
/// connection, while readers pause and writers wait instead of queueing without limit.
///
/// Method: coded data in pieces of random sizes; readers that pause for random numbers of turns.
///
/// Kills: a writer that is not woken; a chunk that is sent twice, out of order, not at all, or on
/// another connection.
fn backpressure_works_both_ways(on: Driver) {
    let len = scaled(16 << 20).max(1 << 20);
    on.run(async {
        let mut tasks = Vec::new();
        for id in [20, 30] {
            let (left, right) = tcp_pair().await;
            let (left_reader, left_writer) = left.into_split();
            let (right_reader, right_writer) = right.into_split();
            tasks.push(spawn(write_coded(left_writer, Code(id), len)));
            tasks.push(spawn(read_coded(right_reader, Code(id), len)));
            tasks.push(spawn(write_coded(right_writer, Code(id + 1), len)));
            tasks.push(spawn(read_coded(left_reader, Code(id + 1), len)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn write_coded(mut writer: OwnedWriteHalf, code: Code, len: u64) {
    let mut dice = Dice::new(code.0);
    let mut sent = 0;
    while sent < len {
        let piece = code.bytes(sent, (1 + dice.roll(200_000)).min(len - sent) as usize);
        sent += piece.len() as u64;
        match dice.roll(2) {
            0 => writer.write_all(&piece).await.unwrap(),
            _ => writer.send(piece).await.unwrap(),
        }
    }
    writer.shutdown().await.unwrap();
    assert!(writer.write_all(b"more").await.is_err(), "after the end");
}

async fn read_coded(mut reader: OwnedReadHalf, code: Code, len: u64) {
    let mut dice = Dice::new(code.0 + 10);
    let mut position = 0;
    loop {
        let bytes = reader.recv().await.unwrap();
        if bytes.is_empty() {
            break;
        }
        code.check(position, &bytes);
        position += bytes.len() as u64;
        if dice.roll(50) == 0 {
            turns(dice.roll(30) as usize).await;
        }
    }
    assert_eq!(position, len);
}

/// Goal: a writer to a peer that does not read becomes pending, and goes on when the peer reads.
/// Method: write until there is no progress for many turns; then the peer reads all bytes on a
/// thread.
/// Kills: a queue without a limit; a wake at the wrong high-water mark.
fn a_stalled_peer_stops_the_writer(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = tight_pair();
        let written = Rc::new(Cell::new(0));
        let counting = Rc::clone(&written);
        let writer = spawn(async move {
            while counting.get() < BIG {
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
        assert!(before < BIG, "the peer did not read, and everything was written");
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received)
        });
        writer.await.unwrap();
        let received = reading.join().unwrap().unwrap();
        assert_eq!(received.len(), BIG);
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
fn i9_many_small_writes_arrive_in_order(on: Driver) {
    on.run(async {
        let (mut ours, mut peer) = blocking_pair();
        ours.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = ours.write(&coded_bytes(sent, 4096)) {
            sent += count as u64;
        }
        let mut stream = TcpStream::from_std(ours);
        for round in 0..scaled(2_000) as usize {
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
        let rounds = scaled(8_000);
        for _ in 0..rounds {
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
        assert!(submissions < rounds * 5 / 8, "{submissions} requests for {rounds} writes");
    });
}

/// Goal: reads of one byte return every byte of many buffers.
///
/// Method: single-byte reads of 100 000 coded bytes.
///
/// Kills: `unread` losing or doubling the rest of a buffer.
fn one_byte_reads_return_every_byte(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        let len = scaled(100_000);
        let bytes = coded_bytes(0, len as usize);
        let writing = std::thread::spawn(move || peer.write_all(&bytes).map(|()| peer));
        for position in 0..len {
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

/// Goal: bytes that are written one at a time, with or without a turn in between, arrive in order.
///
/// Method: 20 000 single-byte writes, some flushed, each a packet of its own if it comes alone;
/// reads of random lengths.
///
/// Kills: a flag "will be sent" that stays set, after which no byte is sent.
fn one_byte_writes_arrive_complete(on: Driver) {
    on.run(async {
        let (mut writer, mut reader) = tcp_pair().await;
        writer.set_nodelay(true).unwrap();
        let len = scaled(20_000);
        let writing = spawn(async move {
            let mut dice = Dice::new(41);
            for position in 0..len {
                writer.write_all(&coded_bytes(position, 1)).await.unwrap();
                match dice.roll(6) {
                    0 => writer.flush().await.unwrap(),
                    1 => turns(1).await,
                    _ => {}
                }
            }
            writer.close().await.unwrap();
        });
        let mut dice = Dice::new(42);
        let mut position = 0;
        while position < len {
            let mut buf = vec![0; 1 + dice.roll(7).min(len - position - 1) as usize];
            reader.read_exact(&mut buf).await.unwrap();
            assert_coded(position, &buf);
            position += buf.len() as u64;
        }
        assert!(reader.recv().await.unwrap().is_empty());
        writing.await.unwrap();
    });
}

/// Goal: of many waiting writers, only the one whose peer reads goes on (I10).
///
/// Method: 16 writers blocked on sockets with small buffers; drain the peers in random order and
/// check after each which writers have finished.
///
/// Kills: room on one connection that wakes the writer of another, or none.
fn i10_blocked_writers_go_on_each_by_itself(on: Driver) {
    on.run(async {
        let (writers, peers): (Vec<_>, Vec<_>) = (1..=16)
            .map(|id| {
                let (mut stream, peer) = tight_pair();
                let writer = spawn(async move {
                    for start in (0..BIG as u64).step_by(32 << 10) {
                        stream.write_all(&Code(id).bytes(start, 32 << 10)).await.unwrap();
                    }
                    stream.flush().await.unwrap();
                    stream.close().await.unwrap();
                });
                (writer, (id, peer))
            })
            .unzip();
        turns(100).await;
        let mut waiting: Vec<_> = writers.into_iter().zip(peers).collect();
        let mut dice = Dice::new(43);
        while !waiting.is_empty() {
            assert!(
                waiting.iter().all(|(writer, _)| !writer.is_finished()),
                "the peer did not read"
            );
            let (writer, (id, mut peer)) =
                waiting.swap_remove(dice.roll(waiting.len() as u64) as usize);
            let reading = std::thread::spawn(move || {
                let mut received = Vec::new();
                peer.read_to_end(&mut received).map(|_| received)
            });
            writer.await.unwrap();
            let received = reading.join().unwrap().unwrap();
            assert_eq!(received.len(), BIG);
            Code(id).check(0, &received);
        }
    });
}

/// Goal: another descriptor of the socket works after the stream is closed.
///
/// Method: duplicate the descriptor of a stream whose receive is armed, drop the stream, and read
/// through the duplicate: no end, then the bytes of the peer.
///
/// Kills: `shutdown(2)` on a socket whose descriptor the program has seen.
fn closing_a_stream_leaves_its_duplicate_open(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut stream = listener.accept().await.unwrap();
        let before_count = Handle::current().metrics().in_flight;
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        turns(2).await;
        let duplicate = stream.as_fd().try_clone_to_owned().unwrap();
        let mut duplicate = std::net::TcpStream::from(duplicate);
        duplicate.set_nonblocking(true).unwrap();
        drop(stream);
        until(|| Handle::current().metrics().in_flight <= before_count).await;

        let mut bytes = [0; 16];
        let nothing = duplicate.read(&mut bytes).expect_err("nothing to read, and no end");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        peer.write_all(b"still open").unwrap();
        duplicate.set_nonblocking(false).unwrap();
        assert_eq!(duplicate.read(&mut bytes).unwrap(), 10);
        duplicate.write_all(b"answer").unwrap();
        assert_eq!(peer.read(&mut bytes).unwrap(), 6);
    });
}

/// Goal: a read that waits for longer than the idle timeout fails, on TCP and on Unix sockets, and
/// the stream goes on in both directions without a byte lost.
///
/// Method: two of four bytes, then silence, under `read_exact`; the error; then the other two, and
/// a reply.
///
/// Kills: a timeout that ends the stream, or takes bytes with it; one that is set on TCP only.
fn a_silent_peer_is_timed_out_and_the_stream_goes_on(on: Driver) {
    macro_rules! is_timed_out {
        ($stream:ident, $peer:ident) => {
            $stream.set_idle_timeout(Some(Duration::from_millis(5)));
            $peer.write_all(b"ab").unwrap();
            let mut target = [0; 4];
            let error = $stream.read_exact(&mut target).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            $peer.write_all(b"cd").unwrap();
            $stream.read_exact(&mut target).await.unwrap();
            assert_eq!(&target, b"abcd");
            $stream.write_all(b"!").await.unwrap();
            $stream.flush().await.unwrap();
            $peer.read_exact(&mut target[..1]).unwrap();
        };
    }
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        is_timed_out!(stream, peer);
        let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut stream = ringloop::net::UnixStream::from_std(ours);
        is_timed_out!(stream, peer);
    });
}
