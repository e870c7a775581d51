//! Listeners with a limit on open connections.

use std::time::Duration;

use super::*;
use crate::driver::request::{Flags, OpKind, Request};
use crate::net::Overflow;
use crate::time::sleep;

fn limited(max: usize, overflow: Overflow) -> TcpListener {
    let builder = TcpListener::builder().max_connections(max).overflow(overflow);
    builder.bind("127.0.0.1:0").unwrap()
}

/// Accepts a connection that the script completes once the accept has been submitted.
async fn accept_one(script: &Script, listener: &TcpListener) -> TcpStream {
    let mut accept = Box::pin(listener.accept());
    assert!(poll_once(accept.as_mut()).await.is_pending());
    turns(1).await;
    let op = script.the(OpKind::Accept);
    assert!(matches!(op.request, Request::Accept { is_multishot: false, .. }), "{op:?}");
    script.complete(op, connection().0, Flags::NONE);
    accept.await.unwrap()
}

/// Goal: at the limit no accept is in flight, and closing a connection arms the next one. A
/// connection counts while it is queued and while its last bytes are sent.
///
/// Method: a limit of two; two streams, a third accept; drop a stream that has bytes to send, end
/// its send; then the same with a stream that is queued and not taken.
///
/// Kills: a multishot accept; a count that ends with the stream instead of its descriptor; a limit
/// that is checked once; a waiter for which no accept is armed.
#[test]
fn a_full_listener_accepts_nothing() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = limited(2, Overflow::LeaveInBacklog);
        let mut first = accept_one(&script, &listener).await;
        let second = accept_one(&script, &listener).await;
        let mut third = Box::pin(listener.accept());
        assert!(poll_once(third.as_mut()).await.is_pending());
        turns(3).await;
        assert_eq!(script.all(OpKind::Accept), []);

        first.write_all(b"last").await.unwrap();
        drop(first);
        turns(3).await;
        assert_eq!(script.all(OpKind::Accept), [], "its descriptor is open");
        script.complete(script.the(OpKind::Send), 4, Flags::NONE);
        turns(3).await;
        let op = script.the(OpKind::Accept);
        drop(third);
        script.complete(op, connection().0, Flags::NONE);
        turns(3).await;
        let mut fourth = Box::pin(listener.accept());
        let third = fourth.as_mut().await.unwrap();
        fourth = Box::pin(listener.accept());
        assert!(poll_once(fourth.as_mut()).await.is_pending());
        turns(3).await;
        assert_eq!((script.all(OpKind::Accept), metrics().timers), (vec![], 1));
        drop((second, third));
        turns(3).await;
        assert_eq!(metrics().timers, 0);
        script.the(OpKind::Accept);
    });
}

/// Goal: with `Shed` a connection beyond the limit is reset and counted, and the accept goes on.
/// Method: a limit of one; two connections at once; close the first; a third.
/// Kills: a reset that is not counted; a limit that stays reached; an accept that is cancelled.
#[test]
fn a_connection_too_many_is_shed() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = limited(1, Overflow::Shed);
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(accept.as_mut()).await.is_pending());
        turns(1).await;
        let op = script.the(OpKind::Accept);
        assert!(matches!(op.request, Request::Accept { is_multishot: true, .. }), "{op:?}");
        let [(first, _, first_peer), (second, second_file, second_peer)] =
            [(); 2].map(|()| connection());
        script.complete(op, first, Flags::NONE.with_more());
        script.complete(op, second, Flags::NONE.with_more());
        let stream = accept.await.unwrap();
        turns(2).await;
        assert_eq!(peer_sees(&first_peer), Peer::Open);
        assert_eq!(peer_sees(&second_peer), Peer::Closed);
        assert!(!second_file.is_open());
        assert_eq!(metrics().connections_shed, 1);
        drop(stream);
        turns(2).await;
        script.complete(op, connection().0, Flags::NONE.with_more());
        drop(listener.accept().await.unwrap());
        assert_eq!(metrics().connections_shed, 1);
    });
}

/// Goal: connections keep neither their listener nor a timer, and may outlive both.
/// Method: a full listener with a waiting accept is dropped before its connection, which is dropped
/// after the runtime.
/// Kills: a connection that owns the listener; a timer that owns it.
#[test]
fn connections_outlive_their_listener() {
    let (script, runtime) = scripted();
    let stream = runtime.block_on(async {
        let listener = limited(1, Overflow::LeaveInBacklog);
        let file = OpenFile::of(listener.as_raw_fd());
        let stream = accept_one(&script, &listener).await;
        let mut next = Box::pin(listener.accept());
        assert!(poll_once(next.as_mut()).await.is_pending());
        assert_eq!(metrics().timers, 1);
        drop(next);
        drop(listener);
        assert!(!file.is_open());
        assert_eq!(metrics().timers, 0);
        stream
    });
    drop(runtime);
    drop(stream);
}

/// Goal: an accept that waits for room fails when its loop ends.
/// Method: a full listener, its accept polled before and after the end. Kills: a listener without
/// an operation in flight that the end of the loop does not wake.
#[test]
fn an_accept_at_the_limit_fails_when_its_loop_ends() {
    let (script, runtime) = scripted();
    let woken = Arc::new(Woken::default());
    let (mut accept, stream) = runtime.block_on(async {
        let listener = Rc::new(limited(1, Overflow::LeaveInBacklog));
        let stream = accept_one(&script, &listener).await;
        let accept = Box::pin(async move { listener.accept().await.map(drop) });
        (Some(accept), stream)
    });
    let accept = accept.as_mut().expect("kept in an option, as it is a future");
    runtime.block_on(async { assert!(woken.poll(accept.as_mut()).is_pending()) });
    drop(runtime);
    assert!(woken.is_woken());
    assert!(matches!(woken.poll(accept.as_mut()), Poll::Ready(Err(_))));
    drop(stream);
}

/// Goal: a connection that ends while the loop prepares to sleep arms the next accept before the
/// loop sleeps.
/// Method: a stream that is aborted in the turn of its last write, so that only the list of sockets
/// to prepare holds it; an accept waits. One sleep later the accept has been armed.
/// Kills: a sleep although preparing has added an owner that is to be prepared.
#[test]
fn a_connection_that_ends_before_a_sleep_makes_room() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = limited(1, Overflow::LeaveInBacklog);
        let mut stream = accept_one(&script, &listener).await;
        stream.write_all(b"lost").await.unwrap();
        stream.abort();
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(accept.as_mut()).await.is_pending());
        sleep(Duration::from_secs(1)).await;
        script.complete(script.the(OpKind::Accept), connection().0, Flags::NONE);
        accept.await.unwrap();
    });
}
