//! Futures that are awaited on another runtime of the same thread, or outside of any, while their
//! own loop has not ended. They would never be woken, so each panics and names the places where
//! both runtimes were built.
#![allow(clippy::async_yields_async)] // futures leave their loop on purpose

use std::any::Any;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream as _;
use ringloop::io::AsyncFd;
use ringloop::net::{TcpListener, TcpStream, UnixListener, UnixStream, serve};
use ringloop::signal::{SignalKind, ctrl_c, shutdown, signal};
use ringloop::testing::settle;
use ringloop::time::{Instant, advance, interval, sleep, timeout};
use ringloop::{Runtime, spawn};

use crate::common::{Woken, any_addr, any_name, std_pair, tight_pair, turns, unanswering_addr};
use crate::{Body, Driver, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    what_is_awaited_elsewhere_panics_and_names_both_runtimes,
    a_resource_works_at_home_after_it_was_awaited_elsewhere,
    a_finished_task_is_joined_anywhere,
];

const HOUR: Duration = Duration::from_secs(3600);

/// More bytes than a tight connection holds.
const LARGE_BYTES: usize = 4 << 20;

type Carried = Pin<Box<dyn Future<Output = ()>>>;

/// A future of the current loop, and a value that must live as long.
type Maker = fn() -> (Carried, Box<dyn Any>);

fn boxed(future: impl Future + 'static, other: impl Any) -> (Carried, Box<dyn Any>) {
    (Box::pin(async move { drop(future.await) }), Box::new(other))
}

/// A stream with full buffers, and its peer.
fn full(bytes: usize) -> (TcpStream, std::net::TcpStream) {
    let (mut stream, peer) = tight_pair();
    let woken = Arc::new(Woken::default());
    let queued = woken.poll(pin!(stream.send(vec![1; bytes])));
    assert!(queued.is_ready());
    (stream, peer)
}

fn unix_pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn watched() -> (AsyncFd<StdUnixStream>, StdUnixStream) {
    let (ours, peer) = StdUnixStream::pair().unwrap();
    (AsyncFd::new(ours).unwrap(), peer)
}

fn fill(mut socket: &StdUnixStream) {
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[7; 4096]).is_ok() {}
}

fn listener() -> TcpListener {
    TcpListener::bind(any_addr()).unwrap()
}

/// Every future of the library that waits. `tests/tidy/leaves.rs` checks that none is missing.
const LEAVES: &[(&str, Maker)] = &[
    ("recv", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.recv().await.map(drop) }, p)
    }),
    ("read", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.read(&mut [0; 8]).await }, p)
    }),
    ("read_exact", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.read_exact(&mut [0; 8]).await }, p)
    }),
    ("recv_deadline", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.recv_deadline(Instant::now() + HOUR).await.map(drop) }, p)
    }),
    ("read_deadline", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.read_deadline(&mut [0; 8], Instant::now() + HOUR).await }, p)
    }),
    ("read_exact_deadline", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.read_exact_deadline(&mut [0; 8], Instant::now() + HOUR).await }, p)
    }),
    ("accept_deadline", || {
        let listener = listener();
        let at = Instant::now() + HOUR;
        boxed(async move { listener.accept_deadline(at).await.map(drop) }, ())
    }),
    ("readable of a stream", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.readable().await }, p)
    }),
    ("peek", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.peek(&mut [0; 8]).await }, p)
    }),
    ("closed", || {
        let (s, p) = std_pair();
        boxed(async move { s.closed().await }, p)
    }),
    ("recv of a half", || {
        let (mut s, p) = std_pair();
        boxed(async move { s.split().0.recv().await.map(drop) }, p)
    }),
    ("recv of an owned half", || {
        let (mut h, o) = std_pair().0.into_split();
        boxed(async move { h.recv().await.map(drop) }, o)
    }),
    ("recv of a Unix stream", || {
        let (mut s, p) = unix_pair();
        boxed(async move { s.recv().await.map(drop) }, p)
    }),
    ("write_all", || {
        let (mut s, p) = full(LARGE_BYTES);
        boxed(async move { s.write_all(b"x").await }, p)
    }),
    ("write_all_vectored", || {
        let (mut s, p) = full(LARGE_BYTES);
        boxed(async move { s.write_all_vectored(&[std::io::IoSlice::new(b"x")]).await }, p)
    }),
    ("send", || {
        let (mut s, p) = full(LARGE_BYTES);
        boxed(async move { s.send(vec![1]).await }, p)
    }),
    ("flush", || {
        let (mut s, p) = full(LARGE_BYTES);
        boxed(async move { s.flush().await }, p)
    }),
    ("shutdown", || {
        let (mut s, p) = full(LARGE_BYTES);
        boxed(async move { s.shutdown().await }, p)
    }),
    ("write_all of an owned half", || {
        let (s, p) = full(LARGE_BYTES);
        let (o, mut h) = s.into_split();
        boxed(async move { h.write_all(b"x").await }, (o, p))
    }),
    ("close", || {
        let (s, p) = full(LARGE_BYTES);
        boxed(s.close(), p)
    }),
    ("close of a Unix stream", || {
        let (mut s, p) = unix_pair();
        boxed(
            async move {
                s.send(vec![1; LARGE_BYTES]).await?;
                s.close().await
            },
            p,
        )
    }),
    ("into_std", || {
        let (s, p) = full(LARGE_BYTES);
        boxed(async move { s.into_std().await.map(drop) }, p)
    }),
    ("connect", || {
        let (a, p) = unanswering_addr();
        boxed(async move { TcpStream::connect(a).await.map(drop) }, p)
    }),
    ("connect_timeout", || {
        let (a, p) = unanswering_addr();
        boxed(async move { TcpStream::connect_timeout(a, HOUR).await.map(drop) }, p)
    }),
    ("accept", || {
        let l = listener();
        boxed(async move { l.accept().await.map(drop) }, ())
    }),
    ("incoming", || {
        let l = listener();
        boxed(async move { l.incoming().next().await.map(drop) }, ())
    }),
    ("incoming as a Stream", || {
        let l = listener();
        boxed(
            async move {
                let mut i = l.incoming();
                poll_fn(|cx| Pin::new(&mut i).poll_next(cx).map(drop)).await
            },
            (),
        )
    }),
    ("accept of a Unix listener", || {
        let l = UnixListener::bind(any_name()).unwrap();
        boxed(async move { l.accept().await.map(drop) }, ())
    }),
    ("readable", || {
        let (w, p) = watched();
        boxed(async move { w.readable().await }, p)
    }),
    ("writable", || {
        let (w, p) = watched();
        fill(w.get_ref());
        boxed(async move { w.writable().await }, p)
    }),
    ("sleep", || boxed(sleep(HOUR), ())),
    ("timeout", || boxed(timeout(HOUR, pending::<()>()), ())),
    ("tick", || {
        let mut i = interval(HOUR);
        i.reset();
        boxed(async move { i.tick().await }, ())
    }),
    ("tick as a Stream", || {
        let mut i = interval(HOUR);
        i.reset();
        boxed(async move { poll_fn(|cx| Pin::new(&mut i).poll_next(cx)).await }, ())
    }),
    ("settle", || boxed(settle(), ())),
    ("advance", || boxed(advance(HOUR), ())),
    ("join", || boxed(spawn(pending::<()>()), ())),
    ("wait of a server", || {
        let server = serve(listener(), async |_| {});
        boxed(async move { server.wait().await }, ())
    }),
    ("ctrl_c", || boxed(ctrl_c(), ())),
    ("recv of a signal", || {
        let mut s = signal(SignalKind::window_change()).unwrap();
        boxed(async move { s.recv().await }, ())
    }),
    ("a signal as a Stream", || {
        let mut s = signal(SignalKind::window_change()).unwrap();
        boxed(async move { poll_fn(|cx| Pin::new(&mut s).poll_next(cx)).await }, ())
    }),
    ("recv of a shutdown", || {
        let mut s = shutdown().unwrap();
        boxed(async move { s.recv().await }, ())
    }),
];

/// These belong to the loop of their first poll.
const BOUND_BY_THEIR_FIRST_POLL: &[&str] =
    &["connect", "connect_timeout", "settle", "advance", "ctrl_c"];

fn panic_of(name: &str, run: impl FnOnce()) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else { panic!("{name}: no panic") };
    payload.downcast_ref::<String>().unwrap_or_else(|| panic!("{name}: no text")).clone()
}

/// Goal: a future that is polled on a foreign loop panics, at its first poll or a later one, and
/// the text has the places where both runtimes were built.
///
/// Method: every leaf future of the library, fresh and pending, on a second runtime of the thread
/// and on none; the second runtime goes on.
///
/// Kills: a leaf without its loop; a check that only a submit makes; a check that the end of one
/// loop disables for others; a wrong place.
fn what_is_awaited_elsewhere_panics_and_names_both_runtimes(on: Driver) {
    let builder = || on.builder().start_paused(true).on_unhandled(|_| ()); // paused: `advance`
    let (home_line, home) = (line!(), builder().build().unwrap());
    let (other_line, other) = (line!(), builder().build().unwrap());
    let home_place = format!("runtime built at tests/conformance/elsewhere.rs:{home_line}:");
    let other_place = format!("runtime built at tests/conformance/elsewhere.rs:{other_line}:");
    let poll = |future: &mut Carried| drop_poll(Arc::new(Woken::default()).poll(future.as_mut()));
    for (name, make) in LEAVES {
        for is_started in [false, true] {
            if !is_started && BOUND_BY_THEIR_FIRST_POLL.contains(name) {
                continue;
            }
            for is_on_another in [true, false] {
                let (mut future, _other) = home.block_on(async {
                    let (mut future, other) = make();
                    if is_started {
                        assert!(Arc::new(Woken::default()).poll(future.as_mut()).is_pending());
                        turns(2).await;
                    }
                    (future, other)
                });
                let text = match is_on_another {
                    true => panic_of(name, || other.block_on(async { poll(&mut future) })),
                    false => panic_of(name, || poll(&mut future)),
                };
                assert!(text.contains(&home_place), "{name}: {text}");
                assert_eq!(text.contains(&other_place), is_on_another, "{name}: {text}");
                assert_eq!(other.block_on(async { spawn(async { 7 }).await.unwrap() }), 7);
                home.block_on(async { drop(future) });
            }
        }
    }
}

fn drop_poll<T>(_outcome: T) {}

/// Goal: after a panic for the wrong loop, the resource works on its own loop.
///
/// Method: a read and a sleep that were polled on another loop; a byte; both on their own loop.
///
/// Kills: a check that comes after a change of state.
fn a_resource_works_at_home_after_it_was_awaited_elsewhere(on: Driver) {
    let (home, other) = (on.runtime(), on.runtime());
    let ((mut ours, mut theirs), mut sleep) =
        home.block_on(async { (unix_pair(), Box::pin(sleep(Duration::from_millis(1)))) });
    let read =
        |stream: &mut UnixStream| drop_poll(Arc::new(Woken::default()).poll(pin!(stream.recv())));
    panic_of("recv", || other.block_on(async { read(&mut ours) }));
    panic_of("sleep", || drop_poll(Arc::new(Woken::default()).poll(sleep.as_mut())));
    panic_of("shutdown", || drop_poll(Arc::new(Woken::default()).poll(pin!(theirs.shutdown()))));
    home.block_on(async {
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(&*ours.recv().await.unwrap(), b"x");
        sleep.await;
    });
}

/// Goal: the result of a task that has ended can be taken on any runtime and on none.
///
/// Method: two tasks that have ended.
///
/// Kills: a check for joins that need not wait.
fn a_finished_task_is_joined_anywhere(on: Driver) {
    let (home, other): (Runtime, Runtime) = (on.runtime(), on.runtime());
    let (one, two) = home.block_on(async {
        let tasks = (spawn(async { 1 }), spawn(async { 2 }));
        turns(2).await;
        tasks
    });
    assert_eq!(other.block_on(one).unwrap(), 1);
    let joined = Arc::new(Woken::default()).poll(pin!(two));
    assert!(matches!(joined, std::task::Poll::Ready(Ok(2))), "{joined:?}");
}
