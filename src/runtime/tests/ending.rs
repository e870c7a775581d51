//! Futures that are polled after their loop has ended, with a kernel that does not end operations.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{scripted, stream};
use crate::driver::request::{Flags, OpKind};
use crate::driver::uring::scripted::CancelPolicy;
use crate::io::AsyncFd;
use crate::net::{TcpListener, TcpStream};
use crate::sys::errno;
use crate::task::yield_now;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future and the waker of its last poll.
struct Operation {
    name: &'static str,
    future: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    woken: Arc<Woken>,
}

impl Operation {
    fn new(
        name: &'static str,
        future: impl Future<Output = io::Result<()>> + 'static,
    ) -> Operation {
        Operation { name, future: Box::pin(future), woken: Arc::default() }
    }

    fn poll(&mut self) -> Poll<io::Result<()>> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn has_been_woken_and_fails(mut self) {
        assert!(self.woken.0.load(Ordering::Relaxed), "{}", self.name);
        let outcome = self.poll();
        assert!(matches!(outcome, Poll::Ready(Err(_))), "{}: {outcome:?}", self.name);
    }
}

/// Goal: a future that waits for an operation that the kernel does not end is woken when the loop
/// has ended, and fails.
///
/// Method: one operation of each kind; cancels are ignored; drop the runtime, then poll.
///
/// Kills: an undrained end that leaks the operations and does not wake their waiters; a `close`
/// that waits for a descriptor that stays open.
#[test]
fn an_undrained_end_wakes_what_waits() {
    let (script, runtime, _reports) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let (mut all, peers) = runtime.block_on(async {
        let (mut reader, peer) = stream();
        let mut peers = vec![peer];
        let mut all = vec![Operation::new("recv", async move { reader.recv().await.map(drop) })];
        for name in ["flush", "close"] {
            let (mut writer, peer) = stream();
            peers.push(peer);
            writer.write_all(b"never sent").await.unwrap();
            all.push(match name {
                "flush" => Operation::new(name, async move { writer.flush().await }),
                _ => Operation::new(name, writer.close()),
            });
        }
        let connect = TcpStream::connect("127.0.0.1:9");
        all.push(Operation::new("connect", async { connect.await.map(drop) }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        all.push(Operation::new("accept", async move { listener.accept().await.map(drop) }));
        let watched = AsyncFd::new(stream().1).unwrap();
        all.push(Operation::new("readable", async move { watched.readable().await }));
        for waiting in &mut all {
            assert!(waiting.poll().is_pending(), "{}", waiting.name);
        }
        yield_now().await;
        yield_now().await;
        (all, peers)
    });
    assert_eq!(script.in_flight().len(), 6);
    runtime.block_on(async {
        for waiting in &mut all {
            waiting.woken = Arc::default();
            assert!(waiting.poll().is_pending(), "{}", waiting.name);
        }
    });
    drop(runtime);
    assert!(script.is_leaked());
    all.into_iter().for_each(Operation::has_been_woken_and_fails);
    drop(peers);
}

/// Goal: an accept that has a shortage at the end of the loop fails, and does not wait for a retry.
/// Method: the cancel is ignored and the accept completes with `EMFILE` while the loop drains.
/// Kills: a rest whose timer is set on a loop that has ended.
#[test]
fn a_shortage_at_the_end_of_the_loop_wakes_accepts() {
    let (script, runtime, _reports) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let mut accept = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut accept = Operation::new("accept", async move { listener.accept().await.map(drop) });
        assert!(accept.poll().is_pending());
        yield_now().await;
        accept
    });
    runtime.block_on(async { assert!(accept.poll().is_pending()) });
    script.direct(|script| {
        for op in script.all(OpKind::Accept) {
            script.complete(op, -errno::EMFILE, Flags::NONE);
        }
    });
    drop(runtime);
    accept.has_been_woken_and_fails();
}
