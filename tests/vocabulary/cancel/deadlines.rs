//! Deadlines as scopes.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Gate, any_addr, any_name, compute, std_pair, turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use ringloop::spawn;
use ringloop::sync::CancellationToken;
use ringloop::task::{consume_budget, shielded, yield_now};
use ringloop::time::{Deadline, Elapsed, Instant, current_deadline, deadline_scope, timeout_at};

pub(crate) const SHARED: &[Body] = bodies![
    an_expiry_is_that_of_its_own_scope,
    a_deadline_can_be_moved,
    a_deadline_waits_for_a_shield,
    a_deadline_ends_a_body_that_uses_the_budget_up,
    the_current_deadline_is_the_earliest_around,
    c1_a_deadline_of_a_read_loses_no_byte,
    c2_a_deadline_of_an_accept_loses_no_connection,
];

const HOUR: Duration = Duration::from_secs(3600);

fn past() -> Instant {
    Instant::now() - Duration::from_millis(1)
}

/// Goal: of nested scopes, each returns the expiry of its own deadline, also when the loop was
/// blocked past both.
/// Method: an inner deadline that passes, an outer one that passes, and a computation beyond both.
/// Kills: an inner scope that returns the expiry of the outer one; an outer one that hides the
/// inner; a value that loses against its deadline.
fn an_expiry_is_that_of_its_own_scope(on: Driver) {
    on.run(async {
        let outer: Result<Result<(), Elapsed>, Elapsed> =
            deadline_scope(Instant::now() + HOUR, async |_| {
                let inner = deadline_scope(past(), async |_| pending().await).await;
                yield_now().await;
                inner
            })
            .await;
        assert!(outer.unwrap().is_err());

        let reached = Cell::new(false);
        let outer = deadline_scope(past(), async |_| {
            let inner = deadline_scope(Instant::now() + HOUR, async |_| pending().await);
            let _: Result<(), Elapsed> = inner.await;
            reached.set(true);
        });
        assert!(outer.await.is_err());
        assert!(!reached.get());

        let soon = Instant::now() + Duration::from_millis(1);
        let inner_expired = Cell::new(false);
        let outer = deadline_scope(soon, async |_| {
            let inner = deadline_scope(soon, async |_| {
                yield_now().await;
                compute(Duration::from_millis(2));
                pending::<()>().await;
            });
            inner_expired.set(inner.await.is_err());
            pending::<()>().await;
        });
        assert!(outer.await.is_err());
        assert!(inner_expired.get());
        assert_eq!(deadline_scope(past(), async |_| 7).await, Ok(7));
    });
}

/// Goal: the body, and other tasks, may move the deadline in both directions; the expiry can be
/// seen.
/// Method: a deadline of an hour that another task moves to the past; one in the past that the
/// body moves to later before its first wait.
/// Kills: a timer that keeps the first deadline; a scope that is not woken by `reschedule`.
fn a_deadline_can_be_moved(on: Driver) {
    on.run(async {
        let kept = Rc::new(Cell::new(None::<Deadline>));
        let given = Rc::clone(&kept);
        let scope = spawn(deadline_scope(Instant::now() + HOUR, async move |d: Deadline| {
            given.set(Some(d));
            pending::<()>().await;
        }));
        turns(2).await;
        let deadline = kept.take().unwrap();
        assert!(!deadline.expired() && !scope.is_finished());
        let at = past();
        deadline.reschedule(at);
        assert!(scope.await.unwrap().is_err());
        assert!(deadline.expired());
        assert_eq!(deadline.deadline(), at);

        let scope = deadline_scope(past(), async |d: Deadline| {
            d.reschedule(Instant::now() + HOUR);
            turns(5).await;
            8
        });
        assert_eq!(scope.await, Ok(8));
    });
}

/// Goal: a scope whose deadline has passed waits for an active shield, and its other operations do
/// not complete.
/// Method: a shield that is opened after the expiry; then a wait that would be ready.
/// Kills: a deadline that ignores shields; an operation that completes after the expiry.
fn a_deadline_waits_for_a_shield(on: Driver) {
    on.run(async {
        let (gate, reached) = (Rc::new(Gate::default()), Rc::new(Cell::new(0)));
        let kept = Rc::new(Cell::new(None::<Deadline>));
        let (opened, reaching, given) = (gate.clone(), reached.clone(), kept.clone());
        let scope = spawn(deadline_scope(past(), async move |d: Deadline| {
            given.set(Some(d));
            shielded(async {
                opened.wait().await;
                turns(2).await;
                reaching.set(1);
            })
            .await;
            let ready = CancellationToken::new();
            ready.cancel();
            consume_budget().await;
            reaching.set(2);
        }));
        turns(2).await;
        let deadline = kept.take().unwrap();
        until(|| deadline.expired()).await;
        turns(3).await;
        assert!(!scope.is_finished());
        gate.open();
        assert!(scope.await.unwrap().is_err());
        assert_eq!(reached.get(), 1);
    });
}

/// Goal: a body that uses the budget up in every poll does not outlive its deadline.
/// Method: a body that loops over a leaf that is always ready.
/// Kills: a deadline that is polled with the budget of the body.
fn a_deadline_ends_a_body_that_uses_the_budget_up(on: Driver) {
    on.run(async {
        let soon = Instant::now() + Duration::from_millis(1);
        let scope = deadline_scope(soon, async |_| {
            loop {
                consume_budget().await;
            }
        });
        let result: Result<(), Elapsed> = scope.await;
        assert!(result.is_err());
    });
}

/// Goal: the current deadline is the earliest one around, of scopes and timeouts; shields hide it,
/// and spawned tasks do not have it.
/// Method: each, before and after a wait.
/// Kills: a deadline that stays after its scope; an outer deadline that hides an earlier one.
fn the_current_deadline_is_the_earliest_around(on: Driver) {
    on.run(async {
        let (near, far) = (Instant::now() + HOUR, Instant::now() + 2 * HOUR);
        let outer = deadline_scope(far, async |_| {
            let inner = timeout_at(near, async {
                yield_now().await;
                assert_eq!(current_deadline(), Some(near));
                assert_eq!(spawn(async { current_deadline() }).await.unwrap(), None);
                assert_eq!(shielded(async { current_deadline() }).await, None);
                let later = deadline_scope(far, async |_| current_deadline()).await;
                assert_eq!(later, Ok(Some(near)));
            });
            inner.await.unwrap();
            assert_eq!(current_deadline(), Some(far));
        });
        outer.await.unwrap();
        assert_eq!(current_deadline(), None);
    });
}

/// Goal: a read whose deadline passes loses no byte, and returns bytes that have arrived although
/// the deadline has passed (C1).
/// Method: a read that times out before the bytes; reads with deadlines in the past and bytes that
/// are there, in a poll whose budget is spent; a `read_exact` that has a part of its bytes.
/// Kills: a deadline that wins over a completed read; a part of the bytes that is lost.
fn c1_a_deadline_of_a_read_loses_no_byte(on: Driver) {
    on.run(async {
        let (mut stream, mut peer) = std_pair();
        let error = stream.recv_deadline(past()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        peer.write_all(b"abc").unwrap();
        stream.readable().await.unwrap();
        let mut buf = [0; 2];
        let spend = async {
            loop {
                consume_budget().await;
            }
        };
        let mut spend = pin!(spend);
        let mut read = Box::pin(stream.read_deadline(&mut buf, past()));
        let count = poll_fn(|cx| {
            assert!(spend.as_mut().poll(cx).is_pending()); // the budget is spent
            read.as_mut().poll(cx)
        });
        assert_eq!(count.await.unwrap(), 2);
        drop(read);
        assert_eq!(buf, *b"ab");

        let mut exact = [0; 4];
        let error = stream.read_exact_deadline(&mut exact, past()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let (mut reader, _writer) = stream.split();
        assert!(reader.recv_deadline(Instant::now() + HOUR).await.unwrap()[..] == *b"c");
        assert!(reader.read_deadline(&mut exact, past()).await.is_err());
        let (mut reader, _writer) = stream.into_split();
        peer.write_all(b"d").unwrap();
        let at = Instant::now() + HOUR;
        assert_eq!(reader.read_deadline(&mut exact, at).await.unwrap(), 1);
        assert!(reader.recv_deadline(past()).await.is_err());
    });
}

/// Goal: an accept whose deadline passes loses no connection (C2).
/// Method: accepts that time out, before and after the connection comes, on both kinds of sockets.
/// Kills: an accept that drops the connection that came with the deadline.
fn c2_a_deadline_of_an_accept_loses_no_connection(on: Driver) {
    on.run(async {
        let listener = TcpListener::bind(any_addr()).unwrap();
        let error = listener.accept_deadline(past()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = match listener.accept_deadline(past()).await {
            Ok(server) => server,
            Err(_) => listener.accept().await.unwrap(),
        };
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());

        let name = any_name();
        let listener = UnixListener::bind(&name).unwrap();
        assert!(listener.accept_deadline(past()).await.is_err());
        let mut client = UnixStream::connect(&name).await.unwrap();
        let mut server = listener.accept_deadline(Instant::now() + HOUR).await.unwrap();
        assert!(server.recv_deadline(past()).await.is_err());
        client.write_all(b"ab").await.unwrap();
        let at = Instant::now() + HOUR;
        assert_eq!(server.read_deadline(&mut [0; 1], at).await.unwrap(), 1);
        server.read_exact_deadline(&mut [0; 1], at).await.unwrap();
    });
}
