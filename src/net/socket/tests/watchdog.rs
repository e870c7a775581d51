//! Wake-ups, cancels and completions that the kernel loses (H02, H33, H55).

use std::future::pending;
use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use super::*;
use crate::driver::request::{Flags, OpKind};
use crate::driver::uring::entry::{Cqe, Entry};
use crate::driver::uring::scripted::CancelPolicy;
use crate::spawn;
use crate::sys::errno;
use crate::time::{sleep, timeout};

const BYTES: &[u8] = b"twelve bytes";

/// A scripted runtime that looks after its operations, as on a real ring.
fn watched() -> (Script, Runtime) {
    let (script, runtime) = scripted();
    runtime.block_on(async { context::current().reactor.watch_from_now_on() });
    (script, runtime)
}

/// Goal: a receive or an accept that the kernel has forgotten is asked for again within seconds,
/// each of many, and nothing is lost.
///
/// Method: 300 receives and an accept, real bytes and a real connection for all, no completion;
/// four seconds of virtual time. Then the answers to the second requests.
///
/// Kills: looking at the first operations only; cancelling at the first look; a cancel after which
/// no task asks again.
#[test]
fn what_the_kernel_forgets_is_asked_for_again() {
    let (script, runtime) = watched();
    runtime.block_on(async {
        let mut peers = Vec::new();
        let mut readers = Vec::new();
        for _ in 0..300 {
            let (mut stream, mut peer) = stream();
            peer.write_all(BYTES).unwrap();
            peers.push(peer);
            readers.push(spawn(async move { stream.recv().await.unwrap().len() }));
        }
        let listener = listener();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accept = spawn(async move { listener.accept().await.map(drop) });
        sleep(Duration::from_millis(1_900)).await;
        assert_eq!(script.cancels(), [], "one look is not enough");
        let forgotten = script.in_flight();
        assert_eq!(forgotten.len(), 301);
        sleep(Duration::from_secs(3)).await;
        let in_flight = script.in_flight();
        assert_eq!(in_flight.len(), 301, "all were asked for again");
        assert!(forgotten.iter().all(|op| !in_flight.contains(op)));
        assert_eq!(metrics().lost_wakeups, script.cancels().len() as u64);

        for recv in script.all(OpKind::Recv) {
            while !script.deliver_if_lent(recv, BYTES) {
                yield_now().await;
            }
        }
        let (fd, _file, _peer) = connection();
        script.complete(script.the(OpKind::Accept), fd, Flags::NONE.with_more());
        for reader in readers {
            assert_eq!(reader.await.unwrap(), BYTES.len());
        }
        accept.await.unwrap().unwrap();
    });
    drop(runtime);
    assert!(!script.is_leaked());
}

/// Goal: operations that are answered, or have nothing to answer, are left alone.
///
/// Method: a receive on a socket that is always ready and is answered every 600 ms, and one on a
/// silent socket, for ten seconds of virtual time. Kills: not taking an answer for a sign of life;
/// taking age for suspicion.
#[test]
fn what_is_alive_is_left_alone() {
    let (script, runtime) = watched();
    runtime.block_on(async {
        let (mut busy, mut peer) = stream();
        peer.write_all(BYTES).unwrap();
        let (mut silent, _silent_peer) = stream();
        drop(spawn(async move {
            while let Ok(bytes) = busy.recv().await {
                assert_eq!(&*bytes, BYTES);
            }
        }));
        turns(2).await;
        let recv = script.the(OpKind::Recv);
        drop(spawn(async move {
            let _ = silent.recv().await;
            pending::<()>().await;
        }));
        for _ in 0..16 {
            sleep(Duration::from_millis(600)).await;
            assert!(script.deliver(recv, BYTES, true));
        }
        assert_eq!(script.cancels(), []);
        assert_eq!(metrics().lost_wakeups, 0);
    });
}

/// Goal: a cancel that has no effect is repeated until the operation ends, whether or not it was
/// answered, and no other operation is disturbed (H33).
/// Method: cancels ignored, one of them answered with ENOENT; close a stream; virtual time passes;
/// then cancels are obeyed. Kills: a cancel sent once; counting its answer as the operation's end.
#[test]
fn a_cancel_without_effect_is_repeated() {
    let (script, runtime) = watched();
    script.set_cancel_policy(CancelPolicy::Ignore);
    runtime.block_on(async {
        let (mut stream, peer) = shared_stream();
        assert!(poll_once(pin!(stream.recv())).await.is_pending());
        turns(1).await;
        let op = script.the(OpKind::Recv);
        drop(stream);
        turns(2).await;
        let is_cancel = |entry: &Entry| matches!(entry, Entry::Cancel { .. });
        let (cancel, _) = *script.log().iter().find(|(_, entry)| is_cancel(entry)).unwrap();
        script.post(Cqe { user_data: cancel, result: -errno::ENOENT, flags: 0 });
        sleep(Duration::from_millis(350)).await;
        assert_eq!(script.cancels(), [op.user_data; 4]);
        assert_eq!((metrics().cancels_repeated, metrics().in_flight), (3, 1));
        assert_eq!(peer_sees(&peer), Peer::Open);

        script.set_cancel_policy(CancelPolicy::Obey);
        sleep(Duration::from_millis(101)).await;
        assert_eq!(metrics().in_flight, 0);
        assert_eq!(peer_sees(&peer), Peer::Closed);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(metrics().cancels_repeated, 4, "none after the end");
    });
}

/// Goal: cancels that work cost no turn and no timer later.
/// Method: 100 streams closed; ten seconds of virtual time; count the turns. Kills: a note that is
/// kept until its time has come; a sleep that ends for a cancel which is over.
#[test]
fn a_cancel_that_works_costs_nothing_later() {
    let (script, runtime) = watched();
    runtime.block_on(async {
        for _ in 0..100 {
            let (mut stream, _peer) = shared_stream();
            assert!(poll_once(pin!(stream.recv())).await.is_pending());
            turns(1).await;
            drop(stream);
        }
        turns(3).await;
        assert_eq!((script.cancels().len(), metrics().in_flight), (100, 0));
        let before_count = metrics().turns;
        sleep(Duration::from_secs(10)).await;
        let turns_count = metrics().turns - before_count;
        assert!(turns_count <= 10, "{turns_count} turns for ten looks");
    });
}

/// Goal: a send that the kernel has forgotten ends with an error, and one that waits for a slow
/// peer is left alone.
/// Method: a send on a socket with room and one on a full socket, neither completes; four seconds
/// of virtual time. Kills: looks at receives only; taking age for suspicion.
#[test]
fn a_forgotten_send_is_an_error() {
    let (script, runtime) = watched();
    runtime.block_on(async {
        let (mut forgotten, _peer) = stream();
        forgotten.write_all(BYTES).await.unwrap();
        let (mut blocked, _blocked_peer) = stream();
        fill(&blocked);
        blocked.write_all(BYTES).await.unwrap();
        turns(1).await;
        assert_eq!(script.all(OpKind::Send).len(), 2);
        sleep(Duration::from_secs(4)).await;
        let flushed = timeout(Duration::from_secs(1), forgotten.flush()).await;
        assert_eq!(errno_of(flushed.expect("no hang")), errno::ECANCELED);
        assert_eq!((script.all(OpKind::Send).len(), metrics().lost_wakeups), (1, 1));
    });
}

/// Fills the socket of a stream whose kernel is a script.
fn fill(stream: &TcpStream) {
    let copy = stream.as_fd().try_clone_to_owned().expect("a descriptor");
    let mut copy = UnixStream::from(copy);
    copy.set_nonblocking(true).expect("an open socket");
    while copy.write(&[0; 4096]).is_ok() {}
}

/// Goal: a completion that the kernel has dropped fails the operation that it belongs to, and no
/// other (H02).
/// Method: drop the final completion of one of three receives, and that of an accept; the ring
/// reports EBADR. The others are asked for again and receive; the silent one ends with an error and
/// leaks no slot; a dropped stream among the silent ones closes. Kills: an end of the driver; no
/// check; giving up on those that answer; resuming a stream that may have lost bytes.
#[test]
fn a_dropped_completion_fails_one_operation() {
    let (script, runtime) = watched();
    runtime.block_on(async {
        let mut peers = Vec::new();
        let mut readers = Vec::new();
        for _ in 0..3 {
            let (mut stream, peer) = stream();
            peers.push(peer);
            readers.push(spawn(async move { stream.recv().await.map(|bytes| bytes.len()) }));
        }
        let listener = listener();
        let accept = spawn(async move { listener.accept().await.map(drop) });
        turns(2).await;
        script.drop_completion(script.all(OpKind::Recv)[1]);
        script.drop_completion(script.the(OpKind::Accept));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(metrics().dropped_completions, 2);
        assert_eq!(script.in_flight().len(), 3, "two receives and the accept, asked for again");
        assert_eq!(metrics().in_flight, 3);

        let (fd, _file, _peer) = connection();
        script.complete(script.the(OpKind::Accept), fd, Flags::NONE.with_more());
        for recv in script.all(OpKind::Recv) {
            assert!(script.deliver(recv, BYTES, true));
        }
        accept.await.unwrap().unwrap();
        let mut results = Vec::new();
        for reader in readers {
            let result = timeout(Duration::from_secs(1), reader).await;
            results.push(result.expect("no hang").unwrap());
        }
        assert_eq!(results[0].as_ref().unwrap(), &BYTES.len());
        let error = results[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("dropped the completion"), "{error}");
        assert_eq!(results[2].as_ref().unwrap(), &BYTES.len());
    });
    drop(runtime);
    assert!(!script.is_leaked());
}

/// Goal: a receive into a private buffer whose completion was dropped ends its stream (H02). It
/// never waits for its peer, so nothing that the peer does would ever end it.
/// Method: an empty pool, then drop the completion of the private receive; the peer sends nothing
/// more.
/// Kills: a check of multishot receives only.
#[test]
fn a_dropped_completion_of_a_private_receive_is_no_hang() {
    let (script, runtime) = watched();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        let reader = spawn(async move { stream.recv().await.map(|bytes| bytes.len()) });
        turns(2).await;
        script.complete(script.the(OpKind::Recv), -errno::ENOBUFS, Flags::NONE);
        turns(2).await;
        script.drop_completion(script.the(OpKind::RecvInto));
        let result = timeout(Duration::from_secs(2), reader).await;
        let error = result.expect("no hang").unwrap().unwrap_err().to_string();
        assert!(error.contains("dropped the completion"), "{error}");
    });
}

/// As [`watched`], with a completion queue that does not overflow: a turn then enters once, and
/// brings at most forty completions.
fn watched_without_overflow() -> (Script, Runtime) {
    let (script, runtime) = scripted_with(|builder| builder.ring_entries(64, 1024));
    runtime.block_on(async { context::current().reactor.watch_from_now_on() });
    (script, runtime)
}

/// Completions that the loop has to take before those that come later.
fn post_others(script: &Script, count: usize) {
    const MISSED_CANCEL: u64 = 0xF2;
    for _ in 0..count {
        script.post(Cqe { user_data: MISSED_CANCEL, result: -errno::ENOENT, flags: 0 });
    }
}

/// Goal: a send whose completion waits behind others in a loop with slow turns is not taken for a
/// forgotten one, which would reset the connection of a healthy peer.
/// Method: a send on a socket with room, its completion behind 200 others, turns that take longer
/// than the pause between two looks. Kills: two looks alone as the proof; a look that forgets the
/// suspects.
#[test]
fn a_send_that_completes_late_is_left_alone() {
    let (script, runtime) = watched_without_overflow();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        stream.write_all(BYTES).await.unwrap();
        turns(1).await;
        post_others(&script, 200);
        script.complete(script.the(OpKind::Send), BYTES.len() as i32, Flags::NONE);
        for _ in 0..4 {
            script.advance_ns(1_100_000_000);
            turns(1).await;
        }
        assert!(script.pending_count() > 0, "the loop is behind");
        assert_eq!((script.cancels(), metrics().lost_wakeups), (vec![], 0));
        turns(20).await;
        stream.flush().await.unwrap();

        // One that is forgotten after that still ends, though the loop was behind at its first
        // look.
        stream.write_all(BYTES).await.unwrap();
        turns(1).await;
        post_others(&script, 100);
        script.advance_ns(1_100_000_000);
        turns(1).await;
        sleep(Duration::from_secs(3)).await;
        assert_eq!(errno_of(stream.flush().await), errno::ECANCELED);
    });
}

/// Goal: after a dropped completion, an operation whose cancel is answered late is not given up.
/// Method: drop one completion; later close another stream, its final completion behind 400 others,
/// in turns longer than the pause between two cancels. Kills: three cancels alone as the proof,
/// after which the completion belongs to no operation.
#[test]
fn a_cancel_that_is_answered_late_is_not_given_up() {
    let (script, runtime) = watched_without_overflow();
    runtime.block_on(async {
        let (mut silent, _silent_peer) = stream();
        arm(&mut silent).await;
        turns(1).await;
        script.drop_completion(script.the(OpKind::Recv));
        sleep(Duration::from_secs(1)).await;
        assert_eq!((metrics().dropped_completions, metrics().in_flight), (1, 0));

        let (mut stream, peer) = shared_stream();
        arm(&mut stream).await;
        turns(1).await;
        let op = script.the(OpKind::Recv);
        drop(stream);
        post_others(&script, 400);
        script.complete(op, -errno::ECANCELED, Flags::NONE);
        for _ in 0..7 {
            script.advance_ns(150_000_000);
            turns(1).await;
        }
        assert_eq!((metrics().in_flight, peer_sees(&peer)), (1, Peer::Open));
        turns(20).await;
        assert_eq!((metrics().in_flight, metrics().stale_completions), (0, 0));
        assert_eq!(peer_sees(&peer), Peer::Closed);
    });
}

/// Goal: after a dropped completion, an operation whose cancels are lost is not given up while it
/// still answers (H02, H33).
/// Method: drop the completion of one receive; the cancels of another are ignored, and bytes come
/// every 150 ms for a second; then it ends as cancelled. Kills: counting cancels alone.
#[test]
fn an_operation_that_answers_is_not_given_up() {
    let (script, runtime) = watched();
    runtime.block_on(async {
        let (mut silent, _silent_peer) = stream();
        let silent = spawn(async move { silent.recv().await.map(drop) });
        turns(2).await;
        let dropped = script.the(OpKind::Recv);
        let (mut alive, _alive_peer) = stream();
        arm(&mut alive).await;
        turns(2).await;
        let recv = script.all(OpKind::Recv)[1];
        script.set_cancel_policy(CancelPolicy::Ignore);
        script.drop_completion(dropped);
        for _ in 0..7 {
            sleep(Duration::from_millis(150)).await;
            assert!(script.deliver(recv, BYTES, true));
            assert_eq!(&*alive.recv().await.unwrap(), BYTES);
        }
        script.complete(recv, -errno::ECANCELED, Flags::NONE);
        silent.await.unwrap().unwrap_err();
        arm(&mut alive).await;
        turns(2).await;
        assert!(script.deliver(script.the(OpKind::Recv), BYTES, true));
        assert_eq!(&*alive.recv().await.unwrap(), BYTES);
        assert_eq!(metrics().stale_completions, 0);
        script.set_cancel_policy(CancelPolicy::Obey);
    });
}
