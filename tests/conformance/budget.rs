//! The budget of a poll: a task that loops over one operation yields to other tasks.

use std::future::{pending, poll_fn};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_core::Stream as _;
use ringloop::io::AsyncFd;
use ringloop::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use ringloop::spawn;
use ringloop::task::yield_now;
use ringloop::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::common::{any_addr, any_name, lets_others_run};
use crate::{Body, Driver, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    reading_in_a_loop_lets_others_run,
    writing_in_a_loop_lets_others_run,
    halves_in_a_loop_let_others_run,
    refused_operations_in_a_loop_let_others_run,
    connecting_and_closing_in_a_loop_let_others_run,
    waiting_in_a_loop_lets_others_run,
];

fn unix_pair() -> (UnixStream, StdUnixStream) {
    let (ours, theirs) = StdUnixStream::pair().unwrap();
    (UnixStream::from_std(ours), theirs)
}

/// A stream whose peer has finished sending.
fn ended() -> UnixStream {
    unix_pair().0
}

/// Goal: reads at the end of a stream and reads into an empty slice spend the budget.
/// Method: each way to read, on a stream that has ended, in a loop.
/// Kills: a return before the budget is spent, in `poll_recv` or for an empty slice.
fn reading_in_a_loop_lets_others_run(on: Driver) {
    on.run(async {
        let mut stream = ended();
        lets_others_run("recv", async move || drop(stream.recv().await.unwrap())).await;
        let mut stream = ended();
        lets_others_run("read", async move || {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        })
        .await;
        let mut stream = ended();
        lets_others_run("read_exact", async move || {
            stream.read_exact(&mut [0]).await.unwrap_err();
        })
        .await;
        let mut stream = ended();
        lets_others_run("readable", async move || stream.readable().await.unwrap()).await;
        let mut stream = ended();
        lets_others_run("peek", async move || {
            assert_eq!(stream.peek(&mut [0]).await.unwrap(), 0);
        })
        .await;
        let mut stream = ended();
        lets_others_run("peek of nothing", async move || drop(stream.peek(&mut []).await)).await;
        let stream = ended();
        lets_others_run("closed", async move || stream.closed().await.unwrap()).await;
        let mut stream = ended();
        lets_others_run("read of nothing", async move || {
            stream.read(&mut []).await.unwrap();
        })
        .await;
        let mut stream = ended();
        lets_others_run("read_exact of nothing", async move || {
            stream.read_exact(&mut []).await.unwrap();
        })
        .await;
    });
}

/// Goal: a write that finds room, a flush of an empty queue and a repeated shutdown spend the
/// budget. Method: each in a loop, with a peer that does not read. Kills: a return before the
/// budget is spent, in `poll_flush` or for an empty piece.
fn writing_in_a_loop_lets_others_run(on: Driver) {
    on.run(async {
        let (mut stream, _peer) = unix_pair();
        lets_others_run("write_all", async move || stream.write_all(b"x").await.unwrap()).await;
        let (mut stream, _peer) = unix_pair();
        lets_others_run("write_all of nothing", async move || {
            stream.write_all(&[]).await.unwrap();
        })
        .await;
        let (mut stream, _peer) = unix_pair();
        lets_others_run("write_all_vectored of nothing", async move || {
            stream.write_all_vectored(&[]).await.unwrap();
        })
        .await;
        let (mut stream, _peer) = unix_pair();
        lets_others_run("send of nothing", async move || {
            stream.send(Vec::new()).await.unwrap();
        })
        .await;
        let (mut stream, _peer) = unix_pair();
        lets_others_run("flush", async move || stream.flush().await.unwrap()).await;
        let (mut stream, _peer) = unix_pair();
        lets_others_run("shutdown", async move || stream.shutdown().await.unwrap()).await;
        let (mut stream, _peer) = unix_pair();
        stream.shutdown().await.unwrap();
        lets_others_run("write_all after shutdown", async move || {
            stream.write_all(b"x").await.unwrap_err();
        })
        .await;
    });
}

/// Goal: the halves of a stream spend the budget as the stream does.
/// Method: each method of an owned half in a loop. Kills: a half with a future of its own.
fn halves_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let (mut half, _other) = ended().into_split();
        lets_others_run("recv", async move || drop(half.recv().await.unwrap())).await;
        let (mut half, _other) = ended().into_split();
        lets_others_run("read of nothing", async move || drop(half.read(&mut []).await)).await;
        let (mut half, _other) = ended().into_split();
        lets_others_run("read_exact", async move || drop(half.read_exact(&mut []).await)).await;
        let (stream, _peer) = unix_pair();
        let (_other, mut half) = stream.into_split();
        lets_others_run("write_all", async move || half.write_all(&[]).await.unwrap()).await;
        let (stream, _peer) = unix_pair();
        let (_other, mut half) = stream.into_split();
        lets_others_run("flush", async move || half.flush().await.unwrap()).await;
        let (stream, _peer) = unix_pair();
        let (_other, mut half) = stream.into_split();
        lets_others_run("shutdown", async move || half.shutdown().await.unwrap()).await;
    });
}

/// Goal: an operation that is refused because its loop has ended spends the budget.
/// Method: resources of an ended loop, each used in a loop on another one.
/// Kills: an error of `submit` that does not spend the budget.
fn refused_operations_in_a_loop_let_others_run(on: Driver) {
    let dead = on.runtime();
    let (listener, incoming, local, watch) = dead.block_on(async {
        let (fd, _peer) = StdUnixStream::pair().unwrap();
        let watch = AsyncFd::new(fd).unwrap();
        let bind = || TcpListener::bind(any_addr()).unwrap();
        (bind(), bind(), UnixListener::bind(any_name()).unwrap(), Rc::new(watch))
    });
    let (mut reader, mut writer) = dead.block_on(async { (unix_pair(), unix_pair()) });
    let handle = dead.handle();
    drop(dead);
    on.run(async {
        lets_others_run("accept", async move || {
            listener.accept().await.unwrap_err();
        })
        .await;
        lets_others_run("UnixListener::accept", async move || {
            local.accept().await.unwrap_err();
        })
        .await;
        let incoming = Rc::new(incoming);
        let other = Rc::clone(&incoming);
        lets_others_run("incoming().next", async move || {
            other.incoming().next().await.unwrap_err();
        })
        .await;
        lets_others_run("incoming() as a stream", async move || {
            let mut stream = incoming.incoming();
            let next = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await;
            next.unwrap().unwrap_err();
        })
        .await;
        let other = Rc::clone(&watch);
        lets_others_run("readable", async move || drop(other.readable().await.unwrap_err())).await;
        lets_others_run("writable", async move || drop(watch.writable().await.unwrap_err())).await;
        lets_others_run("recv", async move || drop(reader.0.recv().await.unwrap_err())).await;
        lets_others_run("write_all", async move || {
            writer.0.write_all(b"x").await.unwrap_err();
        })
        .await;
        lets_others_run("JoinHandle", async move || {
            assert!(handle.spawn(async {}).await.unwrap_err().is_cancelled());
        })
        .await;
    });
}

/// Goal: a connect that fails at once and a close that need not wait spend the budget.
/// Method: invalid addresses, a path that does not exist, new streams that are closed.
/// Kills: a `?` before the first await; a close that does not spend the budget.
fn connecting_and_closing_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        lets_others_run("TcpStream::connect", async || {
            TcpStream::connect("nowhere").await.unwrap_err();
        })
        .await;
        lets_others_run("TcpStream::connect_timeout", async || {
            TcpStream::connect_timeout("nowhere", Duration::MAX).await.unwrap_err();
        })
        .await;
        lets_others_run("TcpStream::builder", async || {
            TcpStream::builder().bind("nowhere").connect("127.0.0.1:1").await.unwrap_err();
        })
        .await;
        for path in ["", "/dev/null/nowhere"] {
            lets_others_run("UnixStream::connect", async move || {
                UnixStream::connect(path).await.unwrap_err();
            })
            .await;
        }
        lets_others_run("UnixStream::connect_timeout", async || {
            UnixStream::connect_timeout("", Duration::MAX).await.unwrap_err();
        })
        .await;
        lets_others_run("close", async || ended().close().await.unwrap()).await;
        lets_others_run("into_std", async || drop(ended().into_std().await.unwrap())).await;
        lets_others_run("TcpListener::into_std", async || {
            let listener = TcpListener::bind(any_addr()).unwrap();
            listener.into_std().await.unwrap();
        })
        .await;
        lets_others_run("UnixListener::into_std", async || {
            let listener = UnixListener::bind(any_name()).unwrap();
            listener.into_std().await.unwrap();
        })
        .await;
    });
}

/// Goal: waiting for a deadline that has passed spends the budget.
/// Method: a sleep and a timeout that have ended, polled again and again; a schedule that is far
/// behind; a timeout around an operation that is ready; a yield.
/// Kills: an elapsed sleep, or an elapsed timeout, that does not spend the budget.
fn waiting_in_a_loop_lets_others_run(on: Driver) {
    on.run(async {
        let mut over = Box::pin(sleep(Duration::ZERO));
        lets_others_run("an elapsed sleep", async move || over.as_mut().await).await;
        let mut over = Box::pin(timeout(Duration::ZERO, pending::<()>()));
        lets_others_run("an elapsed timeout", async move || {
            over.as_mut().await.unwrap_err();
        })
        .await;
        lets_others_run("a timeout of zero", async || {
            timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
        })
        .await;
        let mut stream = ended();
        lets_others_run("a timeout around a leaf", async move || {
            timeout(Duration::MAX, stream.recv()).await.unwrap().unwrap();
        })
        .await;
        let now = Instant::now();
        lets_others_run("a sleep until now", async move || sleep_until(now).await).await;
        let mut ticks = interval(Duration::from_nanos(1));
        lets_others_run("tick", async move || assert!(ticks.tick().await <= Instant::now())).await;
        let mut ticks = interval(Duration::from_nanos(1));
        lets_others_run("an interval as a stream", async move || {
            poll_fn(|cx| Pin::new(&mut ticks).poll_next(cx)).await.unwrap();
        })
        .await;
        lets_others_run("yield_now", async || yield_now().await).await;
        lets_others_run("spawn", async || spawn(async {}).await.unwrap()).await;
    });
}
