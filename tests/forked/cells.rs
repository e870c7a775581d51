//! The processes that the tests start: each builds a loop, forks, and checks both sides.
#![allow(clippy::async_yields_async)] // handles leave their loop on purpose

use std::future::{Future, pending};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringloop::net::{TcpListener, TcpStream};
use ringloop::task::yield_now;
use ringloop::time::{call_later, interval, sleep};
use ringloop::{Handle, Runtime, spawn};

use crate::common::{Woken, any_addr, turns, until};
use crate::process::{
    How, Occupied, eventfd_counts, exit, fork, gettid, is_asleep, is_open, may_fork, occupy,
    ring_mappings, wait_for_children,
};
use crate::resources::{Resources, all_work, connected, is_pending, make};
use crate::signals::signals;
use crate::threads;

const HOUR: Duration = Duration::from_secs(3600);

/// The text of a panic in a forked child.
const REASON: &str = "this process is a child that was forked later";

pub(crate) const ALL: &[(&str, fn())] = &[
    ("drops fork", || drops(How::Fork)),
    ("drops clone", || drops(How::Clone)),
    ("drops nothing", drops_nothing),
    ("uses fork", || uses(How::Fork)),
    ("uses clone", || uses(How::Clone)),
    ("in a task fork", || in_a_task(How::Fork)),
    ("in a task clone", || in_a_task(How::Clone)),
    ("goes on", goes_on),
    ("returns", returns),
    ("wakes", wakes),
    ("signals fork", || signals(How::Fork)),
    ("signals clone", || signals(How::Clone)),
    ("jobs", threads::jobs),
    ("remote", threads::remote),
];

fn echo_on_a_loop_of_its_own() {
    ringloop::run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let (mut stream, mut peer) = connected(&listener).await;
        peer.write_all(b"echo").unwrap();
        let bytes = stream.recv().await.unwrap();
        stream.send(bytes).await.unwrap();
        stream.close().await.unwrap();
        let mut echoed = Vec::new();
        peer.read_to_end(&mut echoed).unwrap();
        assert_eq!(echoed, b"echo");
        sleep(Duration::from_millis(1)).await;
        assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
    });
}

/// A value of a task that no child may drop.
pub(crate) struct OfTheParent(u32);

impl OfTheParent {
    pub(crate) fn new() -> OfTheParent {
        OfTheParent(std::process::id())
    }
}

impl Drop for OfTheParent {
    fn drop(&mut self) {
        if std::process::id() != self.0 {
            eprintln!("a task was dropped in a child");
            exit(3);
        }
    }
}

/// Children drop all resources, each in another order, and then run a loop of their own.
fn drops(how: How) {
    let runtime = Runtime::new().unwrap();
    let all = runtime.block_on(make());
    let handle = runtime.handle();
    let others = runtime.block_on(async {
        let failed = spawn(async { panic!("reported by the parent, once") });
        let (waits, calls) = (spawn(pending::<()>()), call_later(HOUR, || ()));
        turns(2).await;
        assert!(failed.is_finished());
        let guard = OfTheParent::new();
        let not_polled = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        (failed, waits, calls, interval(HOUR), not_polled)
    });
    let mut state = Some((runtime, all, handle, others));
    let queues = ring_mappings();
    for first in 0..DROPS_COUNT {
        fork(how, || {
            let occupied = occupy(&queues);
            let inside = Runtime::new().unwrap();
            let (runtime, all, handle, others) = state.take().unwrap();
            let mut drops = drops_of(all);
            drops.push(Box::new(|| drop(others)));
            drops.push(Box::new(|| drop((runtime, handle))));
            assert_eq!(drops.len(), DROPS_COUNT);
            drops.rotate_left(first);
            drops.into_iter().for_each(|drop_one| drop_one());
            inside.block_on(sleep_once());
            drop(inside);
            assert!(occupied.iter().all(Occupied::is_intact), "what took the place of the queues");
            echo_on_a_loop_of_its_own();
        });
    }
    let (runtime, all, _handle, others) = state.unwrap();
    runtime.block_on(all_work(all));
    drop(others);
}

const DROPS_COUNT: usize = 10;

/// Each drops a resource, and checks that the child's descriptor is closed.
fn drops_of(all: Resources) -> Vec<Box<dyn FnOnce()>> {
    fn closes<T: AsRawFd + 'static>(name: &'static str, dropped: T) -> Box<dyn FnOnce()> {
        Box::new(move || {
            let fd = dropped.as_raw_fd();
            drop(dropped);
            assert!(!is_open(fd), "{name} is open in the child");
        })
    }
    let Resources {
        tcp,
        unix,
        path,
        reader,
        writer,
        half,
        other_half,
        watched,
        idle,
        sleep,
        buffer,
        ..
    } = all;
    vec![
        closes("a listener", tcp),
        Box::new(move || {
            drop(unix);
            assert!(path.exists(), "the path of a listener");
        }),
        closes("a stream that reads", reader),
        closes("a stream that writes", writer),
        Box::new(|| drop((half, other_half))),
        Box::new(|| drop(watched.into_inner())),
        Box::new(|| drop(idle)),
        Box::new(|| {
            drop(sleep);
            assert_eq!(&*buffer, b"kept", "received bytes stay readable");
            drop(buffer);
        }),
    ]
}

async fn sleep_once() {
    sleep(Duration::from_millis(1)).await;
}

/// The child ends in order with the parent's loop on its stack and in its thread-locals.
fn drops_nothing() {
    let runtime = Runtime::new().unwrap();
    let all = runtime.block_on(make());
    runtime.block_on(async {
        fork(How::Fork, || std::process::exit(0));
    });
    runtime.block_on(all_work(all));
}

pub(crate) fn panics(name: &str, run: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else { panic!("{name}: no panic") };
    let text = payload.downcast_ref::<String>().map_or("no text", String::as_str);
    assert!(text.contains(REASON) && text.contains("tests/forked/"), "{name}: {text}");
}

type Use<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The child uses the parent's loop in every way, on a loop of its own and on none.
fn uses(how: How) {
    let runtime = Runtime::new().unwrap();
    let mut all = Some(runtime.block_on(make()));
    let mut task = Some(runtime.block_on(async { spawn(pending::<()>()) }));
    fork(how, || {
        let task = task.take().unwrap();
        let Resources {
            tcp,
            unix,
            mut reader,
            mut writer,
            mut half,
            mut other_half,
            watched,
            sleep,
            ..
        } = all.take().unwrap();
        panics("block_on", || runtime.block_on(async {}));
        panics("spawn", || drop(runtime.handle().spawn(async {})));
        assert!(Handle::try_current().is_none());
        let uses: Vec<(&str, Use<'_>)> = vec![
            ("accept", Box::pin(async { drop(tcp.accept().await) })),
            ("incoming", Box::pin(async { drop(unix.incoming().next().await) })),
            ("recv", Box::pin(async { drop(reader.recv().await) })),
            ("write_all", Box::pin(async { drop(writer.write_all(b"x").await) })),
            ("shutdown", Box::pin(async { drop(half.shutdown().await) })),
            ("recv of a half", Box::pin(async { drop(other_half.recv().await) })),
            ("readable", Box::pin(async { drop(watched.readable().await) })),
            ("sleep", Box::pin(sleep)),
            ("join", Box::pin(async { drop(task.await) })),
        ];
        for (name, mut used) in uses {
            // A future that has panicked may not be polled again, so the first poll decides.
            let mut poll = || assert!(!Arc::new(Woken::default()).poll(used.as_mut()).is_ready());
            match name.len() % 2 {
                0 => panics(name, || ringloop::run(async { poll() })),
                _ => panics(name, poll),
            }
        }
        panics("close", || ringloop::run(async { drop(writer.close().await) }));
        panics("abort", || reader.abort());
    });
    runtime.block_on(all_work(all.unwrap()));
}

/// The child is forked inside a task: it finds no loop, runs loops of its own there, and so does
/// a child of the child.
fn in_a_task(how: How) {
    let runtime = Runtime::new().unwrap();
    let all = runtime.block_on(make());
    runtime.block_on(async {
        let forking = spawn(async move {
            let listener = TcpListener::bind(any_addr()).unwrap();
            let (mut stream, mut peer) = connected(&listener).await;
            assert!(is_pending(stream.recv()));
            peer.write_all(b"queued").unwrap();
            let woken = Arc::new(Woken::default());
            assert!(woken.poll(std::pin::pin!(stream.recv())).is_pending());
            until(|| woken.is_woken()).await;
            fork(how, || {
                let poll = |stream: &mut TcpStream| assert!(is_pending(stream.recv()));
                panics("recv of queued bytes", || poll(&mut stream));
                assert!(Handle::try_current().is_none());
                panics("current", || drop(Handle::current()));
                panics("spawn", || drop(spawn(async {})));
                panics("sleep", || drop(sleep(HOUR)));
                panics("bind", || drop(TcpListener::bind(any_addr())));
                echo_on_a_loop_of_its_own();
                ringloop::run(async move {
                    assert!(Handle::try_current().is_some());
                    fork(how, || {
                        assert!(Handle::try_current().is_none());
                        echo_on_a_loop_of_its_own();
                    });
                    sleep_once().await;
                });
                assert!(Handle::try_current().is_none(), "the parent's loop is not back");
                panics("spawn again", || drop(spawn(async {})));
            });
            Handle::current().metrics().tasks
        });
        assert_eq!(forking.await.unwrap(), 1);
    });
    runtime.block_on(all_work(all));
}

/// The child goes on with the parent's loop: its `block_on` panics before any other task of the
/// parent's is polled there, and before the loop enters the kernel.
fn goes_on() {
    let runtime = Runtime::new().unwrap();
    let all = runtime.block_on(make());
    let (mut seen, mut seen_by) = StdUnixStream::pair().unwrap();
    let parent = std::process::id();
    let on_the_loop = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let forking = spawn(async move {
                let is_child = may_fork();
                yield_now().await;
                is_child
            });
            let other = spawn(async move { seen.write_all(b"1").unwrap() });
            let (is_child, wrote) = (forking.await.unwrap(), other.await);
            assert!(!is_child, "the child's loop has turned");
            wrote.unwrap();
        });
    }));
    if std::process::id() != parent {
        let payload = on_the_loop.unwrap_err();
        let text = payload.downcast_ref::<String>().map_or("no text", String::as_str);
        let is_right = text.contains(REASON);
        drop((all, runtime));
        exit(i32::from(!is_right));
    }
    on_the_loop.unwrap();
    wait_for_children();
    let mut bytes = Vec::new();
    seen_by.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"1", "polled in one process");
    runtime.block_on(all_work(all));
}

/// The main future forks, and the child leaves `block_on` with a value.
fn returns() {
    let runtime = Runtime::new().unwrap();
    let all = runtime.block_on(make());
    let is_child = runtime.block_on(async {
        let is_child = may_fork();
        if !is_child {
            yield_now().await;
        }
        is_child
    });
    if is_child {
        let is_right = catch_unwind(AssertUnwindSafe(|| {
            drop((all, runtime));
            echo_on_a_loop_of_its_own();
        }));
        exit(i32::from(is_right.is_err()));
    }
    wait_for_children();
    runtime.block_on(all_work(all));
}

/// A thread forks while the loop sleeps, and the child wakes everything it has a waker of.
fn wakes() {
    let runtime = Runtime::new().unwrap();
    let (sender, receiver) = channel::<(Waker, Waker, ringloop::task::AbortHandle)>();
    let sleeper = gettid();
    let thread = std::thread::spawn(move || {
        let (main, task, abort) = receiver.recv().unwrap();
        while !is_asleep(sleeper) {
            std::thread::yield_now();
        }
        fork(How::Fork, || {
            main.wake_by_ref();
            task.wake_by_ref();
            abort.abort();
            assert_eq!(eventfd_counts(), [0], "the parent's loop was woken");
        });
        main.wake();
    });
    runtime.block_on(async {
        let (to_main, task_waker) = channel();
        let task = spawn(std::future::poll_fn(move |cx| {
            to_main.send(cx.waker().clone()).unwrap();
            Poll::<()>::Pending
        }));
        turns(2).await;
        let mut polls_count = 0;
        std::future::poll_fn(|cx| {
            polls_count += 1;
            if polls_count == 1 {
                let task_waker = task_waker.recv().unwrap();
                sender.send((cx.waker().clone(), task_waker, task.abort_handle())).unwrap();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        assert!(!task.is_finished());
    });
    thread.join().unwrap();
}
