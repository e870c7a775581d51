//! Listeners.

use std::pin::pin;

use super::*;
use crate::driver::request::{Flags, Verb};
use crate::net::stream::listening::QUEUED_CONNECTIONS_MAX;
use crate::sys::errno;

const REST_NS: u64 = 100_000_000;

/// Goal: the last completion of a multishot accept can carry a connection (H49).
/// Method: complete with a descriptor and without MORE; the accept is armed again.
/// Kills: looking at MORE before the result.
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
            script.complete(script.the(Verb::Accept), fd, Flags::NONE);
            let accepted = accept.await.unwrap();
            assert_eq!(accepted.as_raw_fd(), fd);
        }
        assert_eq!(script.count_ops(Verb::Accept), 2);
    });
}

/// Goal: a dropped `accept()` loses no connection, a dropped listener leaks none (H38).
/// Method: two connections for accepts that were dropped before and after being woken; take one,
/// drop the listener with the other queued, and deliver a third after that.
/// Kills: the descriptor kept in the future; a closed listener that forgets what still arrives.
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
        let op = script.the(Verb::Accept);
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

/// Goal: an `accept()` that is dropped after it was woken passes its turn on.
/// Method: two waiting, one connection, drop the woken one; the other one gets it.
/// Kills: `leave` without a look at the queue.
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
        script.complete(script.the(Verb::Accept), fd, Flags::NONE.with_more());
        turns(1).await;
        drop(first);
        second.await.unwrap().unwrap();
    });
}

/// Goal: a listener without descriptors neither spins nor gives up (H50).
/// Method: answer every accept with EMFILE, for one virtual second; then let one succeed, and start
/// another shortage.
/// Kills: arming at once; a timer per attempt; a report per attempt; a shortage that is never over.
#[test]
fn a_shortage_is_retried_ten_times_a_second() {
    let (script, runtime, reports) = reporting();
    runtime.block_on(async {
        let listener = listener();
        let start_ns = script.now_ns();
        script.direct(|script| {
            for op in script.all(Verb::Accept) {
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
        assert_eq!(script.now_ns() - start_ns, 10 * REST_NS + REST_NS / 2);
        assert_eq!(script.count_ops(Verb::Accept), 11);
        assert_eq!(metrics().timers, 1, "one rest at a time");
        let texts = reports.take();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("pauses accepting"), "{texts:?}");

        script.direct(|script| {
            for op in script.all(Verb::Accept) {
                script.complete(op, connection().0, Flags::NONE);
            }
        });
        drop(listener.accept().await.unwrap());
        script.direct(|script| {
            for op in script.all(Verb::Accept) {
                script.complete(op, -errno::ENFILE, Flags::NONE);
            }
        });
        let accept = crate::time::timeout(std::time::Duration::from_millis(1), listener.accept());
        assert!(accept.await.is_err());
        assert_eq!(reports.take().len(), 1, "a new shortage, a new report");
        script.direct(|_| {});
    });
}

/// Goal: a peer that gave up ends nothing, a broken socket ends accepting for everybody (H19, H50).
/// Method: errors that pass, each armed again at once; then EINVAL for two that wait.
/// Kills: resting after ECONNABORTED; an error that only one waiter hears.
#[test]
fn passing_errors_are_retried_and_others_stay() {
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
            script.complete(script.the(Verb::Accept), -code, Flags::NONE);
            turns(2).await;
        }
        assert_eq!((metrics().timers, script.count_ops(Verb::Accept)), (0, 5));
        script.complete(script.the(Verb::Accept), -errno::EINVAL, Flags::NONE);
        for task in tasks {
            assert_eq!(task.await.unwrap(), errno::EINVAL);
        }
        assert_eq!(errno_of(listener.accept().await), errno::EINVAL);
        assert_eq!(metrics().in_flight, 0);
    });
}

/// Goal: a server that does not accept leaves further peers in the kernel's backlog.
/// Method: deliver up to the bound; the accept is cancelled; take all; it is armed again.
/// Kills: no bound; no arming after it; a connection lost at the bound.
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
        let op = script.the(Verb::Accept);
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
        assert_eq!(script.count_ops(Verb::Accept), 1);
        turns(1).await; // a fresh budget
        let mut accept = pin!(listener.accept());
        assert!(poll_once(accept.as_mut()).await.is_pending());
        turns(1).await;
        assert_eq!(script.all(Verb::Accept).len(), 1);
    });
}

/// Goal: accepts are served in the order in which they began to wait.
/// Method: one waits and is woken by a connection; before it is polled, another one begins.
/// Kills: a newcomer that takes from the queue what somebody else was woken for.
#[test]
fn a_newcomer_waits_behind_those_who_were_woken() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let listener = listener();
        let mut first = pin!(listener.accept());
        assert!(poll_once(first.as_mut()).await.is_pending());
        turns(1).await;
        let op = script.the(Verb::Accept);
        let (fd, _file, _peer) = connection();
        script.complete(op, fd, Flags::NONE.with_more());
        turns(2).await;
        let mut newcomer = pin!(listener.accept());
        assert!(poll_once(newcomer.as_mut()).await.is_pending());
        assert_eq!(first.await.unwrap().as_raw_fd(), fd);

        let (fd, _file, _peer) = connection();
        script.complete(op, fd, Flags::NONE.with_more());
        assert_eq!(newcomer.await.unwrap().as_raw_fd(), fd);
    });
}
