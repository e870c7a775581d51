//! A driver that fails under its operations.

use std::cell::Cell;
use std::io;
use std::thread;
use std::time::Duration;

use super::*;
use crate::driver::request::{Flags, OpKind, Request};
use crate::driver::uring::entry::Entry;
use crate::driver::uring::scripted::{FailAt, Seen};
use crate::sys::errno;
use crate::time::{sleep, timeout};
use crate::{JoinHandle, spawn};

const BYTES: &[u8] = b"twelve bytes";

fn says_that_the_driver_failed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.expect_err("an error");
    let text = error.to_string();
    assert!(text.starts_with("the io_uring driver failed: "), "{text}");
}

/// One operation of every kind in flight, each with a task that waits for it.
async fn one_of_each(script: &Script) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    let (mut starved, _peer) = stream();
    tasks.push(spawn(async move { says_that_the_driver_failed(starved.recv().await) }));
    turns(2).await;
    script.complete(script.the(OpKind::Recv), -errno::ENOBUFS, Flags::NONE);
    turns(2).await;
    script.the(OpKind::RecvInto);

    let (mut reader, _peer) = stream();
    tasks.push(spawn(async move { says_that_the_driver_failed(reader.recv().await) }));
    let (mut writer, _peer) = stream();
    tasks.push(spawn(async move {
        writer.write_all(BYTES).await.unwrap();
        says_that_the_driver_failed(writer.flush().await);
        says_that_the_driver_failed(writer.write_all(BYTES).await);
        says_that_the_driver_failed(writer.close().await);
    }));
    let listener = Rc::new(listener());
    for _ in 0..2 {
        let listener = Rc::clone(&listener);
        tasks.push(spawn(async move { says_that_the_driver_failed(listener.accept().await) }));
    }
    tasks.push(spawn(async {
        says_that_the_driver_failed(TcpStream::connect("127.0.0.1:9").await);
    }));
    turns(2).await;
    for op_kind in [OpKind::RecvInto, OpKind::Recv, OpKind::Send, OpKind::Accept, OpKind::Connect] {
        script.the(op_kind);
    }
    tasks
}

/// Goal: when a driver cannot go on, every operation in flight and every later one ends with the
/// reason; tasks, timers and wakes from other threads go on; it is reported once; the loop ends.
///
/// Method: one operation of each kind in flight, two tasks on one accept; the next enter fails, as
/// forbidden or with a completion dropped (H02). Then a sleep, a wake from a thread, new
/// operations.
///
/// Kills: a panic; one operation that is not answered; one of two accepts that is left waiting; an
/// operation that is let in after that; a sleep that nothing ends; a report per turn.
#[test]
fn a_failed_driver_fails_every_operation_and_nothing_else() {
    for code in [errno::EPERM, errno::ENOSYS] {
        let (script, runtime, reports) = reporting();
        runtime.block_on(async {
            let tasks = one_of_each(&script).await;
            script.fail_enter(FailAt::BeforeSubmission, code);
            end(tasks).await;
            assert_eq!(metrics().in_flight, 0);

            says_that_the_driver_failed(TcpStream::connect("127.0.0.1:9").await);
            says_that_the_driver_failed(listener().accept().await);
            let (mut late, _peer) = stream();
            says_that_the_driver_failed(late.recv().await);
            says_that_the_driver_failed(late.write_all(BYTES).await);
            drop(late);

            let start_ns = script.now_ns();
            sleep(Duration::from_secs(5)).await;
            assert_eq!(script.now_ns() - start_ns, 5_000_000_000);
            assert!(timeout(Duration::from_secs(1), std::future::pending::<()>()).await.is_err());
            woken_by_a_thread().await;
        });
        assert!(script.is_leaked(), "the ring still has operations");
        drop(runtime);
        let reports = reports.take();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].starts_with("the io_uring driver failed: "), "{reports:?}");
    }
}

/// Goal: a task that tries a refused operation again and again lets the others run.
///
/// Method: after the driver has failed, connect, accept, receive and write in loops; each may count
/// to 1 000 before a timer ends it. Kills: a refusal that is returned around the budget.
#[test]
fn operations_refused_in_a_loop_let_others_run() {
    const TRIES_MAX: u32 = 1_000;
    let (script, runtime, _reports) = reporting();
    runtime.block_on(async {
        let (mut reader, _peer) = stream();
        let (mut writer, _peer) = stream();
        let listener = listener();
        script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
        says_that_the_driver_failed(reader.recv().await);
        let is_over = Rc::new(Cell::new(false));
        let over = Rc::clone(&is_over);
        let task = spawn(async move {
            for tries in 0.. {
                if over.get() {
                    return tries;
                }
                assert!(tries < TRIES_MAX, "nothing else has run");
                match tries / (TRIES_MAX / 4) {
                    0 => says_that_the_driver_failed(TcpStream::connect("127.0.0.1:9").await),
                    1 => says_that_the_driver_failed(listener.accept().await),
                    2 => says_that_the_driver_failed(reader.recv().await),
                    _ => says_that_the_driver_failed(writer.write_all(BYTES).await),
                }
            }
            unreachable!("an endless loop has ended")
        });
        turns(6).await;
        is_over.set(true);
        let tries = task.await.unwrap();
        assert!(tries > TRIES_MAX / 2, "{tries}");
    });
}

/// Waits for the tasks, with an end in virtual time.
async fn end(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        timeout(Duration::from_secs(60), task).await.expect("nothing hangs").unwrap();
    }
}

/// Sleeps until another thread ends it.
async fn woken_by_a_thread() {
    let mut wakes_left = 2;
    poll_fn(|cx| {
        wakes_left -= 1;
        if wakes_left == 0 {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        thread::spawn(move || waker.wake());
        Poll::Pending
    })
    .await;
}

/// Goal: what the kernel was lent when the driver failed is never freed, moved or given to others,
/// in whatever order values are dropped (the first tenet).
///
/// Method: a private receive, a send and a connect in flight; the driver fails, tasks and runtime
/// go, and the allocator is kept busy with pieces of the same sizes. Then the kernel acts: it reads
/// what it was to send and where it was to connect to, and writes what it received.
///
/// Kills: an owner that takes its memory back as after a cancel (also found by AddressSanitizer).
#[test]
fn what_was_lent_to_a_failed_driver_stays_lent() {
    let (script, runtime, _reports) = reporting();
    let (receive, send, connect) = runtime.block_on(async {
        let tasks = one_of_each(&script).await;
        let ops =
            (script.the(OpKind::RecvInto), script.the(OpKind::Send), script.the(OpKind::Connect));
        script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
        end(tasks).await;
        ops
    });
    drop(runtime);
    let busy: Vec<Vec<u8>> = (0..8000).map(|i| vec![0xAA; 8 + i % 400]).collect();

    assert_eq!(script.bytes_of(send), BYTES);
    assert_eq!(script.port_of(connect), 9);
    assert!(script.deliver(receive, &[0x55; 64], false));
    let is_untouched = |piece: &Vec<u8>| piece.iter().all(|&byte| byte == 0xAA);
    assert!(busy.iter().all(is_untouched), "the kernel has written to memory of another owner");
}

/// Goal: an operation that found the submission queue full when the driver failed ends as all
/// others, and its memory is freed, as the kernel was never given it.
///
/// Method: more sends of shared bytes in one turn than the queue has entries; the next enter fails.
/// Compare the errors, and count the owners of the bytes that are left.
///
/// Kills: memory that is leaked without need; a queue that keeps requests of operations that ended.
#[test]
fn what_the_kernel_was_not_given_is_freed_when_the_driver_fails() {
    const SENDS: usize = 12;
    let (script, runtime, _reports) = reporting();
    let bytes: Rc<[u8]> = BYTES.into();
    let pushed_count = Rc::new(Cell::new(0));
    let count = Rc::clone(&pushed_count);
    script.observe(move |seen| {
        if matches!(seen, Seen::Pushed(_, Entry::Op(Request::Send { .. }))) {
            count.set(count.get() + 1);
        }
    });
    runtime.block_on(async {
        turns(1).await;
        script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
        let mut streams: Vec<_> = (0..SENDS).map(|_| stream()).collect();
        for (stream, _peer) in &mut streams {
            stream.send(Rc::clone(&bytes)).await.unwrap();
        }
        for (stream, _peer) in &mut streams {
            says_that_the_driver_failed(stream.flush().await);
        }
        assert_eq!(metrics().in_flight, 0);
    });
    let lent_count = pushed_count.get();
    assert!((1..SENDS).contains(&lent_count), "{lent_count}");
    assert_eq!(Rc::strong_count(&bytes), 1 + lent_count);
}

/// Goal: completions that were queued when the driver failed are delivered.
///
/// Method: bytes are in the completion queue when an enter fails. Kills: returning before reaping.
#[test]
fn what_came_before_the_failure_is_not_lost() {
    let (script, runtime, _reports) = reporting();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        let mut recv = Box::pin(stream.recv());
        assert!(poll_once(recv.as_mut()).await.is_pending());
        turns(1).await;
        script.deliver(script.the(OpKind::Recv), BYTES, true);
        script.show();
        script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
        let mut other = pin_connect();
        // So that there is something to enter for.
        assert!(poll_once(other.as_mut()).await.is_pending());
        assert_eq!(&*recv.await.unwrap(), BYTES);
        says_that_the_driver_failed(other.await);
        says_that_the_driver_failed(stream.recv().await);
    });
}

fn pin_connect() -> Pin<Box<dyn Future<Output = io::Result<TcpStream>>>> {
    Box::pin(TcpStream::connect("127.0.0.1:9"))
}

/// Goal: connections that the kernel had accepted before the driver failed are not left open
/// without an owner, however many they are.
///
/// Method: more of them in the completion queue than a turn collects when an enter fails; then the
/// listener goes, and each peer looks. Kills: giving up the queue with the first failed enter.
#[test]
fn connections_that_came_before_the_failure_are_closed() {
    const COUNT: usize = 1500;
    let script = Script::new();
    let runtime = Runtime::builder()
        .ring_entries(2048, 4096)
        .recv_buffers(2048, 64)
        .on_unhandled(|_| ())
        .build_scripted(&script);
    runtime.block_on(async {
        let listener = listener();
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(accept.as_mut()).await.is_pending());
        turns(1).await;
        let op = script.the(OpKind::Accept);
        let mut theirs = Vec::new();
        for _ in 0..COUNT {
            let (ours, their) = std::os::unix::net::UnixStream::pair().unwrap();
            their.set_nonblocking(true).unwrap();
            script.complete(op, std::os::fd::IntoRawFd::into_raw_fd(ours), Flags::NONE.with_more());
            theirs.push(their);
        }
        script.show();
        script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
        let mut other = pin_connect();
        assert!(poll_once(other.as_mut()).await.is_pending());
        says_that_the_driver_failed(other.await);
        drop(accept);
        drop(listener);
        turns(4).await;
        let mut open = 0;
        for their in &theirs {
            open += usize::from(peer_sees(their) == Peer::Open);
        }
        assert_eq!(open, 0, "connections without an owner");
    });
}

/// Goal: a stream whose bytes went down with the driver does not end as if they had been sent.
///
/// Method: a send in flight on a TCP connection, the driver fails, the stream is dropped before or
/// after; then the peer reads. Kills: a close that sends FIN after a loss.
#[test]
fn a_loss_is_no_orderly_end() {
    for is_dropped_before in [false, true] {
        let (script, runtime, _reports) = reporting();
        let mut theirs = runtime.block_on(async {
            let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let theirs = std::net::TcpStream::connect(bound.local_addr().unwrap()).unwrap();
            let mut stream = TcpStream::from_std(bound.accept().unwrap().0);
            stream.write_all(BYTES).await.unwrap();
            turns(2).await;
            script.the(OpKind::Send);
            script.fail_enter(FailAt::BeforeSubmission, errno::EPERM);
            let mut other = pin_connect();
            assert!(poll_once(other.as_mut()).await.is_pending());
            let stream = if is_dropped_before {
                drop(stream);
                None
            } else {
                Some(stream)
            };
            says_that_the_driver_failed(other.await);
            drop(stream);
            turns(2).await;
            theirs
        });
        let end = theirs.read(&mut [0; 64]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "dropped before: {is_dropped_before}");
    }
}

/// Goal: more operations than keys can name are an error of the one that is too many, and leave no
/// slot behind.
/// Method: room for three; a fourth receive, send, accept and connect; then one of the three ends.
/// Kills: an assertion in `Key::new`; a slot that is inserted before the check; an error that ends
/// the stream for reading; a close that waits for its limit although its send was refused.
#[test]
fn operations_beyond_the_last_key_are_errors() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        context::current().reactor.set_index_max(2);
        let mut held: Vec<_> = (0..3).map(|_| stream()).collect();
        for (stream, _peer) in &mut held {
            assert!(poll_once(Box::pin(stream.recv()).as_mut()).await.is_pending());
        }
        let (mut late, _peer) = stream();
        let listener = listener();
        for _ in 0..2 {
            assert_eq!(errno_of(late.recv().await), errno::ENOBUFS);
            assert_eq!(errno_of(listener.accept().await), errno::ENOBUFS);
            assert_eq!(errno_of(TcpStream::connect("127.0.0.1:9").await), errno::ENOBUFS);
        }
        let (mut writer, _peer) = stream();
        writer.write_all(b"no slot").await.unwrap();
        assert_eq!(errno_of(writer.flush().await), errno::ENOBUFS);
        let (mut closer, _peer) = stream();
        closer.write_all(b"no slot").await.unwrap();
        assert_eq!(errno_of(closer.close().await), errno::ENOBUFS);
        assert_eq!((metrics().in_flight, metrics().timers), (3, 0));

        script.complete(script.all(OpKind::Recv)[0], 0, Flags::NONE);
        turns(1).await;
        assert!(poll_once(Box::pin(late.recv()).as_mut()).await.is_pending());
        assert_eq!(metrics().in_flight, 3);
    });
}
