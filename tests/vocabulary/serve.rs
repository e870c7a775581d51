//! Servers: a task for each connection, and a shutdown in order.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use ringloop::net::{
    Server, ServerHandle, TcpListener, TcpStream, UnixListener, UnixStream, serve,
};
use ringloop::spawn;
use ringloop::sync::CancellationToken;
use ringloop::time::timeout;

use crate::common::{any_addr, any_name, poll_once, turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    a_server_echoes_on_both_families,
    i11_a_closed_server_refuses_connects_and_finishes_its_handlers,
    waiters_in_any_order_see_the_end_once,
    a_shutdown_aborts_what_exceeds_its_grace,
    a_dropped_shutdown_aborts_no_handler,
    an_abort_drops_every_handler,
    a_panic_of_a_handler_is_reported_and_the_server_goes_on,
    a_destructor_that_panics_does_not_stop_a_close,
    a_server_outlives_its_handles,
    handlers_see_that_the_server_stops,
    a_token_closes_its_servers,
    a_listener_that_fails_ends_its_server,
    a_limit_of_connections_holds_for_handlers,
    a_server_ends_with_its_runtime,
];
pub(crate) const ALONE: &[Body] = bodies![];

const HOUR: Duration = Duration::from_secs(3600);

/// A server whose handlers wait for a gate, and its address.
fn gated(gate: &Rc<Gates>) -> (ServerHandle, std::net::SocketAddr) {
    let listener = TcpListener::bind(any_addr()).unwrap();
    let addr = listener.local_addr().unwrap();
    let gate = Rc::clone(gate);
    let server = serve(listener, move |stream| {
        let gate = Rc::clone(&gate);
        async move {
            let _counted = gate.enter();
            gate.wait().await;
            drop(stream);
        }
    });
    (server, addr)
}

/// A gate for any number of tasks, and the number of those that are inside.
#[derive(Default)]
struct Gates {
    token: CancellationToken,
    inside: Cell<u32>,
}

impl Gates {
    fn enter(self: &Rc<Self>) -> impl Drop + use<> {
        struct Inside(Rc<Gates>);
        impl Drop for Inside {
            fn drop(&mut self) {
                self.0.inside.set(self.0.inside.get() - 1);
            }
        }
        self.inside.set(self.inside.get() + 1);
        Inside(Rc::clone(self))
    }

    async fn wait(&self) {
        self.token.cancelled().await;
    }

    fn open(&self) {
        self.token.cancel();
    }
}

/// Connects `count` peers, and waits until their handlers run.
async fn connect(addr: std::net::SocketAddr, gate: &Gates, count: u32) -> Vec<std::net::TcpStream> {
    let expected = gate.inside.get() + count;
    let connect = |_| std::net::TcpStream::connect(addr).unwrap();
    let peers = (0..count).map(connect).collect();
    until(|| gate.inside.get() == expected).await;
    peers
}

/// Goal: a server runs its handler for each connection of a listener, of both families.
///
/// Method: three clients of an echo on TCP and on a Unix socket, one after the other.
///
/// Kills: an acceptor that ends after one connection; a handler for one family.
fn a_server_echoes_on_both_families(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = serve(listener, async |mut stream: TcpStream| {
            let bytes = stream.recv().await.unwrap();
            stream.send(bytes).await.unwrap();
        });
        for _ in 0..3 {
            let mut client = TcpStream::connect(addr).await.unwrap();
            client.write_all(b"tcp").await.unwrap();
            assert_eq!(&*client.recv().await.unwrap(), b"tcp");
        }
        assert_eq!(server.shutdown(HOUR).await, 0);

        let name = any_name();
        let listener = UnixListener::bind(&name).unwrap();
        let server = serve(listener, async |mut stream: UnixStream| {
            let bytes = stream.recv().await.unwrap();
            stream.send(bytes).await.unwrap();
        });
        for _ in 0..3 {
            let mut client = UnixStream::connect(&name).await.unwrap();
            client.write_all(b"unix").await.unwrap();
            assert_eq!(&*client.recv().await.unwrap(), b"unix");
        }
        assert_eq!(server.shutdown(HOUR).await, 0);
        assert!(UnixStream::connect(&name).await.is_err());
    });
}

/// Goal: a closed server refuses connects at once, and `wait` returns after the last handler.
///
/// Method: two handlers at work; a close, a connect without a turn in between, and one later. The
/// handlers end one after the other.
///
/// Kills: a listener that is closed in a later turn; a wait that ends with the close, or with the
/// first handler.
fn i11_a_closed_server_refuses_connects_and_finishes_its_handlers(on: Driver) {
    on.run(async {
        let gates = Rc::new(Gates::default());
        let (server, addr) = gated(&gates);
        let mut peers = connect(addr, &gates, 2).await;
        let mut wait = pin!(server.wait());
        assert!(poll_once(wait.as_mut()).await.is_pending());
        assert!(!server.is_closed());
        server.close();
        for _ in 0..2 {
            let refused = std::net::TcpStream::connect(addr).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            turns(3).await;
        }
        assert!(poll_once(wait.as_mut()).await.is_pending());
        assert_eq!((gates.inside.get(), server.connections()), (2, 2));
        gates.open();
        wait.await.unwrap();
        assert_eq!((gates.inside.get(), server.connections()), (0, 0));
        for peer in &mut peers {
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        }
        server.wait().await.unwrap();
    });
}

/// Goal: any number of tasks wait for the end, before and after the close and after the end, and
/// none misses it.
///
/// Method: waiters that begin before the close, between the close and the last handler, in the turn
/// in which that ends, and later; one is dropped.
///
/// Kills: one waiter; a waiter that is woken by the close; a wait after the end that never returns.
fn waiters_in_any_order_see_the_end_once(on: Driver) {
    on.run(async {
        let gates = Rc::new(Gates::default());
        let (server, addr) = gated(&gates);
        let _peers = connect(addr, &gates, 1).await;
        let ended = Rc::new(Cell::new(0));
        let waiter = || {
            let (server, ended) = (server.clone(), Rc::clone(&ended));
            spawn(async move {
                server.wait().await.unwrap();
                ended.set(ended.get() + 1);
            })
        };
        let (first, dropped) = (waiter(), waiter());
        turns(2).await;
        server.close();
        let second = waiter();
        turns(2).await;
        dropped.abort();
        assert_eq!(ended.get(), 0);
        gates.open();
        let third = waiter();
        for task in [first, second, third, waiter()] {
            task.await.unwrap();
        }
        assert_eq!(ended.get(), 4);

        // Without a handler the close itself is the end.
        let (server, _) = gated(&gates);
        let waiting = spawn({
            let server = server.clone();
            async move { server.wait().await }
        });
        turns(2).await;
        server.close();
        server.close();
        waiting.await.unwrap().unwrap();
    });
}

/// Goal: a shutdown waits for handlers within its grace, aborts the rest, and returns how many,
/// once they have been dropped.
///
/// Method: three handlers that never end; a grace of a millisecond. Then handlers that end at once,
/// and a grace of an hour.
///
/// Kills: a shutdown that waits for the whole grace; a count of all handlers; a return before the
/// futures are dropped.
fn a_shutdown_aborts_what_exceeds_its_grace(on: Driver) {
    on.run(async {
        let gates = Rc::new(Gates::default());
        let (server, addr) = gated(&gates);
        let mut peers = connect(addr, &gates, 3).await;
        assert_eq!(server.shutdown(Duration::from_millis(1)).await, 3);
        assert_eq!(gates.inside.get(), 0);
        for peer in &mut peers {
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        }
        let (server, addr) = gated(&gates);
        let _peers = connect(addr, &gates, 2).await;
        gates.open();
        assert_eq!(server.shutdown(HOUR).await, 0);
        assert_eq!(server.shutdown(HOUR).await, 0);
    });
}

/// Goal: a shutdown that is dropped has stopped accepting and aborts no handler; the next one does.
///
/// Method: a shutdown under a timeout that is shorter than its grace.
///
/// Kills: handlers that are aborted by the drop.
fn a_dropped_shutdown_aborts_no_handler(on: Driver) {
    on.run(async {
        let gates = Rc::new(Gates::default());
        let (server, addr) = gated(&gates);
        let _peers = connect(addr, &gates, 1).await;
        let dropped = timeout(Duration::from_millis(1), server.shutdown(HOUR)).await;
        assert!(dropped.is_err());
        turns(3).await;
        assert_eq!(gates.inside.get(), 1);
        assert!(std::net::TcpStream::connect(addr).is_err());
        assert_eq!(server.shutdown(Duration::ZERO).await, 1);
    });
}

/// Goal: an abort closes the server and drops the futures of all handlers.
///
/// Method: two handlers that never end, and one that has not been polled.
///
/// Kills: an abort that leaves the listener; one that counts handlers that have ended.
fn an_abort_drops_every_handler(on: Driver) {
    on.run(async {
        let gates = Rc::new(Gates::default());
        let (server, addr) = gated(&gates);
        let _peers = connect(addr, &gates, 2).await;
        assert_eq!(server.abort(), 2);
        assert!(std::net::TcpStream::connect(addr).is_err());
        server.wait().await.unwrap();
        assert_eq!(gates.inside.get(), 0);
        assert_eq!(server.abort(), 0);
    });
}

/// Goal: a handler that panics, in its first part or later, is reported, and the server goes on.
///
/// Method: a handler that panics before it returns its future, and one that panics in a poll; then
/// a connection that is served.
///
/// Kills: a panic in the acceptor's task; a panic that is lost.
fn a_panic_of_a_handler_is_reported_and_the_server_goes_on(on: Driver) {
    let reports: Rc<RefCell<Vec<String>>> = Rc::default();
    let kept = Rc::clone(&reports);
    let builder =
        on.builder().on_unhandled(move |unhandled| kept.borrow_mut().push(unhandled.to_string()));
    builder.build().unwrap().block_on(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let calls = Cell::new(0);
        let server = serve(listener, move |mut stream: TcpStream| {
            calls.set(calls.get() + 1);
            let call = calls.get();
            assert!(call != 1, "in the function");
            async move {
                assert!(call != 2, "in the future");
                stream.write_all(b"served").await.unwrap();
            }
        });
        for _ in 0..2 {
            let mut client = TcpStream::connect(addr).await.unwrap();
            let _ = client.recv().await; // its end
        }
        let mut client = TcpStream::connect(addr).await.unwrap();
        assert_eq!(&*client.recv().await.unwrap(), b"served");
        server.shutdown(HOUR).await;
    });
    let reports = reports.take();
    assert_eq!(reports.len(), 2, "{reports:?}");
    for (report, part) in reports.iter().zip(["in the function", "in the future"]) {
        assert!(report.contains(part) && report.contains(file!()), "{report}");
    }
}

/// Goal: a close is complete also if a value that the handler owns panics in its destructor.
///
/// Method: a handler with such a value, and a close, which passes the panic on.
///
/// Kills: a close that ends at the panic, without the cancel of `stopping`.
fn a_destructor_that_panics_does_not_stop_a_close(on: Driver) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor");
        }
    }
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let bomb = Bomb;
        let server = serve(listener, move |_stream| {
            let _owned = &bomb;
            async {}
        });
        turns(2).await;
        assert!(catch_unwind(AssertUnwindSafe(|| server.close())).is_err());
        assert!(server.stopping().is_cancelled());
        assert!(std::net::TcpStream::connect(addr).is_err());
        server.wait().await.unwrap();
    });
}

/// Goal: a server runs on when its handles are dropped.
///
/// Method: a connection that is made when none is left.
///
/// Kills: a drop that closes.
fn a_server_outlives_its_handles(on: Driver) {
    on.run(async {
        let gates = Rc::new(Gates::default());
        let (server, addr) = gated(&gates);
        drop(server.clone());
        drop(server);
        turns(3).await;
        let _peers = connect(addr, &gates, 1).await;
    });
}

/// Goal: handlers see that the server stops, and can end idle connections.
///
/// Method: a handler that waits for requests or for the token; a shutdown with a grace of an hour
/// while its connection is idle.
///
/// Kills: a token that is cancelled at the end of the shutdown.
fn handlers_see_that_the_server_stops(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopping = stop.child_token();
        let server = Server::new(listener).stop_token(stop.clone()).serve(move |mut stream| {
            let stopping = stopping.clone();
            async move {
                while let Some(Ok(bytes)) = stopping.run_until_cancelled(stream.recv()).await {
                    stream.send(bytes).await.unwrap();
                }
            }
        });
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"a request").await.unwrap();
        assert_eq!(&*client.recv().await.unwrap(), b"a request");
        assert!(!server.stopping().is_cancelled());
        stop.cancel();
        assert_eq!(server.shutdown(HOUR).await, 0);
        assert!(client.recv().await.unwrap().is_empty());
    });
}

/// Goal: the cancel of a token closes all servers that have it; the close of one cancels no token
/// of the others.
///
/// Method: two servers with one token; a close of the first, then a cancel.
///
/// Kills: a close that cancels the token of the program; a server that does not watch its token.
fn a_token_closes_its_servers(on: Driver) {
    on.run(async {
        let stop = CancellationToken::new();
        let [first, second] = [(); 2].map(|()| {
            let listener = TcpListener::bind(any_addr()).unwrap();
            Server::new(listener).stop_token(stop.clone()).serve(async |_| {})
        });
        first.close();
        first.wait().await.unwrap();
        assert!(first.stopping().is_cancelled());
        turns(3).await;
        assert!(!stop.is_cancelled() && !second.is_closed());
        stop.cancel();
        second.wait().await.unwrap();

        let listener = TcpListener::bind(any_addr()).unwrap();
        let late = Server::new(listener).stop_token(stop).serve(async |_| {});
        late.wait().await.unwrap();
    });
}

/// Goal: an error of the listener ends its server, and every wait returns it.
///
/// Method: a listening socket that another descriptor shuts down.
///
/// Kills: an acceptor that tries again without end; an error that one waiter takes.
fn a_listener_that_fails_ends_its_server(on: Driver) {
    on.run(async {
        let socket = std::net::TcpListener::bind(any_addr()).unwrap();
        let other = socket2::Socket::from(socket.try_clone().unwrap());
        let server = serve(TcpListener::from_std(socket), async |_| {});
        turns(3).await;
        other.shutdown(std::net::Shutdown::Both).unwrap();
        for _ in 0..2 {
            let error = server.wait().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
        }
        assert!(server.is_closed());
    });
}

/// Goal: the listener's limit is a limit of handlers at work.
///
/// Method: a limit of two and three peers; the third is served when the first has gone.
///
/// Kills: an acceptor that goes around the admission of its listener.
fn a_limit_of_connections_holds_for_handlers(on: Driver) {
    on.run(async {
        let listener = TcpListener::builder().max_connections(2).bind(any_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        let server =
            serve(
                listener,
                async |mut stream: TcpStream| {
                    while stream.recv().await.is_ok_and(|bytes| !bytes.is_empty()) {}
                },
            );
        let mut peers: Vec<_> =
            (0..3).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
        until(|| server.connections() == 2).await;
        turns(5).await;
        assert_eq!(server.connections(), 2);
        let first = peers.remove(0);
        drop(first);
        peers[1].write_all(b"x").unwrap();
        until(|| server.connections() == 2).await;
        drop(peers);
        assert_eq!(server.shutdown(HOUR).await, 0);
    });
}

/// Goal: a server ends with its runtime, and its handle finds that.
///
/// Method: a handler that never ends; the drop of the runtime; a wait on another loop.
///
/// Kills: a handle that waits for a loop that has ended; a listener that keeps its port.
fn a_server_ends_with_its_runtime(on: Driver) {
    let runtime = on.runtime();
    let gates = Rc::new(Gates::default());
    let (server, addr, _peers) = runtime.block_on(async {
        let (server, addr) = gated(&gates);
        let peers = connect(addr, &gates, 1).await;
        (server, addr, peers)
    });
    drop(runtime);
    assert_eq!((gates.inside.get(), server.connections(), server.is_closed()), (0, 0, true));
    on.run(async { server.wait().await.unwrap() });
    assert!(std::net::TcpStream::connect(addr).is_err());
}
