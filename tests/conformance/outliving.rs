//! Futures that outlive their loop: each is woken when the loop ends, and then returns an error or,
//! if its output has none, panics with the reason. None completes early, none hangs.
#![allow(clippy::async_yields_async)] // futures leave their loop on purpose

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use ringloop::io::AsyncFd;
use ringloop::net::{TcpListener, TcpStream, UnixStream};
use ringloop::time::{TimerHandle, call_later, interval, sleep, timeout};
use ringloop::{Runtime, spawn};

use crate::common::{Woken, any_addr, std_pair, tight_pair, turns, unanswering_addr};
use crate::{Body, Driver, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    a_sleep_that_outlives_its_loop_panics,
    a_sleep_that_was_due_has_elapsed,
    an_operation_that_outlives_its_loop_fails,
    a_unix_connect_that_outlives_its_loop_fails,
    a_task_that_is_joined_elsewhere_is_cancelled,
    a_callback_at_the_end_of_its_loop_is_cancelled,
];

const HOUR: Duration = Duration::from_secs(3600);

type Carried<T> = Pin<Box<dyn Future<Output = T>>>;

/// Polls `future` on `runtime`, ends that runtime, and polls again on another one. The future must
/// be pending before and have been woken by the end.
fn carry_over<T>(on: Driver, name: &str, runtime: Runtime, mut future: Carried<T>) -> Poll<T> {
    let woken = Arc::new(Woken::default());
    runtime.block_on(async {
        assert!(woken.poll(future.as_mut()).is_pending(), "{name}");
        turns(3).await;
    });
    let woken = Arc::new(Woken::default());
    runtime.block_on(async { assert!(woken.poll(future.as_mut()).is_pending(), "{name}") });
    drop(runtime);
    assert!(woken.is_woken(), "{name}: woken when its loop ends");
    on.run(async { Arc::new(Woken::default()).poll(future.as_mut()) })
}

fn panic_of<T>(run: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else {
        panic!("it went through");
    };
    payload.downcast_ref::<String>().expect("a text").clone()
}

/// Goal: a sleep, a timeout and an interval that are polled after the end of their loop panic with
/// a message that names the cause and the place, whether or not they were polled before.
///
/// Method: each pending, and each new, carried to another loop; the place is in this file. A
/// timeout whose future is ready gives its value.
///
/// Kills: a timer that the end removed and that counts as elapsed; a new timer on an ended loop,
/// which hangs; a waker that is dropped with its timer.
fn a_sleep_that_outlives_its_loop_panics(on: Driver) {
    let makers: [fn() -> Carried<()>; 3] = [
        || Box::pin(sleep(HOUR)),
        || {
            let timeout = timeout(HOUR, pending::<()>());
            Box::pin(async { timeout.await.unwrap() })
        },
        || {
            let mut ticks = interval(HOUR);
            Box::pin(async move {
                ticks.tick().await;
                ticks.tick().await;
            })
        },
    ];
    for make in makers {
        let runtime = on.runtime();
        let mut new = runtime.block_on(async { make() });
        let pending = runtime.block_on(async { make() });
        let texts = [
            panic_of(|| carry_over(on, "a sleep", runtime, pending)),
            panic_of(|| on.run(async { Arc::new(Woken::default()).poll(new.as_mut()) })),
        ];
        for text in texts {
            assert!(text.contains("polled after its runtime had ended"), "{text}");
            assert!(text.contains("outliving.rs:"), "{text}");
        }
    }
    let runtime = on.runtime();
    let mut ready = runtime.block_on(async { Box::pin(timeout(HOUR, async { 7 })) });
    drop(runtime);
    assert_eq!(
        on.run(async { Arc::new(Woken::default()).poll(ready.as_mut()) }),
        Poll::Ready(Ok(7))
    );
}

/// Goal: a sleep whose deadline came before the end of its loop has elapsed, although it was not
/// polled in between.
/// Method: a sleep of zero that its loop wakes, then polled on another.
///
/// Kills: a panic for every sleep of an ended loop.
fn a_sleep_that_was_due_has_elapsed(on: Driver) {
    let runtime = on.runtime();
    let woken = Arc::new(Woken::default());
    let mut due = runtime.block_on(async {
        let mut due = Box::pin(sleep(Duration::ZERO));
        assert!(woken.poll(due.as_mut()).is_pending());
        turns(3).await;
        due
    });
    assert!(woken.is_woken());
    drop(runtime);
    on.run(async {
        assert!(woken.poll(due.as_mut()).is_ready());
        assert!(woken.poll(due.as_mut()).is_ready(), "it stays elapsed");
    });
}

/// A pending operation, and a value that must live as long.
type Maker = fn() -> (Carried<io::Result<()>>, Box<dyn std::any::Any>);

const OPERATIONS: &[(&str, Maker)] = &[
    ("recv", || {
        let (mut stream, peer) = std_pair();
        (Box::pin(async move { stream.recv().await.map(drop) }), Box::new(peer))
    }),
    ("read_exact", || {
        let (mut stream, peer) = std_pair();
        (Box::pin(async move { stream.read_exact(&mut [0; 8]).await }), Box::new(peer))
    }),
    ("readable", || {
        let (mut stream, peer) = std_pair();
        (Box::pin(async move { stream.readable().await }), Box::new(peer))
    }),
    ("peek", || {
        let (mut stream, peer) = std_pair();
        (Box::pin(async move { stream.peek(&mut [0]).await.map(drop) }), Box::new(peer))
    }),
    ("closed", || {
        let (stream, peer) = std_pair();
        (Box::pin(async move { stream.closed().await }), Box::new(peer))
    }),
    ("into_std", || {
        let (mut stream, peer) = tight_pair();
        let into_std = async move {
            stream.send(vec![1; 4 << 20]).await?;
            stream.into_std().await.map(drop)
        };
        (Box::pin(into_std), Box::new(peer))
    }),
    ("write_all", || {
        let (mut stream, peer) = tight_pair();
        (Box::pin(async move { stream.write_all(&vec![1; 4 << 20]).await }), Box::new(peer))
    }),
    ("flush", || {
        let (mut stream, peer) = tight_pair();
        let flush = async move {
            stream.send(vec![1; 4 << 20]).await?;
            stream.flush().await
        };
        (Box::pin(flush), Box::new(peer))
    }),
    ("shutdown", || {
        let (mut stream, peer) = tight_pair();
        let shutdown = async move {
            stream.send(vec![1; 4 << 20]).await?;
            stream.shutdown().await
        };
        (Box::pin(shutdown), Box::new(peer))
    }),
    ("close", || {
        let (mut stream, peer) = tight_pair();
        let close = async move {
            stream.send(vec![1; 4 << 20]).await?;
            stream.close().await
        };
        (Box::pin(close), Box::new(peer))
    }),
    ("connect", || {
        let (addr, full) = unanswering_addr();
        let connect = async move { TcpStream::connect(addr).await.map(drop) };
        (Box::pin(connect), Box::new(full))
    }),
    ("connect_timeout", || {
        let (addr, full) = unanswering_addr();
        let connect = async move { TcpStream::connect_timeout(addr, HOUR).await.map(drop) };
        (Box::pin(connect), Box::new(full))
    }),
    ("accept", || {
        let listener = TcpListener::bind(any_addr()).unwrap();
        (Box::pin(async move { listener.accept().await.map(drop) }), Box::new(()))
    }),
    ("incoming", || {
        let listener = TcpListener::bind(any_addr()).unwrap();
        (Box::pin(async move { listener.incoming().next().await.map(drop) }), Box::new(()))
    }),
    ("readable", || {
        let (ours, peer) = StdUnixStream::pair().unwrap();
        let watched = AsyncFd::new(ours).unwrap();
        (Box::pin(async move { watched.readable().await }), Box::new(peer))
    }),
];

/// Goal: an operation that waits when its loop ends is woken, and fails.
/// Method: each kind, pending in the kernel, carried to another loop. Kills: a reader, writer,
/// accept, connect, watch or close that the end of the loop does not wake.
fn an_operation_that_outlives_its_loop_fails(on: Driver) {
    for (name, make) in OPERATIONS {
        let runtime = on.builder().on_unhandled(|_| ()).build().unwrap();
        let (future, other) = runtime.block_on(async { make() });
        let outcome = carry_over(on, name, runtime, future);
        assert!(matches!(outcome, Poll::Ready(Err(_))), "{name}: {outcome:?}");
        drop(other);
    }
}

/// Goal: all Unix connects that wait for a full backlog fail when their loop ends. They wait for a
/// timer of their own.
///
/// Method: a listener that does not accept, as many connects as it holds, and more than its timer
/// wakes in some turns.
///
/// Kills: the panic of a sleep in place of an error; an end that wakes the first of them only.
fn a_unix_connect_that_outlives_its_loop_fails(on: Driver) {
    let server = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ringloop-outliving-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    server.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    server.listen(0).unwrap();
    let runtime = on.runtime();
    let filled = runtime.block_on(async { UnixStream::connect(&path).await.unwrap() });
    let connect = || Box::pin(UnixStream::connect(path.clone()));
    let mut others: Vec<_> = (0..20).map(|_| (connect(), Arc::new(Woken::default()))).collect();
    runtime.block_on(async {
        for (other, woken) in &mut others {
            assert!(woken.poll(other.as_mut()).is_pending());
        }
    });
    let outcome = carry_over(on, "a Unix connect", runtime, connect());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
    for (other, woken) in &mut others {
        assert!(woken.is_woken(), "woken when its loop ends");
        let outcome = on.run(async { woken.poll(other.as_mut()) });
        assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
    }
    drop(filled);
}

/// Goal: a task that is joined from another loop ends as cancelled when its own loop ends.
/// Method: a task that does not end.
///
/// Kills: a joiner that is not woken.
fn a_task_that_is_joined_elsewhere_is_cancelled(on: Driver) {
    let runtime = on.runtime();
    let task = runtime.block_on(async { spawn(pending::<()>()) });
    let outcome = carry_over(on, "a task", runtime, Box::pin(task));
    let Poll::Ready(Err(error)) = outcome else { panic!("{outcome:?}") };
    assert!(error.is_cancelled());
}

/// Goal: a callback that is scheduled while its loop ends, or before, is no longer pending after
/// the end, and its captures are dropped.
/// Method: destructors of a task and of a callback's captures that schedule another callback, four
/// times in a row. Kills: a timer that is set on a loop that will not turn again.
fn a_callback_at_the_end_of_its_loop_is_cancelled(on: Driver) {
    struct CallsLater {
        times_left: u32,
        handles: Rc<RefCell<Vec<TimerHandle>>>,
    }
    impl Drop for CallsLater {
        fn drop(&mut self) {
            let Some(times_left) = self.times_left.checked_sub(1) else { return };
            let captured = CallsLater { times_left, handles: Rc::clone(&self.handles) };
            let handle = call_later(HOUR, move || drop(captured));
            self.handles.borrow_mut().push(handle);
        }
    }
    let handles = Rc::default();
    let runtime = on.runtime();
    runtime.block_on(async {
        let captured = CallsLater { times_left: 4, handles: Rc::clone(&handles) };
        call_later(HOUR, move || drop(captured));
        let local = CallsLater { times_left: 4, handles: Rc::clone(&handles) };
        spawn(async move {
            let _local = local;
            pending::<()>().await;
        });
        turns(2).await;
    });
    drop(runtime);
    assert_eq!(handles.borrow().len(), 8);
    assert!(handles.borrow().iter().all(|handle| !handle.is_pending()));
}
