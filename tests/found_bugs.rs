//! Tests that fail today. Each moves to the file of its subject when its bug is gone.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::pin::pin;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use common::{LIMIT, blocking_pair, open_fds, poll_once, run, serial, std_pair, turns, within};
use ringloop::net::TcpStream;
use ringloop::time::{Instant, sleep, sleep_until, timeout};
use ringloop::{Handle, Runtime, Unhandled};

const BIG: usize = 32 << 20;

/// Goal: the smallest ring that the builder accepts works.
///
/// Method: one entry each. Kills: a probe that needs room for two entries at once.
#[test]
fn a_submission_queue_of_one() {
    let _serial = serial();
    within(LIMIT, || {
        let runtime = Runtime::builder().ring_entries(1, 1).build().unwrap();
        runtime.block_on(async { sleep(Duration::from_millis(1)).await });
    });
}

/// Goal: writing to a stream whose runtime has ended is an error, not a wait without end.
///
/// Method: carry a stream out, drop its runtime, write and flush in another loop.
///
/// Kills: queueing bytes that nobody will ever send.
#[test]
fn writing_after_the_runtimes_end_is_an_error() {
    let _serial = serial();
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (mut stream, _peer) = runtime.block_on(async { std_pair() });
        drop(runtime);
        ringloop::run(async {
            let writing = async {
                stream.write_all(b"?").await?;
                stream.flush().await
            };
            let written = timeout(Duration::from_secs(2), writing).await;
            written.expect("an answer").expect_err("its loop is gone");
        });
    });
}

/// Goal: a stream that outlives its runtime closes when it is dropped, whatever was queued on it.
///
/// Method: queue two buffers, so that the first send ends during the drain with the second waiting;
/// drop the runtime, then the stream. Descriptors, and the peer's view.
///
/// Kills: a list of the closed reactor that keeps the socket, which keeps the reactor.
#[test]
fn a_stream_that_outlives_its_runtime_closes() {
    let _serial = serial();
    within(LIMIT, || {
        let before = open_fds();
        let runtime = Runtime::new().unwrap();
        let (stream, mut peer) = runtime.block_on(async {
            let (mut stream, peer) = std_pair();
            stream.send(vec![1; 1000]).await.unwrap();
            stream.send(vec![2; 1000]).await.unwrap();
            (stream, peer)
        });
        drop(runtime);
        drop(stream);
        peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut received = Vec::new();
        let end = peer.read_to_end(&mut received);
        assert!(
            !matches!(&end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "still open"
        );
        drop(peer);
        assert_eq!(open_fds(), before);
    });
}

/// Goal: timers with equal deadlines fire in the order they were set (B1), whatever they do.
///
/// Method: a sleep and a callback in turns, all for the same moment.
///
/// Kills: callbacks overtaking sleeps of the same expiry.
#[test]
fn sleeps_and_callbacks_of_one_deadline_keep_their_order() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let deadline = Instant::now() + Duration::from_millis(20);
        for number in 0..6 {
            let order = Rc::clone(&order);
            if number % 2 == 0 {
                ringloop::spawn(async move {
                    sleep_until(deadline).await;
                    order.borrow_mut().push(number);
                });
                turns(2).await; // it has set its timer
            } else {
                ringloop::call_at(deadline, move || order.borrow_mut().push(number));
            }
        }
        sleep_until(deadline + Duration::from_millis(1)).await;
        turns(2).await;
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 5]);
    });
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

const CHILD: &str = "RINGLOOP_TEST_CHILD";

/// Goal: a task whose destructor panics at the runtime's end costs its panic and nothing else (K1).
///
/// Method: in a process of its own, because the failure is an abort: a left-over task that holds
/// such a value, and another one whose destructor must run all the same.
///
/// Kills: dropping a `Runnable` with its future inside, which aborts on panic.
#[test]
fn a_destructor_that_panics_at_the_end() {
    let _serial = serial();
    if std::env::var_os(CHILD).is_some() {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&reports);
        let runtime = Runtime::builder()
            .on_unhandled(move |unhandled| heard.borrow_mut().push(unhandled.to_string()))
            .build()
            .unwrap();
        let witness = Rc::new(());
        runtime.block_on(async {
            let value = PanicsWhenDropped;
            ringloop::spawn(async move {
                let _value = value;
                std::future::pending::<()>().await;
            });
            let witness = Rc::clone(&witness);
            ringloop::spawn(async move {
                let _witness = witness;
                std::future::pending::<()>().await;
            });
            turns(2).await;
        });
        drop(runtime);
        assert_eq!(Rc::strong_count(&witness), 1);
        assert_eq!(reports.borrow().len(), 1);
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_destructor_that_panics_at_the_end"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}: {text}", child.status);
}

/// Goal: a callback whose destructor panics at the runtime's end stops neither the drain nor the
/// close: nothing is freed early and no descriptor stays open.
///
/// Method: a timer's callback that holds such a value, with a read into a private buffer in
/// flight; drop the runtime; the panic is reported, not unwound; descriptors.
///
/// Kills: dropping timers with no `catch_unwind` before operations are drained.
#[test]
fn a_callback_whose_destructor_panics_at_the_end() {
    let _serial = serial();
    within(LIMIT, || {
        let before = open_fds();
        let reports = Rc::new(Cell::new(0));
        let heard = Rc::clone(&reports);
        let runtime =
            Runtime::builder().on_unhandled(move |_| heard.set(heard.get() + 1)).build().unwrap();
        let mut peer = runtime.block_on(async {
            let (mut stream, peer) = std_pair();
            ringloop::spawn(async move { stream.recv().await.map(drop) });
            let value = PanicsWhenDropped;
            ringloop::call_later(Duration::from_secs(3600), move || drop(value));
            turns(3).await;
            peer
        });
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(runtime)));
        assert!(dropped.is_ok(), "unwound out of the runtime's drop");
        assert_eq!(reports.get(), 1);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        drop(peer);
        assert_eq!(open_fds(), before);
    });
}

/// Goal: a stream that a pending callback owns still delivers what was queued when the runtime
/// ends, as one that a task owns does.
///
/// Method: queue bytes, move the stream into a callback for later, drop the runtime.
///
/// Kills: callbacks of timers dropped only after the linger.
#[test]
fn a_stream_in_a_callback_delivers_at_the_end() {
    let _serial = serial();
    within(LIMIT, || {
        let (ours, mut theirs) = blocking_pair();
        theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).map(|_| received.len())
        });
        let lost = Rc::new(Cell::new(0));
        let heard = Rc::clone(&lost);
        let runtime =
            Runtime::builder().on_unhandled(move |_| heard.set(heard.get() + 1)).build().unwrap();
        runtime.block_on(async move {
            let mut stream = TcpStream::from_std(ours);
            for _ in 0..4 {
                stream.send(vec![1; 10_000]).await.unwrap();
            }
            ringloop::call_later(Duration::from_secs(3600), move || drop(stream));
        });
        drop(runtime);
        assert_eq!((reading.join().unwrap().ok(), lost.get()), (Some(40_000), 0));
    });
}

/// Goal: when nobody awaits a `close()` any more, a loss reaches `on_unhandled`, as it does for a
/// dropped stream: nothing is lost in silence.
///
/// Method: a stalled peer, a `close()` that is polled once and dropped, a short linger.
///
/// Kills: the error put where only the dropped future would have looked.
#[test]
fn a_dropped_close_reports_its_loss() {
    let _serial = serial();
    within(LIMIT, || {
        let lost = Rc::new(Cell::new(0));
        let heard = Rc::clone(&lost);
        let runtime = Runtime::builder()
            .linger(Duration::from_millis(10))
            .on_unhandled(move |unhandled| {
                assert!(matches!(unhandled, Unhandled::BackgroundClose { .. }));
                heard.set(heard.get() + 1);
            })
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut stream, _peer) = std_pair();
            stream.send(vec![1; BIG]).await.unwrap();
            assert!(poll_once(pin!(stream.close())).await.is_pending());
            while Handle::current().metrics().closing > 0 {
                sleep(Duration::from_millis(5)).await;
            }
            turns(3).await;
        });
        assert_eq!(lost.get(), 1);
    });
}

/// Goal: a socket from elsewhere that is in non-blocking mode works like any other.
///
/// Method: hand one over before bytes are there; read, and write more than the socket holds.
///
/// Kills: `EAGAIN` as an answer, retried without a wait.
#[test]
fn a_nonblocking_socket_from_elsewhere() {
    let _serial = serial();
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = blocking_pair();
            ours.set_nonblocking(true).unwrap();
            let mut stream = TcpStream::from_std(ours);
            assert!(poll_once(pin!(stream.recv())).await.is_pending());
            let turns_before = Handle::current().metrics().turns;
            assert!(timeout(Duration::from_millis(20), stream.recv()).await.is_err());
            let turns_taken = Handle::current().metrics().turns - turns_before;
            assert!(turns_taken < 20, "{turns_taken} turns while nothing happens");
            theirs.write_all(b"hello").unwrap();
            assert_eq!(&*stream.recv().await.unwrap(), b"hello");
            let reading = std::thread::spawn(move || {
                let mut received = Vec::new();
                theirs.read_to_end(&mut received).map(|_| received.len())
            });
            stream.send(vec![1; 8 << 20]).await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(reading.join().unwrap().unwrap(), 8 << 20);
        });
    });
}
