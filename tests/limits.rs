//! Too little of everything: pool buffers, descriptors, queue entries. Slower is fine, lost is not.
#![allow(unsafe_code)] // setrlimit(2)

mod common;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use common::{
    LIMIT, assert_coded, blocking_pair, coded_bytes, run, serial, std_pair, tcp_pair, until, within,
};
use ringloop::net::{TcpListener, TcpStream};
use ringloop::time::{Instant, timeout_at};
use ringloop::{Builder, DriverKind, Handle, Runtime, Unhandled};

/// Goal: reading works while the program holds every buffer of the pool, and the end of a stream
/// is seen all the same.
///
/// Method: hold received buffers until the pool has none left, then serve other connections, keep
/// the buffers unchanged meanwhile, and read the ends.
///
/// Kills: re-arming the multishot for ever on ENOBUFS; a read that waits for a buffer; a buffer
/// given out twice; an end that ENOBUFS hides.
#[test]
fn reading_works_while_the_program_holds_every_buffer() {
    let _serial = serial();
    within(LIMIT, || {
        let runtime = Runtime::builder().recv_buffers(4, 64).build().unwrap();
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
            assert!(metrics().enobufs < 100, "{} ENOBUFS", metrics().enobufs);

            let mut position = 0;
            for buf in hoard {
                assert_coded(position, &buf);
                position += buf.len() as u64;
            }
            assert_eq!(metrics().buffers_held, 0, "all given back");
        });
    });
}

/// Goal: with far fewer buffers and queue entries than connections, nothing is lost and nobody is
/// stuck, and every buffer comes back (I19, I20, and 3.1: selected buffers).
///
/// Method: 64 connections that all have bytes at once, on the smallest queues, with one and with
/// four buffers of 64 bytes: coded bytes go round in both directions, some readers are dropped and
/// replaced midway.
///
/// Kills: an overflowed completion queue that is not flushed; a full submission queue that drops a
/// request; a cap that never lets go; a stream left paused after ENOBUFS.
#[test]
fn the_smallest_queues_lose_nothing() {
    let _serial = serial();
    for (submission, completion, buffers) in [(1, 1, 1), (2, 4, 1), (2, 4, 4), (4, 8, 2)] {
        within(LIMIT, || {
            let builder =
                Runtime::builder().ring_entries(submission, completion).recv_buffers(buffers, 64);
            echo_among_64(builder);
        });
    }
}

const LEN: usize = 8 * 1024;

fn echo_among_64(builder: Builder) {
    let runtime = builder.build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..64_u64)
            .map(|number| {
                ringloop::spawn(async move {
                    let (client, server) = tcp_pair().await;
                    let echo = ringloop::spawn(echo_with_drops(server));
                    let (mut reader, mut writer) = client.into_split();
                    let sending = ringloop::spawn(async move {
                        for start in (0..LEN).step_by(512) {
                            let piece = coded_bytes(number + start as u64, 512);
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
                    assert_eq!(position - number, LEN as u64, "bytes came back");
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
        assert_eq!(metrics().strays, 0);
        assert_eq!(metrics().spin_backoffs, 0);
    });
}

/// An echo that drops each `recv` after one poll and starts another.
async fn echo_with_drops(mut stream: TcpStream) {
    loop {
        let early = common::poll_once(pin!(stream.recv())).await;
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

/// Goal: when many more reads than there are queue entries end at the same instant, every one of
/// them ends, and its operation too (C5).
///
/// Method: 64 idle reads with one common deadline on queues of 2 and 4, each dropping its stream.
///
/// Kills: cancels dropped when the submission queue is full.
#[test]
fn cancels_beyond_the_queue_are_kept() {
    let _serial = serial();
    within(LIMIT, || {
        let runtime = Runtime::builder().ring_entries(2, 4).build().unwrap();
        runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_millis(20);
            let (tasks, peers): (Vec<_>, Vec<_>) = (0..64)
                .map(|_| {
                    let (mut stream, peer) = std_pair();
                    let task = ringloop::spawn(async move {
                        timeout_at(deadline, stream.recv()).await.map(drop)
                    });
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
    });
}

/// Goal: a burst of far more completions than the completion queue has entries loses none (I20).
///
/// Method: arm 200 reads, let all peers write before the loop enters the kernel again, and count.
///
/// Kills: sleeping on the overflow sign; reaping once and calling it all.
#[test]
fn a_burst_beyond_the_completion_queue_arrives() {
    let _serial = serial();
    within(LIMIT, || {
        let runtime = Runtime::builder().ring_entries(2, 4).build().unwrap();
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
            for round in 1..=20 {
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
        assert_eq!(metrics.strays, 0);
    });
}

/// Goal: a server that has run out of descriptors neither spins nor gives up: it tries again now
/// and then, reports once, and takes everybody once there is room (I1).
///
/// Method: three clients in the backlog, no descriptor left; count completions while the loop waits
/// for a while, then give descriptors back. Twice, as a new shortage is a new report.
///
/// Kills: re-arming at once on EMFILE; a report per attempt; a listener that stays asleep; a
/// shortage that is never over.
#[test]
fn accepting_rests_while_there_are_no_descriptors() {
    let _serial = serial();
    within(LIMIT, || {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&reports);
        let runtime = Runtime::builder()
            .on_unhandled(move |unhandled| match unhandled {
                Unhandled::AcceptCapacity { error } => {
                    heard.borrow_mut().push(error.raw_os_error())
                }
                other => panic!("{other}"),
            })
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            let metrics = || Handle::current().metrics();
            // The limit stays low throughout: an accept is held to the limit it was armed under.
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
                let rests = start.elapsed().as_millis() as u64 / 100;
                let completions = metrics().completions - before.completions;
                assert!(completions <= 2 * rests + 6, "{completions} in {rests}");
                assert_eq!(reports.borrow().len(), shortage, "one report each");

                full.give_back(3);
                for _ in &clients {
                    listener.accept().await.expect("a client that waited");
                }
                drop(clients);
                full.take_again();
            }
        });
        assert_eq!(*reports.borrow(), [Some(libc::EMFILE); 2]);
        assert_eq!(runtime.handle().metrics().spin_backoffs, 0);
    });
}

/// Goal: set-up without descriptors fails with advice and leaks none.
///
/// Method: build a runtime with 0, 1, … descriptors left until it works.
///
/// Kills: a panic in set-up; a descriptor left open by a set-up that failed halfway.
#[test]
fn setup_without_descriptors_says_what_to_do() {
    let _serial = serial();
    within(LIMIT, || {
        let mut failed = 0;
        loop {
            let mut full = NoDescriptors::take_all();
            full.give_back(failed);
            let fds = || common::open_fds().len();
            let built = Runtime::new();
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
    });
}

/// Goal: a `connect` without descriptors is that call's error and nothing else.
///
/// Method: connect with none left, then with some.
///
/// Kills: a panic or a slot left behind on the way out.
#[test]
fn connecting_without_descriptors_is_an_error() {
    let _serial = serial();
    run(async {
        let peer = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = peer.local_addr().unwrap();
        let full = NoDescriptors::take_all();
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        drop(full);
        assert_eq!(Handle::current().metrics().in_flight, 0);
        TcpStream::connect(addr).await.unwrap();
    });
}

/// Goal: a reader that takes nothing for a while costs a bounded number of buffers, and gets every
/// byte afterwards.
///
/// Method: the peer writes until the socket is full while a receive is armed and nobody reads; the
/// loop turns until nothing changes; then all of it is read and compared.
///
/// Kills: no backpressure on the receive; bytes lost with the cancel that backpressure sends.
#[test]
fn a_slow_reader_holds_few_buffers_and_loses_nothing() {
    let _serial = serial();
    run(async {
        let (ours, mut peer) = blocking_pair();
        let mut stream = TcpStream::from_std(ours);
        peer.set_nonblocking(true).unwrap();
        let (mut sent, mut position) = (0_u64, 0_u64);
        for _ in 0..20 {
            let mut recv = Box::pin(stream.recv());
            if let Poll::Ready(buf) = common::poll_once(recv.as_mut()).await {
                let buf = buf.unwrap();
                assert_coded(position, &buf);
                position += buf.len() as u64;
            }
            drop(recv); // the receive stays armed, and nobody takes what it brings
            loop {
                match peer.write(&coded_bytes(sent, 4096)) {
                    Ok(count) => sent += count as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
                common::turns(1).await;
            }
            common::turns(10).await;
            let held = Handle::current().metrics().buffers_held;
            assert!(held <= 64, "{held} buffers for one idle reader");
            while position < sent {
                let buf = stream.recv().await.unwrap();
                assert_coded(position, &buf);
                position += buf.len() as u64;
            }
        }

        // What is queued when the stream goes is given back with it.
        assert!(common::poll_once(pin!(stream.recv())).await.is_pending());
        peer.write_all(&coded_bytes(0, 4096)).unwrap();
        common::turns(10).await;
        assert!(Handle::current().metrics().buffers_held > 0);
        drop(stream);
        assert_eq!(Handle::current().metrics().buffers_held, 0);
    });
}

/// All descriptors that this process may open, taken. Gives them back when dropped.
struct NoDescriptors {
    former: libc::rlimit,
    taken: Vec<File>,
}

impl NoDescriptors {
    fn take_all() -> NoDescriptors {
        let highest = File::open("/dev/null").unwrap().as_raw_fd() as libc::rlim_t;
        let mut former = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both calls get a valid `rlimit`; lowering the soft limit closes nothing.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut former), 0);
            let lowered = libc::rlimit {
                rlim_cur: (highest + 16).min(former.rlim_cur),
                rlim_max: former.rlim_max,
            };
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &lowered), 0);
        }
        let mut full = NoDescriptors { former, taken: Vec::new() };
        full.take_again();
        full
    }

    fn take_again(&mut self) {
        self.taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    }

    fn give_back(&mut self, count: usize) {
        self.taken.truncate(self.taken.len() - count);
    }

    /// Whether `count` descriptors, and no more, are free.
    fn has_left(&self, count: usize) -> bool {
        let free: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        free.len() == count
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        // SAFETY: a valid `rlimit`, which held before.
        let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &self.former) };
        assert_eq!(status, 0, "raising the soft limit to what it was");
    }
}
