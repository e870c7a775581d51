//! Shortages of pool buffers, descriptors and queue entries: they may delay, and must not lose.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::common::{
    LIMIT, any_addr, assert_coded, coded_bytes, open_fds, poll_once, scaled, std_pair, tcp_pair,
    tight_pair, turns, until,
};
use crate::descriptors::NoDescriptors;
use crate::{Body, Driver, bodies};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::{Instant, timeout_at};
use ringloop::{Builder, DriverKind, Handle, Unhandled};

pub(crate) const SHARED: &[Body] = bodies![
    i19_reading_works_while_the_program_holds_every_buffer,
    i19_waiting_without_a_pool_costs_nothing,
    i20_the_smallest_queues_lose_nothing,
    c5_cancels_beyond_the_queue_are_kept,
    i20_a_burst_beyond_the_completion_queue_arrives,
    a_slow_reader_holds_few_buffers_and_loses_nothing,
];
pub(crate) const ALONE: &[Body] = bodies![
    i1_accepting_pauses_while_there_are_no_descriptors,
    setup_without_descriptors_names_the_remedy,
    connecting_without_descriptors_is_an_error,
];

/// Goal: reading works while the program holds every buffer of the pool, and the end of a stream is
/// seen.
///
/// Method: hold received buffers until the pool has none left, then serve other connections, keep
/// the buffers unchanged meanwhile, and read the ends.
///
/// Kills: re-arming the multishot without end on ENOBUFS; a read that waits for a buffer; a buffer
/// used twice; an end that ENOBUFS hides.
fn i19_reading_works_while_the_program_holds_every_buffer(on: Driver) {
    let runtime = on.builder().recv_buffers(4, 64).build().unwrap();
    runtime.block_on(async {
        let (mut hoarder, mut hoarders_peer) = std_pair();
        let mut hoard = Vec::new();
        let mut hoarded = 0_u64;
        let metrics = || Handle::current().metrics();
        while metrics().buffers_held < 4 {
            let bytes = coded_bytes(hoarded, 64);
            hoarders_peer.write_all(&bytes).unwrap();
            let buf = hoarder.recv().await.unwrap();
            hoarded += buf.len() as u64;
            hoard.push(buf);
        }

        for _ in 0..10 {
            let (mut stream, mut peer) = std_pair();
            let sent = coded_bytes(7, 1000);
            peer.write_all(&sent).unwrap();
            let mut received = [0; 1000];
            stream.read_exact(&mut received).await.unwrap();
            assert_coded(7, &received);
            drop(peer);
            assert!(stream.recv().await.unwrap().is_empty(), "the end");
        }
        assert_eq!(metrics().buffers_held, 4);
        assert!(metrics().pool_exhausted < 100, "{} ENOBUFS", metrics().pool_exhausted);

        let mut position = 0;
        for buf in hoard {
            assert_coded(position, &buf);
            position += buf.len() as u64;
        }
        assert_eq!(metrics().buffers_held, 0, "all given back");
    });
}

/// Goal: connections that wait while the program holds every buffer of the pool neither spin nor
/// fail, and are served when bytes come.
///
/// Method: hold both buffers of the pool; 30 readers wait; count completions during a sleep of the
/// loop; one message to each; count again; then the ends. A sleep that takes longer passes as well.
///
/// Kills: an ENOBUFS for a receive without bytes; a private receive that is armed again when it has
/// found no bytes; a reader without a receive.
fn i19_waiting_without_a_pool_costs_nothing(on: Driver) {
    const READERS: u64 = 30;
    let runtime = on.builder().recv_buffers(2, 64).build().unwrap();
    let served = Rc::new(Cell::new(0));
    runtime.block_on(async {
        let metrics = || Handle::current().metrics();
        let (mut hoarder, mut hoarders_peer) = std_pair();
        let mut hoard = Vec::new();
        while metrics().buffers_held < 2 {
            hoarders_peer.write_all(&coded_bytes(0, 64)).unwrap();
            hoard.push(hoarder.recv().await.unwrap());
        }
        let mut peers = Vec::new();
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let (mut stream, peer) = std_pair();
            let served = Rc::clone(&served);
            readers.push(ringloop::spawn(async move {
                loop {
                    let buf = stream.recv().await.unwrap();
                    if buf.is_empty() {
                        return;
                    }
                    served.set(served.get() + buf.len() as u64);
                }
            }));
            peers.push(peer);
        }
        let rest = async || {
            turns(10).await;
            let before = metrics().completions;
            ringloop::time::sleep(Duration::from_millis(30)).await;
            let completions = metrics().completions - before;
            assert!(completions <= 10, "{completions} while nothing came");
            assert_eq!(metrics().buffers_held, 2);
        };
        rest().await;
        for round in 1..=3 {
            for peer in &mut peers {
                peer.write_all(b"!").unwrap();
            }
            until(|| served.get() == round * READERS).await;
            rest().await;
        }
        assert!(metrics().pool_exhausted <= 4 * READERS, "{} ENOBUFS", metrics().pool_exhausted);
        drop(peers);
        for reader in readers {
            reader.await.unwrap();
        }
    });
    assert_eq!(runtime.handle().metrics().spin_backoffs, 0);
}

/// Goal: with far fewer buffers and queue entries than connections, nothing is lost and no task is
/// stuck, and every buffer comes back (I19, I20, and 3.1: selected buffers).
///
/// Method: 64 connections that all have bytes at once, on the smallest queues, with one and with
/// four buffers of 64 bytes: coded bytes go round in both directions, some readers are dropped and
/// replaced midway.
///
/// Kills: an overflowed completion queue that is not flushed; a full submission queue that drops a
/// request; a cap that is not released; a stream that stays paused after ENOBUFS.
fn i20_the_smallest_queues_lose_nothing(on: Driver) {
    for (submission, completion, buffers) in [(1, 1, 1), (2, 4, 1), (2, 4, 4), (4, 8, 2)] {
        let builder = on.builder().ring_entries(submission, completion).recv_buffers(buffers, 64);
        echo_among_64(builder.linger(LIMIT)); // a slow peer must not lose bytes
    }
}

fn echo_among_64(builder: Builder) {
    let runtime = builder.build().unwrap();
    let len = scaled(8 * 1024).next_multiple_of(512);
    runtime.block_on(async {
        let tasks: Vec<_> = (0..64_u64)
            .map(|number| {
                ringloop::spawn(async move {
                    let (client, server) = tcp_pair().await;
                    let echo = ringloop::spawn(echo_with_drops(server));
                    let (mut reader, mut writer) = client.into_split();
                    let sending = ringloop::spawn(async move {
                        for start in (0..len).step_by(512) {
                            let piece = coded_bytes(number + start, 512);
                            writer.write_all(&piece).await.unwrap();
                        }
                        writer.shutdown().await.unwrap();
                    });
                    let mut position = number;
                    loop {
                        let bytes = reader.recv().await.unwrap();
                        if bytes.is_empty() {
                            break;
                        }
                        assert_coded(position, &bytes);
                        position += bytes.len() as u64;
                    }
                    assert_eq!(position - number, len, "bytes came back");
                    sending.await.unwrap();
                    echo.await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let metrics = || Handle::current().metrics();
        until(|| metrics().in_flight == 0).await;
        assert_eq!(metrics().buffers_held, 0);
        assert_eq!(metrics().stale_completions, 0);
        assert_eq!(metrics().spin_backoffs, 0);
    });
}

/// An echo that drops each `recv` after one poll and starts another.
async fn echo_with_drops(mut stream: TcpStream) {
    loop {
        let early = poll_once(pin!(stream.recv())).await;
        let bytes = match early {
            Poll::Ready(bytes) => bytes.unwrap(),
            Poll::Pending => stream.recv().await.unwrap(),
        };
        if bytes.is_empty() {
            break;
        }
        stream.send(bytes).await.unwrap();
    }
    stream.close().await.unwrap();
}

/// Goal: when many more reads than there are queue entries time out at once, every read ends, and
/// its operation too (C5).
///
/// Method: 64 idle reads with one common deadline on queues of 2 and 4, each dropping its stream.
///
/// Kills: cancels dropped when the submission queue is full.
fn c5_cancels_beyond_the_queue_are_kept(on: Driver) {
    let runtime = on.builder().ring_entries(2, 4).build().unwrap();
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_millis(20);
        let (tasks, peers): (Vec<_>, Vec<_>) = (0..64)
            .map(|_| {
                let (mut stream, peer) = std_pair();
                let task =
                    ringloop::spawn(
                        async move { timeout_at(deadline, stream.recv()).await.map(drop) },
                    );
                (task, peer)
            })
            .unzip();
        for task in tasks {
            assert!(task.await.unwrap().is_err(), "nothing was sent");
        }
        until(|| Handle::current().metrics().in_flight == 0).await;
        for mut peer in peers {
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed");
        }
    });
}

/// Goal: a burst of far more completions than the completion queue has entries loses none (I20).
///
/// Method: arm 200 reads, let all peers write before the loop enters the kernel again, and count.
///
/// Kills: sleeping while the overflow flag is set; reaping once for a queue that overflowed.
fn i20_a_burst_beyond_the_completion_queue_arrives(on: Driver) {
    let runtime = on.builder().ring_entries(2, 4).build().unwrap();
    runtime.block_on(async {
        let served = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..200 {
            let (mut stream, peer) = std_pair();
            let served = Rc::clone(&served);
            ringloop::spawn(async move {
                loop {
                    let bytes = stream.recv().await.unwrap();
                    if bytes.is_empty() {
                        return;
                    }
                    served.set(served.get() + bytes.len());
                }
            });
            peers.push(peer);
        }
        let in_flight = || Handle::current().metrics().in_flight;
        until(|| in_flight() == 200).await;
        for round in 1..=scaled(20) as usize {
            for peer in &mut peers {
                peer.write_all(b"!").unwrap();
            }
            until(|| served.get() == round * 200).await;
        }
        drop(peers);
        until(|| in_flight() == 0).await;
    });
    let metrics = runtime.handle().metrics();
    let has_queue = runtime.handle().driver().kind() == DriverKind::Uring;
    assert_eq!(metrics.cq_overflows > 0, has_queue, "the queue overflows where there is one");
    assert_eq!(metrics.stale_completions, 0);
}

/// Goal: a server without free descriptors neither spins nor stops: it retries after a pause,
/// reports once, and accepts all connections when descriptors are free (I1).
///
/// Method: three clients in the backlog, no descriptor left; count completions while the loop waits
/// for a while, then free descriptors. Twice, as a new shortage is a new report.
///
/// Kills: re-arming at once on EMFILE; a report per attempt; a listener that does not accept again;
/// a shortage that does not end.
fn i1_accepting_pauses_while_there_are_no_descriptors(on: Driver) {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&reports);
    let runtime = on
        .builder()
        .on_unhandled(move |unhandled| match unhandled {
            Unhandled::AcceptCapacity { error } => heard.borrow_mut().push(error.raw_os_error()),
            other => panic!("{other}"),
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let metrics = || Handle::current().metrics();
        // The limit stays low throughout: the kernel uses the limit from when the accept was armed.
        let mut full = NoDescriptors::take_all();
        for shortage in 1..=2 {
            let connect = |_| std::net::TcpStream::connect(addr).unwrap();
            full.give_back(3);
            let clients: Vec<_> = (0..3).map(connect).collect();
            assert!(full.has_left(0));

            let (before, start) = (metrics(), Instant::now());
            {
                let accept = pin!(listener.accept());
                let waiting = ringloop::time::timeout(Duration::from_millis(350), accept);
                assert!(waiting.await.is_err(), "there is no descriptor");
            }
            let backoffs = start.elapsed().as_millis() as u64 / 100;
            let completions = metrics().completions - before.completions;
            assert!(completions <= 2 * backoffs + 6, "{completions} in {backoffs}");
            assert_eq!(reports.borrow().len(), shortage, "one report each");

            // One more than there are clients: before 6.10 the kernel takes a descriptor before it
            // finds that no connection waits.
            full.give_back(4);
            for _ in &clients {
                listener.accept().await.expect("a client that waited");
            }
            drop(clients);
            full.take_again();
        }
    });
    assert_eq!(*reports.borrow(), [Some(libc::EMFILE); 2]);
    assert_eq!(runtime.handle().metrics().spin_backoffs, 0);
}

/// Goal: set-up without descriptors fails with advice and leaks none.
///
/// Method: build a runtime with 0, 1, … descriptors left until it works.
///
/// Kills: a panic in set-up; a descriptor left open by a set-up that failed halfway.
fn setup_without_descriptors_names_the_remedy(on: Driver) {
    let mut failed = 0;
    loop {
        let mut full = NoDescriptors::take_all();
        full.give_back(failed);
        let fds = || open_fds().len();
        let built = on.builder().build();
        match built {
            Ok(_runtime) => break,
            Err(error) => assert!(error.to_string().contains("ulimit -n"), "{error}"),
        }
        assert!(full.has_left(failed), "a failed set-up kept a descriptor");
        drop(full);
        assert!(fds() < 100);
        failed += 1;
    }
    assert!((1..10).contains(&failed), "it needs {failed} descriptors");
}

/// Goal: a `connect` without free descriptors fails, and has no other effect.
///
/// Method: connect with none left, then with some.
///
/// Kills: a panic; a slot that stays in use.
fn connecting_without_descriptors_is_an_error(on: Driver) {
    on.run(async {
        let peer = std::net::TcpListener::bind(any_addr()).unwrap();
        let addr = peer.local_addr().unwrap();
        let full = NoDescriptors::take_all();
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        drop(full);
        assert_eq!(Handle::current().metrics().in_flight, 0);
        TcpStream::connect(addr).await.unwrap();
    });
}

/// Goal: a reader that does not read for a while costs a bounded number of buffers, and gets every
/// byte later.
///
/// Method: the peer writes until the socket is full while a receive is armed and no task reads; the
/// loop turns until nothing changes; then all of it is read and compared.
///
/// Kills: no backpressure on the receive; bytes lost with the cancel that backpressure sends.
fn a_slow_reader_holds_few_buffers_and_loses_nothing(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = tight_pair();
        peer.set_nonblocking(true).unwrap();
        let (mut sent, mut position) = (0_u64, 0_u64);
        for _ in 0..scaled(20) {
            let mut recv = Box::pin(stream.recv());
            if let Poll::Ready(buf) = poll_once(recv.as_mut()).await {
                let buf = buf.unwrap();
                assert_coded(position, &buf);
                position += buf.len() as u64;
            }
            drop(recv); // the receive stays armed, and its bytes are not taken
            loop {
                match peer.write(&coded_bytes(sent, 4096)) {
                    Ok(count) => sent += count as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
                turns(1).await;
            }
            turns(10).await;
            let held = Handle::current().metrics().buffers_held;
            assert!(held <= 64, "{held} buffers for one idle reader");
            while position < sent {
                let buf = stream.recv().await.unwrap();
                assert_coded(position, &buf);
                position += buf.len() as u64;
            }
        }

        // Queued buffers are returned when the stream is dropped.
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        peer.write_all(&coded_bytes(0, 4096)).unwrap();
        until(|| Handle::current().metrics().buffers_held > 0).await;
        drop(stream);
        assert_eq!(Handle::current().metrics().buffers_held, 0);
    });
}
