//! Ends of a runtime with panics in destructors, callbacks that own streams, and thread-locals.

mod common;

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{LIMIT, blocking_pair, open_fds, serial, std_pair, turns, within};
use ringloop::Runtime;
use ringloop::net::{TcpStream, UnixStream};
use ringloop::time::sleep;
use socket2::{Domain, SockAddr, Socket, Type};

/// Goal: the smallest ring that the builder accepts works.
///
/// Method: one entry each. Kills: a probe that needs room for two entries at once.
#[test]
fn a_submission_queue_of_one_is_enough() {
    let _serial = serial();
    within(LIMIT, || {
        let runtime = Runtime::builder().ring_entries(1, 1).build().unwrap();
        runtime.block_on(async { sleep(Duration::from_millis(1)).await });
    });
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

const CHILD: &str = "RINGLOOP_TEST_CHILD";

/// Goal: a task whose destructor panics at the runtime's end does not affect others (K1).
///
/// Method: in a process of its own, because the failure is an abort: a left-over task that holds
/// such a value, and another one whose destructor must run.
///
/// Kills: dropping a `Runnable` with its future inside, which aborts on panic.
#[test]
fn a_destructor_that_panics_does_not_stop_the_end() {
    let _serial = serial(); // the other process is started with pipes
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
        .args(["--exact", "a_destructor_that_panics_does_not_stop_the_end"])
        .env(CHILD, "1")
        .env("RINGLOOP_DEBUG", "0") // no lines about slow polls, which load causes
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}: {text}", child.status);
}

/// Goal: a callback whose destructor panics at the runtime's end stops neither the drain nor the
/// close: no memory is freed early and no descriptor stays open.
///
/// Method: a timer's callback that holds such a value, with a read into a private buffer in
/// flight; drop the runtime; the panic is reported, not unwound; descriptors.
///
/// Kills: dropping timers with no `catch_unwind` before operations are drained.
#[test]
fn a_callback_whose_destructor_panics_does_not_stop_the_end() {
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

/// Goal: a stream that a pending callback owns still sends its queued bytes when the runtime ends,
/// as one that a task owns does.
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

/// Goal: a runtime in a thread-local ends with its thread.
///
/// Method: such a thread, and its end.
///
/// Kills: use of a thread-local that has been destroyed.
#[test]
fn a_runtime_in_a_thread_local_ends_with_its_thread() {
    thread_local! {
        static RUNTIME: Runtime = Runtime::new().expect("a driver");
    }
    let _serial = serial();
    let thread = std::thread::spawn(|| RUNTIME.with(|runtime| runtime.block_on(turns(3))));
    thread.join().expect("a thread that ends well");
}

thread_local! {
    static KEPT: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Goal: a Unix connect that waits for room may be dropped by the end of its thread.
///
/// Method: a runtime in a thread-local that is destroyed after those of the loop, with a connect
/// that waits at a full backlog. Kills: a destructor that uses a destroyed table.
#[test]
fn a_connect_may_end_with_its_thread() {
    let _serial = serial();
    let path = std::env::temp_dir().join(format!("ringloop-{}-ending", std::process::id()));
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let reports = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&reports);
    let addr = path.clone();
    let thread = std::thread::spawn(move || {
        let runtime = Runtime::builder()
            .on_unhandled(move |unhandled| heard.lock().unwrap().push(unhandled.to_string()))
            .build()
            .unwrap();
        KEPT.with_borrow(|_| ()); // the first one that is used is destroyed last
        runtime.block_on(async {
            let connects = [(); 3].map(|()| ringloop::spawn(UnixStream::connect(addr.clone())));
            turns(5).await;
            assert!(!connects[2].is_finished());
        });
        KEPT.set(Some(runtime));
    });
    thread.join().unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(*reports.lock().unwrap(), [""; 0]);
}
