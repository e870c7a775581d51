//! Listeners and their accepts.

use std::pin::pin;
use std::sync::Arc;

use super::*;
use crate::driver::request::{Flags, OpKind};
use crate::driver::uring::entry::Cqe;
use crate::driver::uring::scripted::CancelPolicy;
use crate::net::socket::listener::QUEUED_CONNECTIONS_MAX;
use crate::sys::errno;

const ACCEPT_BACKOFF_NS: u64 = 100_000_000;

/// Goal: the last completion of a multishot accept can carry a connection (H49).
/// Method: complete with a descriptor and without MORE; the accept is armed again.
/// Kills: a `MORE` that is read before the result.
#[test]
fn a_final_accept_carries_a_connection() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = listener();
        for _ in 0..2 {
            let mut accept = pin!(listener.accept());
            assert!(poll_once(accept.as_mut()).await.is_pending());
            turns(1).await;
            let (fd, _file, _peer) = connection();
            script.complete(script.the(OpKind::Accept), fd, Flags::NONE);
            let accepted = accept.await.unwrap();
            assert_eq!(accepted.as_raw_fd(), fd);
        }
        assert_eq!(script.count_ops(OpKind::Accept), 2);
    });
}

/// Goal: a dropped `accept()` loses no connection, a dropped listener leaks none (H38).
/// Method: two connections for accepts that were dropped before and after being woken; take one,
/// drop the listener with the other queued, and deliver a third after that.
/// Kills: a descriptor that the future holds; a closed listener that leaks what still arrives.
#[test]
fn connections_are_taken_or_closed() {
    let (script, runtime) = scripted();
    script.set_cancel_policy(crate::driver::uring::scripted::CancelPolicy::Ignore);
    runtime.block_on(async {
        let listener = listener();
        {
            let mut accept = pin!(listener.accept());
            assert!(poll_once(accept.as_mut()).await.is_pending());
        }
        turns(1).await;
        let op = script.the(OpKind::Accept);
        let (first, first_file, _first_peer) = connection();
        let (second, second_file, second_peer) = connection();
        {
            let mut accept = pin!(listener.accept());
            assert!(poll_once(accept.as_mut()).await.is_pending());
            script.complete(op, first, Flags::NONE.with_more());
            script.complete(op, second, Flags::NONE.with_more());
            turns(2).await;
        }
        let accepted = listener.accept().await.unwrap();
        assert_eq!(accepted.as_raw_fd(), first);
        drop(listener);
        assert_eq!(peer_sees(&second_peer), Peer::Closed);
        assert!(first_file.is_open() && !second_file.is_open());

        let (third, third_file, third_peer) = connection();
        script.complete(op, third, Flags::NONE);
        turns(2).await;
        assert_eq!(peer_sees(&third_peer), Peer::Closed);
        assert!(!third_file.is_open());
        assert_eq!(metrics().in_flight, 0);
    });
}

/// Goal: a connection whose woken `accept()` is dropped goes to the next one.
/// Method: two accepts wait; one connection; drop the woken accept.
/// Kills: a turn that ends with a queued connection and wakes no other waiter.
#[test]
fn a_dropped_accept_passes_its_turn_on() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = Rc::new(listener());
        let mut first = Box::pin(listener.accept());
        assert!(poll_once(first.as_mut()).await.is_pending());
        let second = crate::spawn({
            let listener = Rc::clone(&listener);
            async move { listener.accept().await.map(drop) }
        });
        turns(2).await;
        let (fd, _file, _peer) = connection();
        script.complete(script.the(OpKind::Accept), fd, Flags::NONE.with_more());
        turns(1).await;
        drop(first);
        second.await.unwrap().unwrap();
    });
}

/// Goal: a listener without descriptors neither spins nor stops accepting (H50).
/// Method: complete every accept with EMFILE, for one virtual second; then one connection, and
/// another shortage.
/// Kills: arming at once; a timer per attempt; a report per attempt; a shortage that never ends.
#[test]
fn a_shortage_is_retried_ten_times_a_second() {
    let (script, runtime, reports) = reporting();
    runtime.block_on(async {
        let listener = listener();
        let start_ns = script.now_ns();
        script.direct(|script| {
            for op in script.all(OpKind::Accept) {
                script.complete(op, -errno::EMFILE, Flags::NONE);
            }
        });
        {
            let mut accept = pin!(listener.accept());
            let ten = crate::time::sleep(std::time::Duration::from_millis(1050));
            let mut ten = pin!(ten);
            poll_fn(|cx| {
                assert!(accept.as_mut().poll(cx).is_pending());
                ten.as_mut().poll(cx)
            })
            .await;
        }
        assert_eq!(script.now_ns() - start_ns, 10 * ACCEPT_BACKOFF_NS + ACCEPT_BACKOFF_NS / 2);
        assert_eq!(script.count_ops(OpKind::Accept), 11);
        assert_eq!(metrics().timers, 1, "one rest at a time");
        let texts = reports.take();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("pauses accepting"), "{texts:?}");

        script.direct(|script| {
            for op in script.all(OpKind::Accept) {
                script.complete(op, connection().0, Flags::NONE);
            }
        });
        drop(listener.accept().await.unwrap());
        script.direct(|script| {
            for op in script.all(OpKind::Accept) {
                script.complete(op, -errno::ENFILE, Flags::NONE);
            }
        });
        let accept = crate::time::timeout(std::time::Duration::from_millis(1), listener.accept());
        assert!(accept.await.is_err());
        assert_eq!(reports.take().len(), 1, "a new shortage, a new report");
        script.direct(|_| {});
    });
}

/// Goal: a peer that gave up ends no accept. An error of the socket is returned to every accept
/// that waits, once, and the next accept arms again (H19, H50).
/// Method: passing errors, each armed again at once; then EINVAL for two waiters; a third accept
/// gets the next result, an error or a connection.
/// Kills: a pause after ECONNABORTED; an error for one waiter only; an error that stays.
#[test]
fn passing_errors_are_retried_and_others_are_returned_once() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = Rc::new(listener());
        let tasks = [(); 2].map(|()| {
            let listener = Rc::clone(&listener);
            crate::spawn(async move { errno_of(listener.accept().await) })
        });
        turns(2).await;
        let codes = [errno::ECONNABORTED, errno::EINTR, 512, errno::EPERM];
        for code in codes {
            script.complete(script.the(OpKind::Accept), -code, Flags::NONE);
            turns(2).await;
        }
        assert_eq!((metrics().timers, script.count_ops(OpKind::Accept)), (0, 5));
        script.complete(script.the(OpKind::Accept), -errno::EINVAL, Flags::NONE);
        for task in tasks {
            assert_eq!(task.await.unwrap(), errno::EINVAL);
        }
        assert_eq!(metrics().in_flight, 0, "not armed again by itself");
        for answer in [-errno::EINVAL, connection().0] {
            let mut next = pin!(listener.accept());
            assert!(poll_once(next.as_mut()).await.is_pending());
            turns(1).await;
            script.complete(script.the(OpKind::Accept), answer, Flags::NONE);
            assert_eq!(next.await.is_ok(), answer >= 0);
        }
    });
}

/// Goal: an error for which no accept waits is returned to the next accept, and to no other.
/// Method: an accept is dropped before the error, and another one after it was woken by an error.
/// Kills: an error that is lost with its waiter; one that is returned twice.
#[test]
fn an_error_without_a_waiter_goes_to_the_next_accept() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = listener();
        for is_woken in [false, true] {
            {
                let mut accept = pin!(listener.accept());
                assert!(poll_once(accept.as_mut()).await.is_pending());
                turns(1).await;
                if is_woken {
                    script.complete(script.the(OpKind::Accept), -errno::EINVAL, Flags::NONE);
                    turns(2).await;
                }
            }
            if !is_woken {
                script.complete(script.the(OpKind::Accept), -errno::EINVAL, Flags::NONE);
                turns(2).await;
            }
            assert_eq!(errno_of(listener.accept().await), errno::EINVAL);
            let mut next = pin!(listener.accept());
            assert!(poll_once(next.as_mut()).await.is_pending());
            turns(1).await;
            script.complete(script.the(OpKind::Accept), connection().0, Flags::NONE);
            drop(next.await.unwrap());
        }
    });
}

/// Goal: a server that does not accept leaves further peers in the kernel's backlog.
/// Method: fill the queue; the accept is cancelled; take all; it is armed again.
/// Kills: a queue without a bound; an accept that stays cancelled; a connection lost at the bound.
#[test]
fn a_slow_server_stops_accepting() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = listener();
        {
            let mut accept = pin!(listener.accept());
            assert!(poll_once(accept.as_mut()).await.is_pending());
        }
        turns(1).await;
        let op = script.the(OpKind::Accept);
        for _ in 0..QUEUED_CONNECTIONS_MAX {
            assert!(script.cancels().is_empty());
            script.complete(op, connection().0, Flags::NONE.with_more());
            if script.count(|_| true) % 8 == 0 {
                turns(1).await;
            }
        }
        turns(60).await;
        assert_eq!(script.cancels(), [op.user_data]);
        for _ in 0..QUEUED_CONNECTIONS_MAX {
            drop(listener.accept().await.unwrap());
        }
        assert_eq!(script.count_ops(OpKind::Accept), 1);
        turns(1).await; // a fresh budget
        let mut accept = pin!(listener.accept());
        assert!(poll_once(accept.as_mut()).await.is_pending());
        turns(1).await;
        assert_eq!(script.all(OpKind::Accept).len(), 1);
    });
}

/// Goal: the first poll that finds a connection takes it, and an accept that was woken in vain
/// keeps its place before accepts that began to wait later.
/// Method: three wait; the first is woken, and a newcomer takes the connection before it; the next
/// two connections wake the first, then the second.
/// Kills: a connection that is reserved for a waiter; a woken waiter that moves to the end.
#[test]
fn a_newcomer_takes_what_is_queued_and_waiters_keep_their_places() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = listener();
        let deliver = |script: &Script| {
            let (fd, _file, peer) = connection();
            script.complete(script.the(OpKind::Accept), fd, Flags::NONE.with_more());
            (fd, peer)
        };
        let mut waiters =
            [(); 3].map(|()| (Box::pin(listener.accept()), Arc::new(Woken::default())));
        for (accept, woken) in &mut waiters {
            assert!(woken.poll(accept.as_mut()).is_pending());
        }
        turns(1).await;
        let (fd, _peer) = deliver(&script);
        until_woken(&waiters[0].1).await;
        assert_eq!(listener.accept().await.unwrap().as_raw_fd(), fd, "a newcomer");
        let [(first, was_first), (second, was_second), (_third, was_third)] = &mut waiters;
        assert!(was_first.poll(first.as_mut()).is_pending());

        let (fd, _peer) = deliver(&script);
        until_woken(was_first).await;
        assert!(!was_second.is_woken() && !was_third.is_woken());
        let Poll::Ready(stream) = was_first.poll(first.as_mut()) else { panic!("the first") };
        assert_eq!(stream.unwrap().as_raw_fd(), fd);
        let (fd, _peer) = deliver(&script);
        until_woken(was_second).await;
        assert!(!was_third.is_woken());
        let Poll::Ready(stream) = was_second.poll(second.as_mut()) else { panic!("the second") };
        assert_eq!(stream.unwrap().as_raw_fd(), fd);
    });
}

/// Goal: accepts that are alive and not polled any more delay neither a later accept nor those
/// that wait behind them.
/// Method: two accepts that are polled once and kept, a task that waits behind them, a connection;
/// then another connection for a new accept. Kills: a reservation; one wake per connection.
#[test]
fn a_forgotten_accept_holds_up_no_other() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = Rc::new(listener());
        let mut forgotten = [(); 2].map(|()| Box::pin(listener.accept()));
        for accept in &mut forgotten {
            assert!(Arc::new(Woken::default()).poll(accept.as_mut()).is_pending());
        }
        let behind = crate::spawn({
            let listener = Rc::clone(&listener);
            async move { listener.accept().await.map(drop) }
        });
        turns(2).await;
        let op = script.the(OpKind::Accept);
        script.complete(op, connection().0, Flags::NONE.with_more());
        behind.await.unwrap().unwrap();
        script.complete(op, connection().0, Flags::NONE.with_more());
        turns(2).await;
        drop(listener.accept().await.unwrap());
        drop(forgotten);
    });
}

thread_local! {
    static HELD: RefCell<Option<TcpListener>> = const { RefCell::new(None) };
}

/// A waker whose destructor drops a listener.
struct DropsListener;

impl Wake for DropsListener {
    fn wake(self: Arc<Self>) {}
}

impl Drop for DropsListener {
    fn drop(&mut self) {
        drop(HELD.take());
    }
}

/// Goal: a listener that is dropped while completions are dispatched does not change their order.
/// Method: a forgotten accept holds a waker that drops a second listener, which happens when the
/// first listener's accept has ended. After that completion one byte in the same batch, and one in
/// the next.
/// Kills: a pass through the kernel within the dispatch of another.
#[test]
fn a_listener_that_ends_among_answers_reorders_nothing() {
    let (script, runtime) = scripted_with(|builder| builder.ring_entries(64, 1024));
    runtime.block_on(async {
        let (first, second) = (listener(), listener());
        let mut accept = Box::pin(first.accept());
        let waker = Waker::from(Arc::new(DropsListener));
        assert!(accept.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        std::mem::forget(accept);
        turns(1).await;
        let op = script.the(OpKind::Accept);
        assert!(poll_once(pin!(second.accept())).await.is_pending());
        let (mut stream, _peer) = stream();
        arm(&mut stream).await;
        turns(1).await;
        HELD.set(Some(second));
        script.set_cancel_policy(CancelPolicy::Ignore);
        drop(first);
        script.set_cancel_policy(CancelPolicy::Obey);

        script.complete(op, -errno::ECANCELED, Flags::NONE);
        let recv = script.the(OpKind::Recv);
        assert!(script.deliver(recv, b"1", true));
        for _ in 0..40 {
            const MISSED_CANCEL: u64 = 0xF2;
            script.post(Cqe { user_data: MISSED_CANCEL, result: -errno::ENOENT, flags: 0 });
        }
        assert!(script.deliver(recv, b"2", true));
        turns(1).await;
        assert!(HELD.with_borrow(Option::is_none));
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"12");
        turns(3).await;
        assert_eq!(script.all(OpKind::Accept), []);
    });
}

/// Goal: accepts that wait and are never polled again do not make the queue exceed its bound.
/// Method: more forgotten accepts than places, a full queue; then take all of it.
/// Kills: arming with a full queue; an accept that is not armed again after that.
#[test]
fn forgotten_accepts_do_not_fill_the_queue() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = listener();
        for _ in 0..2 * QUEUED_CONNECTIONS_MAX {
            let mut accept = Box::pin(listener.accept());
            assert!(poll_once(accept.as_mut()).await.is_pending());
            std::mem::forget(accept);
        }
        turns(1).await;
        let op = script.the(OpKind::Accept);
        for _ in 0..QUEUED_CONNECTIONS_MAX {
            script.complete(op, connection().0, Flags::NONE.with_more());
        }
        turns(20).await;
        assert_eq!(script.cancels(), [op.user_data]);
        assert_eq!(script.all(OpKind::Accept), []);
        for _ in 0..QUEUED_CONNECTIONS_MAX {
            drop(listener.accept().await.unwrap());
        }
        turns(1).await; // a poll with a budget
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        turns(1).await;
        script.the(OpKind::Accept);
    });
}
