//! The idle timeout of a stream.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use super::*;
use crate::driver::request::OpKind;
use crate::driver::uring::entry::Entry;
use crate::time::sleep;

const MS: u64 = 1_000_000;

fn timers_set() -> u64 {
    context::current().reactor.timers_set()
}

fn is_timeout(entry: &Entry) -> bool {
    matches!(entry, Entry::Timeout { .. } | Entry::TimeoutUpdate { .. })
}

/// Delivers one byte to the receive that is armed.
async fn deliver(script: &Script) {
    while !script.deliver_if_lent(script.the(OpKind::Recv), b"x") {
        yield_now().await;
    }
}

/// Goal: a message costs no timer and no timeout entry.
///
/// Method: 1 000 messages, one a millisecond, each waited for, on a stream with an idle timeout of
/// 30 s; count the timers that were set and the timeout entries. Then the same with 100 ms: the
/// timer fires ten times a second and is set again, and no read fails.
///
/// Kills: a timer per read; a timer that is removed with each message; a timeout that does not see
/// the messages.
#[test]
fn a_thousand_messages_set_one_timer() {
    for (timeout_ms, timers_max) in [(30_000, 1), (100, 11)] {
        let (script, runtime) = scripted();
        runtime.block_on(async {
            let (mut stream, _peer) = stream();
            stream.set_idle_timeout(Some(Duration::from_millis(timeout_ms)));
            let before = timers_set();
            for _ in 0..1_000 {
                let mut recv = Box::pin(stream.recv());
                assert!(poll_once(recv.as_mut()).await.is_pending());
                turns(1).await;
                script.stall_ns(MS);
                deliver(&script).await;
                assert_eq!(&*recv.await.unwrap(), b"x");
            }
            let count = timers_set() - before;
            assert!((1..=timers_max).contains(&count), "{timeout_ms} ms: {count} timers");
            let entries_count = script.count(is_timeout);
            assert!(entries_count as u64 <= timers_max, "{timeout_ms} ms: {entries_count}");
        });
    }
}

/// Goal: a read that waits without a byte fails on time, and the stream goes on; no byte is lost.
///
/// Method: a byte after 60 of 100 ms, then silence, under `read_exact`; the error comes 100 ms
/// after the byte. The byte and the next one are then read, and the next silence is another error.
///
/// Kills: a deadline from the beginning of the read; an expiry that stays; bytes lost with it.
#[test]
fn a_silent_peer_fails_the_read_and_no_more() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.set_idle_timeout(Some(Duration::from_millis(100)));
        let start_ns = script.now_ns();
        let reader = crate::spawn(async move {
            let outcome = stream.read_exact(&mut [0; 2]).await;
            (outcome, stream)
        });
        sleep(Duration::from_millis(60)).await;
        deliver(&script).await;
        let (outcome, mut stream) = reader.await.unwrap();
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(script.now_ns() - start_ns, 160 * MS);

        let byte = stream.recv().await.unwrap();
        assert_eq!(&*byte, b"x");
        drop(byte);
        deliver(&script).await;
        assert_eq!(&*stream.recv().await.unwrap(), b"x");
        let start_ns = script.now_ns();
        assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(script.now_ns() - start_ns, 100 * MS);
    });
}

/// Goal: the time between two reads is no idle time; a read that is dropped and made anew goes on
/// with the same wait.
///
/// Method: a second without a read, then a read that gets its byte after 90 of 100 ms. Then reads
/// of 30 ms each, dropped: the fourth fails after 10.
///
/// Kills: counting from the last byte only; a wait that begins with each read.
#[test]
fn only_waiting_is_idle_time() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.set_idle_timeout(Some(Duration::from_millis(100)));
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        turns(1).await;
        deliver(&script).await;
        drop(stream.recv().await.unwrap());
        sleep(Duration::from_secs(1)).await;
        let mut recv = Box::pin(stream.recv());
        assert!(poll_once(recv.as_mut()).await.is_pending());
        sleep(Duration::from_millis(90)).await;
        assert!(poll_once(recv.as_mut()).await.is_pending());
        deliver(&script).await;
        drop(recv.await.unwrap());

        let start_ns = script.now_ns();
        let piece = Duration::from_millis(30);
        let mut outcome = None;
        for _ in 0..4 {
            assert!(outcome.is_none(), "before the fourth");
            outcome = crate::time::timeout(piece, stream.recv()).await.ok();
        }
        let error = outcome.expect("the fourth fails").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(script.now_ns() - start_ns, 100 * MS);
    });
}

/// Goal: bytes that come after the expiry and before the poll are the result of the read, and the
/// next read waits.
/// Method: a read that is woken by its expiry and not polled; a byte; two polls. Kills: an expiry
/// that outlives the bytes.
#[test]
fn late_bytes_win_over_the_expiry() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.set_idle_timeout(Some(Duration::from_millis(100)));
        let woken = Arc::new(Woken::default());
        let mut recv = Box::pin(stream.recv());
        assert!(woken.poll(recv.as_mut()).is_pending());
        sleep(Duration::from_millis(101)).await;
        assert!(woken.is_woken());
        deliver(&script).await;
        turns(2).await;
        assert_eq!(&*recv.await.unwrap(), b"x");
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
    });
}

/// Goal: the timer goes with the setting, with the stream and with the reading half, and holds
/// nothing open.
///
/// Method: each, with a read that waits; count the timers, look at the descriptor; and a read that
/// is carried out of its loop fails.
///
/// Kills: a timer that keeps the socket; a setting that is not taken back.
#[test]
fn an_idle_timer_keeps_nothing() {
    let (script, runtime) = scripted();
    let hour = Some(Duration::from_secs(3600));
    let woken = Arc::new(Woken::default());
    let mut carried = runtime.block_on(async {
        let (mut stream, peer) = stream();
        stream.set_idle_timeout(hour);
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        assert_eq!(metrics().timers, 1);
        stream.set_idle_timeout(None);
        assert_eq!(metrics().timers, 0);
        stream.set_idle_timeout(hour);
        assert_eq!(metrics().timers, 1, "the read still waits");
        drop(stream);
        turns(3).await;
        assert_eq!((metrics().timers, peer_sees(&peer)), (0, Peer::Closed));

        let (stream, _peer) = super::stream();
        let (mut reader, writer) = stream.into_split();
        reader.stream().set_idle_timeout(hour);
        assert!(poll_once(pin!(reader.recv())).await.is_pending());
        drop(reader);
        assert_eq!(metrics().timers, 0);
        drop(writer);

        let (mut stream, _peer) = super::stream();
        stream.set_idle_timeout(hour);
        [Box::pin(async move { stream.recv().await.map(drop) })]
    });
    let [carried] = &mut carried;
    runtime.block_on(async { assert!(woken.poll(carried.as_mut()).is_pending()) });
    drop(runtime);
    assert!(woken.is_woken());
    let outcome = woken.poll(carried.as_mut());
    assert!(matches!(&outcome, Poll::Ready(Err(error)) if error.kind() != ErrorKind::TimedOut));
    assert!(!script.is_leaked());
}

/// Goal: a stream with an idle timeout is given back at once.
///
/// Method: a read that has waited and was answered, so that the timer of an hour is set; then
/// `into_std`, by turns. Kills: waiting for the timer to let go of the socket, in a loop that
/// spins.
#[test]
fn into_std_does_not_wait_for_the_timer() {
    let (script, runtime) = scripted();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.set_idle_timeout(Some(Duration::from_secs(3_600)));
        let mut recv = Box::pin(stream.recv());
        assert!(poll_once(recv.as_mut()).await.is_pending());
        turns(1).await;
        deliver(&script).await;
        assert_eq!(&*recv.await.unwrap(), b"x");
        assert_eq!(metrics().timers, 1);

        let mut into_std = Box::pin(stream.into_std());
        for _ in 0..10 {
            if let Poll::Ready(given) = poll_once(into_std.as_mut()).await {
                assert!(given.unwrap().1.is_empty());
                assert_eq!(metrics().timers, 0);
                return;
            }
            turns(1).await;
        }
        panic!("not given back within ten turns");
    });
}
