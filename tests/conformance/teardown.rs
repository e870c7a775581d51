//! The end of a runtime with operations in flight: it returns, and leaves nothing open.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{
    Dice, any_addr, assert_coded, blocking_pair, coded_bytes, open_fds, poll_once, scaled,
    std_pair, tcp_pair, tight_pair, turns, unanswering_addr, until,
};
use crate::{Body, Driver, bodies};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::sleep;
use ringloop::{Handle, Unhandled};

pub(crate) const SHARED: &[Body] =
    bodies![writing_after_the_runtimes_end_is_an_error, a_dropped_close_reports_its_loss];
pub(crate) const ALONE: &[Body] = bodies![
    c6_dropping_a_runtime_with_everything_in_flight,
    c6_dropping_a_runtime_at_any_moment,
    a_dropped_stream_delivers_although_the_runtime_ends,
    what_outlives_its_runtime_is_harmless,
    a_runtime_may_end_inside_another,
    a_stalled_peer_does_not_keep_a_dropped_stream,
    close_returns_the_outcome,
    a_stream_that_outlives_its_runtime_closes,
    peers_that_reset_are_counted_and_not_reported,
];

/// More bytes than the buffers of a tight pair take, so that a write of them blocks.
const BIG: usize = 2 << 20;

/// Goal: dropping a runtime with operations in flight returns and leaves no descriptor, and its
/// port can be bound at once (C6, K3).
///
/// Method: idle reads, reads into private buffers, accepts, connects without an answer, writes
/// that are not read, sleeps and callbacks; drop the runtime; compare descriptors; bind. The
/// writes that could not be sent are reported with their bytes.
///
/// Kills: closing the ring before draining it; a reference cycle between a socket and its loop; a
/// teardown that waits for a peer; a listener that its slot keeps alive.
fn c6_dropping_a_runtime_with_everything_in_flight(on: Driver) {
    let before = open_fds();
    let (full_addr, full) = unanswering_addr();
    let lost = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&lost);
    let runtime = on
        .builder()
        .recv_buffers(4, 4096)
        .linger(Duration::from_millis(50))
        .on_unhandled(move |unhandled| match unhandled {
            Unhandled::BackgroundClose { unsent_bytes, .. } => {
                heard.borrow_mut().push(*unsent_bytes);
            }
            other => panic!("{other}"),
        })
        .build()
        .unwrap();
    let (addr, mut peers) = runtime.block_on(put_everything_in_flight(full_addr));
    drop(runtime);
    assert_eq!(lost.borrow().len(), 10, "each stalled write is reported");
    assert!(lost.borrow().iter().all(|&bytes| bytes > 0), "{lost:?}");
    drop(std::net::TcpListener::bind(addr).expect("the port is free at once"));
    for peer in &mut peers {
        // An end or a reset, but not an open connection.
        while matches!(peer.read(&mut [0; 65536]), Ok(1..)) {}
    }
    drop((peers, full));
    assert_eq!(open_fds(), before);
}

/// Starts operations of each kind that do not end. Returns the address of a listener, and the
/// peers.
async fn put_everything_in_flight(full_addr: SocketAddr) -> (SocketAddr, Vec<std::net::TcpStream>) {
    let mut peers = Vec::new();
    for _ in 0..20 {
        let (mut stream, peer) = std_pair();
        ringloop::spawn(async move { stream.recv().await.map(drop) });
        peers.push(peer);
    }
    // Held buffers empty the pool, so that further receives use private buffers.
    let (mut stream, mut peer) = std_pair();
    ringloop::spawn(async move {
        let mut hoard = Vec::new();
        loop {
            hoard.push(stream.recv().await);
        }
    });
    while Handle::current().metrics().buffers_held < 4 {
        peer.write_all(&[7; 4096]).unwrap();
        turns(1).await;
    }
    peers.push(peer);
    for _ in 0..20 {
        let (mut stream, peer) = std_pair();
        ringloop::spawn(async move { stream.read(&mut [0; 99]).await.map(drop) });
        peers.push(peer);
    }
    for _ in 0..5 {
        let (mut stream, peer) = tight_pair();
        ringloop::spawn(async move {
            stream.send(vec![1; BIG]).await?;
            stream.flush().await
        });
        let (mut stream, other_peer) = tight_pair();
        ringloop::spawn(async move { stream.write_all(&vec![1; BIG]).await });
        peers.extend([peer, other_peer]);
    }
    for _ in 0..5 {
        ringloop::spawn(async move { TcpStream::connect(full_addr).await.map(drop) });
    }
    let listener = TcpListener::bind(any_addr()).unwrap();
    let addr = listener.local_addr().unwrap();
    let listener = Rc::new(listener);
    for _ in 0..3 {
        let listener = Rc::clone(&listener);
        ringloop::spawn(async move { listener.accept().await.map(drop) });
    }
    ringloop::spawn(sleep(Duration::from_secs(3600)));
    let kept = Rc::clone(&listener);
    ringloop::call_later(Duration::from_secs(3600), move || drop(kept));
    drop(listener);
    turns(1000).await; // the writes fill the sockets, a piece per turn
    let in_flight = Handle::current().metrics().in_flight;
    assert_eq!(in_flight, 20 + 21 + 10 + 5 + 1);
    (addr, peers)
}

/// Goal: a runtime that is dropped at any moment leaves no descriptor.
///
/// Method: 300 runtimes with a few busy connections, dropped after a random number of turns.
///
/// Kills: a state in which teardown misses an operation; a completion during the drain that starts
/// a new operation.
fn c6_dropping_a_runtime_at_any_moment(on: Driver) {
    let before = open_fds();
    let mut dice = Dice::new(9);
    for _ in 0..scaled(300) {
        let runtime = on
            .builder()
            .ring_entries(4, 8)
            .recv_buffers(2, 64)
            .linger(Duration::ZERO)
            .on_unhandled(|_| {}) // bytes on their way are lost, which is what is asked for
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(any_addr()).unwrap();
            let addr = listener.local_addr().unwrap();
            ringloop::spawn(async move {
                loop {
                    let mut stream = listener.accept().await.unwrap();
                    ringloop::spawn(async move {
                        while let Ok(bytes) = stream.recv().await {
                            if bytes.is_empty() || stream.send(bytes).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            });
            for _ in 0..dice.roll(8) {
                ringloop::spawn(async move {
                    let mut stream = TcpStream::connect(addr).await.unwrap();
                    loop {
                        stream.write_all(&[5; 200]).await.unwrap();
                        stream.read_exact(&mut [0; 150]).await.unwrap();
                    }
                });
            }
            turns(dice.roll(20) as usize).await;
        });
        drop(runtime);
    }
    assert_eq!(open_fds(), before);
}

/// Goal: bytes queued on a dropped stream are delivered, also when the runtime is dropped right
/// after, and also when the stream is dropped by the runtime's end.
///
/// Method: queue 256 KiB, which the peer reads on another thread, and drop; both ways.
///
/// Kills: teardown without the linger; a linger that does not submit queued sends.
fn a_dropped_stream_delivers_although_the_runtime_ends(on: Driver) {
    for is_tasks in [false, true] {
        let before = open_fds();
        let (ours, mut theirs) = blocking_pair();
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).expect("no reset");
            received
        });
        let runtime = on.runtime();
        runtime.block_on(async move {
            let mut stream = TcpStream::from_std(ours);
            stream.send(coded_bytes(0, 256 << 10)).await.unwrap();
            if is_tasks {
                ringloop::spawn(async move { stream.recv().await.map(drop) });
                turns(2).await;
            }
        });
        drop(runtime);
        let received = reading.join().unwrap();
        assert_eq!(received.len(), 256 << 10);
        assert_coded(0, &received);
        assert_eq!(open_fds(), before);
    }
}

/// Goal: resources that outlive their runtime are safe: received buffers keep their bytes, streams
/// and listeners return errors and close when dropped, handles have metrics and spawn cancelled
/// tasks.
///
/// Method: take one of each out of a runtime, use it after the runtime's end, and in another one.
///
/// Kills: a pool that is unmapped before its buffers; a submit on a closed driver; a wait that does
/// not end.
fn what_outlives_its_runtime_is_harmless(on: Driver) {
    let before = open_fds();
    let runtime = on.runtime();
    let handle = runtime.handle();
    let (mut stream, mut peer, buf, listener) = runtime.block_on(async {
        let (mut stream, mut peer) = std_pair();
        peer.write_all(&coded_bytes(3, 100)).unwrap();
        let buf = stream.recv().await.unwrap();
        let listener = TcpListener::bind(any_addr()).unwrap();
        (stream, peer, buf, listener)
    });
    drop(runtime);

    assert_coded(3, &buf);
    let is_run = Rc::new(Cell::new(false));
    let would_run = Rc::clone(&is_run);
    let late = handle.spawn(async move { would_run.set(true) });
    assert!(late.is_finished());
    let other = on.runtime();
    other.block_on(async {
        assert!(late.await.unwrap_err().is_cancelled());
        stream.recv().await.expect_err("its runtime is gone");
        listener.accept().await.expect_err("its runtime is gone");
        let (mut sender, mut receiver) = tcp_pair().await;
        sender.send(buf).await.unwrap(); // a buffer of another loop's pool
        let mut received = [0; 100];
        receiver.read_exact(&mut received).await.unwrap();
        assert_coded(3, &received);
    });
    assert!(!is_run.get());
    assert_eq!(handle.metrics().tasks, 0);
    drop((stream, listener));
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed at once");
    drop((other, peer, handle));
    assert_eq!(open_fds(), before);
}

/// Goal: a runtime can be built, used, and dropped inside another loop.
///
/// Method: one with a pending read and an unfinished task, dropped in a task of the outer loop,
/// which goes on working.
///
/// Kills: the end of the inner loop clearing the context or the queue of the outer loop.
fn a_runtime_may_end_inside_another(on: Driver) {
    let before = open_fds();
    let (ours, mut theirs) = blocking_pair();
    let inner = on.runtime();
    inner.block_on(async {
        let mut stream = TcpStream::from_std(ours);
        ringloop::spawn(async move { stream.recv().await.map(drop) });
        turns(3).await;
    });
    on.run(async move {
        let task = ringloop::spawn(async move { drop(inner) });
        task.await.unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        assert_eq!(ringloop::spawn(async { 7 }).await.unwrap(), 7);
        let (mut client, mut server) = tcp_pair().await;
        client.write_all(b"on").await.unwrap();
        assert_eq!(&*server.recv().await.unwrap(), b"on");
    });
    assert_eq!(open_fds(), before);
}

/// Goal: a dropped stream whose peer does not read is reset after the builder's `linger`, and the
/// loss is reported exactly once, while the loop goes on.
///
/// Method: linger of 30 ms, more bytes than the socket takes, a peer that waits; then the report's
/// count, the reset at the peer, and the descriptors.
///
/// Kills: a linger without a limit; a loss without a report; an orderly end after a loss.
fn a_stalled_peer_does_not_keep_a_dropped_stream(on: Driver) {
    let before = open_fds();
    let lost = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&lost);
    let runtime = on
        .builder()
        .linger(Duration::from_millis(30))
        .on_unhandled(move |unhandled| match unhandled {
            Unhandled::BackgroundClose { unsent_bytes, error } => {
                heard.borrow_mut().push((*unsent_bytes, error.kind()))
            }
            other => panic!("{other}"),
        })
        .build()
        .unwrap();
    let mut peer = runtime.block_on(async {
        let (mut stream, peer) = tight_pair();
        stream.send(vec![1; BIG]).await.unwrap();
        drop(stream);
        assert_eq!(Handle::current().metrics().closing_streams, 1);
        // Counted by turns of the loop: `until` would spin for the 30 ms.
        while Handle::current().metrics().closing_streams > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        until(|| Handle::current().metrics().in_flight == 0).await;
        turns(2).await;
        peer
    });
    let (unsent_bytes, kind) = lost.borrow()[0];
    assert_eq!((lost.borrow().len(), kind), (1, std::io::ErrorKind::TimedOut));
    let mut received_bytes = 0;
    let mut buf = vec![0; 65536];
    let end = loop {
        match peer.read(&mut buf) {
            Ok(0) => panic!("an orderly end after a loss"),
            Ok(count) => received_bytes += count,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(end, std::io::ErrorKind::ConnectionReset);
    assert!(received_bytes + unsent_bytes <= BIG, "{unsent_bytes} unsent");
    drop((runtime, peer));
    assert_eq!(open_fds(), before);
}

/// Goal: an awaited `close()` returns its result: bytes sent, or timed out.
///
/// Method: one peer that reads and one that does not.
///
/// Kills: `close` returning before the descriptor is free, or without the error.
fn close_returns_the_outcome(on: Driver) {
    let runtime = on
        .builder()
        .linger(Duration::from_millis(30))
        .on_unhandled(|unhandled| panic!("heard already: {unhandled}"))
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut stream, mut peer) = std_pair();
        let before = open_fds();
        stream.write_all(b"last words").await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(open_fds().len(), before.len() - 1, "not closed");
        let mut received = String::new();
        peer.read_to_string(&mut received).unwrap();
        assert_eq!(received, "last words");

        let (mut stream, _peer) = tight_pair();
        stream.send(vec![1; BIG]).await.unwrap();
        let error = stream.close().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        until(|| Handle::current().metrics().in_flight == 0).await;
    });
}

/// Goal: a write to a stream whose runtime has ended fails and does not wait.
///
/// Method: take a stream out, drop its runtime, write and flush in another loop.
///
/// Kills: queueing bytes that will not be sent.
fn writing_after_the_runtimes_end_is_an_error(on: Driver) {
    let runtime = on.runtime();
    let (mut stream, _peer) = runtime.block_on(async { std_pair() });
    drop(runtime);
    on.run(async {
        let writing = async {
            stream.write_all(b"?").await?;
            stream.flush().await
        };
        writing.await.expect_err("its loop is gone");
    });
}

/// Goal: a stream that outlives its runtime closes when it is dropped, whatever was queued on it.
///
/// Method: queue two buffers, so that the first send ends during the drain with the second waiting;
/// drop the runtime, then the stream. Descriptors, and the peer's view.
///
/// Kills: a reference cycle of a list of the closed reactor and the socket.
fn a_stream_that_outlives_its_runtime_closes(on: Driver) {
    let before = open_fds();
    let runtime = on.runtime();
    let (stream, mut peer) = runtime.block_on(async {
        let (mut stream, peer) = std_pair();
        stream.send(vec![1; 1000]).await.unwrap();
        stream.send(vec![2; 1000]).await.unwrap();
        (stream, peer)
    });
    drop(runtime);
    drop(stream);
    let _ended_or_reset = peer.read_to_end(&mut Vec::new()); // returns, unless it is open
    drop(peer);
    assert_eq!(open_fds(), before);
}

/// Goal: when no task awaits a `close()` any more, a loss is reported to `on_unhandled`, as for a
/// dropped stream.
///
/// Method: a stalled peer, a `close()` that is polled once and dropped, a short linger.
///
/// Kills: an error that only the dropped future would have returned.
fn a_dropped_close_reports_its_loss(on: Driver) {
    let lost = Rc::new(Cell::new(0));
    let heard = Rc::clone(&lost);
    let runtime = on
        .builder()
        .linger(Duration::from_millis(10))
        .on_unhandled(move |unhandled| {
            assert!(matches!(unhandled, Unhandled::BackgroundClose { .. }));
            heard.set(heard.get() + 1);
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut stream, _peer) = tight_pair();
        stream.send(vec![1; BIG]).await.unwrap();
        assert!(poll_once(pin!(stream.close())).await.is_pending());
        while Handle::current().metrics().closing_streams > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        turns(3).await;
    });
    assert_eq!(lost.get(), 1);
}

/// Goal: a peer that resets a connection causes no report, at any rate, and each one is counted.
///
/// Method: 1 000 streams with queued bytes whose peer resets; every second stream reads the reset
/// first, so that its send fails with `EPIPE` in place of `ECONNRESET`. Drop each stream; compare
/// the reports and the counter.
///
/// Kills: a report for each reset; a reset that is neither reported nor counted.
fn peers_that_reset_are_counted_and_not_reported(on: Driver) {
    let reports = Rc::new(Cell::new(0));
    let hook_reports = Rc::clone(&reports);
    let runtime = on
        .builder()
        .on_unhandled(move |_| hook_reports.set(hook_reports.get() + 1))
        .build()
        .unwrap();
    let peers_count = scaled(1_000);
    runtime.block_on(async {
        for number in 0..peers_count {
            let (mut stream, peer) = std_pair();
            socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            if number % 2 == 0 {
                stream.recv().await.unwrap_err();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        }
        until(|| Handle::current().metrics().closing_streams == 0).await;
    });
    let metrics = runtime.handle().metrics();
    drop(runtime);
    assert_eq!((reports.get(), metrics.peer_resets), (0, peers_count));
}
