//! Tests of the loop on a scripted ring: turns, wakes, and the end.

mod ending;
mod growth;
mod slow_polls;
mod spinning;
mod virtual_time;

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::builder::Builder;
use super::{Handle, Runtime};
use crate::driver::request::{Flags, OpKind};
use crate::driver::uring::entry::Entry;
use crate::driver::uring::scripted::{CancelPolicy, Script};
use crate::net::TcpStream;
use crate::task::yield_now;
use crate::time::sleep;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

type Reports = Rc<RefCell<Vec<String>>>;

fn scripted_with(set: impl FnOnce(Builder) -> Builder) -> (Script, Runtime, Reports) {
    let script = Script::new();
    let reports = Reports::default();
    let heard = Rc::clone(&reports);
    let builder = Runtime::builder()
        .ring_entries(16, 32)
        .recv_buffers(4, 64)
        .on_unhandled(move |unhandled| heard.borrow_mut().push(unhandled.to_string()));
    let runtime = set(builder).build_scripted(&script);
    (script, runtime, reports)
}

fn scripted() -> (Script, Runtime, Reports) {
    scripted_with(|builder| builder)
}

/// A stream on one end of a real socket pair, and the other end.
fn stream() -> (TcpStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    theirs.set_nonblocking(true).expect("an open socket");
    let ours = std::net::TcpStream::from(std::os::fd::OwnedFd::from(ours));
    (TcpStream::from_std(ours), theirs)
}

fn is_closed(mut peer: &UnixStream) -> bool {
    matches!(peer.read(&mut [0; 8]), Ok(0))
}

/// Goal: a wake from another thread ends the sleep, each time.
/// Method: a thread wakes the main future while the loop sleeps without other events, then a task,
/// then both while it is awake. Kills: a wake fd that is notified once; a wake that is only
/// queued.
#[test]
fn another_thread_ends_a_sleep() {
    let (script, runtime, _reports) = scripted();
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let to_wake = Rc::clone(&wakers);
    script.direct(move |_| {
        let wakers = to_wake.take();
        let thread = std::thread::spawn(move || wakers.into_iter().for_each(Waker::wake));
        thread.join().unwrap();
    });
    let parked = move |count: u32| {
        let wakers = Rc::clone(&wakers);
        let mut polls_left = count;
        poll_fn(move |cx| {
            if polls_left == 0 {
                return Poll::Ready(());
            }
            polls_left -= 1;
            wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
    };
    runtime.block_on(async {
        parked(3).await;
        crate::spawn(parked(3)).await.unwrap();
        let task = crate::spawn(parked(2));
        parked(2).await;
        task.await.unwrap();
        let polls = script.count(|entry| matches!(entry, Entry::WakePoll { .. }));
        assert_eq!(polls, 1, "one multishot poll for 8 sleeps");
        assert_eq!(Handle::current().metrics().spin_backoffs, 0);
    });
}

/// Goal: the loop does not sleep after a wake that comes before the enter.
/// Method: the thread has woken the main future before its poll returns. Kills: sleeping without a
/// last check of the inbox.
#[test]
fn a_wake_before_the_sleep_is_seen() {
    let (_script, runtime, _reports) = scripted();
    runtime.block_on(async {
        let mut is_woken = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_woken, true) {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            std::thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        })
        .await;
    });
}

/// Goal: a reply does not wait for the computation of later tasks.
/// Method: a task submits, the next ones compute for 60 µs each; the third finds the request
/// submitted, the second does not. Kills: submitting only at the end of a turn; at every poll.
#[test]
fn a_reply_leaves_in_the_middle_of_a_turn() {
    let (script, runtime, _reports) = scripted();
    let seen = Rc::new(RefCell::new(Vec::new()));
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        let mut tasks = vec![crate::spawn(async move {
            stream.write_all(b"reply").await.unwrap();
            stream.flush().await.unwrap();
        })];
        for _ in 0..4 {
            let (script, seen) = (script.clone(), Rc::clone(&seen));
            tasks.push(crate::spawn(async move {
                seen.borrow_mut().push(script.count_ops(OpKind::Send));
                script.advance_ns(60 * US);
            }));
        }
        yield_now().await;
        script.complete(script.the(OpKind::Send), 5, Flags::NONE);
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(*seen.borrow(), [0, 0, 1, 1]);
}

/// Goal: a burst of requests does not wait for the end of the turn.
/// Method: a queue of 16, tasks that each start a receive, with the clock at rest: the ninth sees
/// eight submitted. Kills: the half-full rule.
#[test]
fn half_a_queue_leaves_in_the_middle_of_a_turn() {
    let (script, runtime, _reports) = scripted();
    let seen = Rc::new(RefCell::new(Vec::new()));
    runtime.block_on(async {
        yield_now().await; // the driver's own entries
        let mut peers = Vec::new();
        for _ in 0..10 {
            let (mut stream, peer) = stream();
            peers.push(peer);
            let (script, seen) = (script.clone(), Rc::clone(&seen));
            crate::spawn(async move {
                seen.borrow_mut().push(script.count_ops(OpKind::Recv));
                let _ = stream.recv().await;
            });
        }
        yield_now().await;
        yield_now().await;
    });
    assert_eq!(*seen.borrow(), [0, 0, 0, 0, 0, 0, 0, 0, 8, 8]);
}

/// Goal: a future that is polled outside of a loop has no budget.
/// Method: spend the budget in a loop, end the loop, and poll a flush of an empty queue 300 times.
/// Kills: a budget that remains from the loop's last poll, or that is not refilled.
#[test]
fn outside_of_a_loop_there_is_no_budget() {
    let (_script, runtime, _reports) = scripted();
    let (mut stream, _peer) = runtime.block_on(async {
        let (mut stream, peer) = stream();
        for _ in 0..100 {
            stream.flush().await.unwrap();
        }
        (stream, peer)
    });
    drop(runtime);
    for round in 0..300 {
        let mut flush = std::pin::pin!(stream.flush());
        let outcome = flush.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        assert!(outcome.is_ready(), "round {round}");
    }
}

/// Goal: timers that are set for later and cancelled cause no request to the kernel (H40).
/// Method: a 10 ms sleep; meanwhile 100 timers of 30 s set and dropped; then one that is earlier
/// and dropped: the kernel's entry is early, which costs one turn.
/// Kills: arming per timer; disarming on cancel.
#[test]
fn idle_timers_make_no_system_call() {
    let (script, runtime, _reports) = scripted();
    let is_timeout =
        |entry: &Entry| matches!(entry, Entry::Timeout { .. } | Entry::TimeoutUpdate { .. });
    runtime.block_on(async {
        let start_ns = script.now_ns();
        let main = crate::spawn(sleep(Duration::from_millis(10)));
        yield_now().await;
        for _ in 0..100 {
            let idle = crate::time::timeout(Duration::from_secs(30), yield_now());
            idle.await.unwrap();
        }
        assert!(script.count(is_timeout) <= 1);
        assert_eq!(Handle::current().metrics().timers, 1);
        main.await.unwrap();
        assert_eq!(script.now_ns() - start_ns, 10 * MS, "never early");
        assert_eq!(script.count(is_timeout), 1);
        assert_eq!(Handle::current().metrics().timeout_arms, 1);
    });
}

/// Goal: a runtime that is dropped with operations in flight ends all of them (H15).
/// Method: readers, a listener, a connect and queued bytes; cancels work; each is cancelled once.
/// Kills: a drain that misses a kind; descriptors that stay open; a leak without need; a drain that
/// cancels an operation again that the end of the tasks has cancelled.
#[test]
fn a_dropped_runtime_leaves_nothing() {
    let (script, runtime, reports) = scripted();
    let mut peers = Vec::new();
    runtime.block_on(async {
        for _ in 0..20 {
            let (mut stream, peer) = stream();
            peers.push(peer);
            crate::spawn(async move { stream.recv().await.map(drop) });
        }
        crate::spawn(async {
            let listener = crate::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.accept().await.map(drop)
        });
        crate::spawn(async { TcpStream::connect("127.0.0.1:9").await.map(drop) });
        crate::spawn(sleep(Duration::from_secs(3600)));
        yield_now().await;
        yield_now().await;
        assert_eq!(script.in_flight().len(), 22);
    });
    let start_ns = script.now_ns();
    drop(runtime);
    assert!(script.in_flight().is_empty() && !script.is_leaked());
    let mut cancelled = script.cancels();
    cancelled.sort_unstable();
    cancelled.dedup();
    // The operations, and the driver's own poll of the wake fd.
    assert_eq!((cancelled.len(), script.cancels().len()), (22 + 1, 22 + 1));
    assert_eq!(script.now_ns(), start_ns, "no deadline was needed");
    assert!(peers.iter().all(is_closed));
    assert!(reports.borrow().is_empty(), "{:?}", reports.borrow());
}

/// Goal: with a kernel that ignores cancels, dropping a runtime returns: the memory that the kernel
/// may still write to is leaked and reported, and the descriptors stay open (H15, H29, H33).
/// Method: cancels ignored; the cancel is repeated until the deadline; check ring, report, peer.
/// Kills: a drop that hangs; one that frees; a cancel that is sent once.
#[test]
fn an_undrained_runtime_leaks_and_reports_it() {
    let (script, runtime, reports) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let peer = runtime.block_on(async {
        let (mut stream, peer) = stream();
        crate::spawn(async move { stream.recv().await.map(drop) });
        yield_now().await;
        yield_now().await;
        peer
    });
    let start_ns = script.now_ns();
    drop(runtime);
    assert!(script.is_leaked());
    assert_eq!(script.now_ns() - start_ns, 2_000 * MS);
    let op = script.the(OpKind::Recv);
    let cancels = script.cancels();
    assert!(cancels.len() >= 20, "{} cancels", cancels.len());
    assert!(cancels.iter().all(|&target| target == op.user_data));
    assert!(!is_closed(&peer), "the operation names the descriptor");
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].starts_with("1 operations outlived"), "{reports:?}");
    assert_eq!(script.provided_count(), 4, "not taken back");
}

/// Goal: a dropped runtime lets dropped streams finish sending, for at most one second, and reports
/// lost bytes.
/// Method: one stream whose send succeeds, one whose send never ends. Kills: cancelling at once;
/// waiting without end; losing bytes without a report.
#[test]
fn a_dropped_runtime_lingers() {
    let (script, runtime, reports) = scripted();
    let peers = runtime.block_on(async {
        let (mut quick, quick_peer) = stream();
        quick.write_all(b"quick").await.unwrap();
        let (mut stuck, stuck_peer) = stream();
        stuck.write_all(b"stuck!").await.unwrap();
        [quick_peer, stuck_peer]
    });
    let start_ns = script.now_ns();
    script.direct(|script| {
        for send in script.all(OpKind::Send) {
            if script.bytes_of(send) == b"quick" {
                script.complete(send, 5, Flags::NONE);
            }
        }
    });
    drop(runtime);
    assert_eq!(script.now_ns() - start_ns, 1_000 * MS);
    assert!(peers.iter().all(is_closed) && !script.is_leaked());
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains("lost 6 queued bytes"), "{reports:?}");
}

/// Goal: a send that ends with a part of its bytes while the runtime is being closed leaves no
/// descriptor open and hides no loss (H30: a cancelled send may report a count).
/// Method: two chunks queued; the linger ends; the cancelled send completes with a short count.
/// Kills: a socket on the list of those that prepare for an enter that does not come.
#[test]
fn a_short_send_during_the_drain_closes_its_socket() {
    let (script, runtime, reports) = scripted();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let peer = runtime.block_on(async {
        let (mut stream, peer) = stream();
        stream.write_all(b"first").await.unwrap();
        yield_now().await;
        stream.write_all(b"second").await.unwrap();
        peer
    });
    script.direct(|script| {
        for send in script.all(OpKind::Send) {
            if script.cancels().contains(&send.user_data) {
                script.complete(send, 2, Flags::NONE);
            }
        }
    });
    drop(runtime);
    assert!(!script.is_leaked());
    assert!(is_closed(&peer), "the socket is closed with its runtime");
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    // The loss is counted when the linger ends, or at the last completion.
    assert!(reports[0].starts_with("a dropped stream lost"), "{reports:?}");
}

/// Goal: a stream that outlives its runtime closes its descriptor when it is dropped, after any
/// operations on it.
/// Method: bytes queued before the end or after it; a read; drop. Kills: a closed loop that keeps
/// sockets in its lists; a hang; a panic.
#[test]
fn a_stream_may_outlive_its_runtime() {
    for queues_before in [true, false] {
        let (_script, runtime, _reports) = scripted();
        let (mut stream, peer) = runtime.block_on(async {
            let (mut stream, peer) = stream();
            if queues_before {
                stream.write_all(b"never sent").await.unwrap();
            }
            (stream, peer)
        });
        drop(runtime);
        let (_script, other, _reports) = scripted();
        other.block_on(async {
            assert!(stream.recv().await.is_err());
            if !queues_before {
                let _ = stream.write_all(b"late").await;
            }
        });
        drop(stream);
        assert!(is_closed(&peer), "queued before the end: {queues_before}");
    }
}

/// Goal: remaining tasks are dropped on the loop's thread before its end, and may use the loop.
/// Method: a future that never ends, whose destructor spawns. Kills: leaking tasks; destructors
/// that run without the context.
#[test]
fn leftover_tasks_are_dropped() {
    struct Spawns(Rc<RefCell<u32>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            *self.0.borrow_mut() += 1;
            let _cancelled = crate::spawn(async {});
        }
    }
    let (_script, runtime, _reports) = scripted();
    let drops = Rc::new(RefCell::new(0));
    let guard = Spawns(Rc::clone(&drops));
    runtime.block_on(async {
        crate::spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        yield_now().await;
    });
    assert_eq!(*drops.borrow(), 0);
    drop(runtime);
    assert_eq!(*drops.borrow(), 1);
}

/// Goal: the end of a runtime waits at most the builder's `linger` for the last bytes of a stream.
/// Method: a short linger, a dropped stream whose send never ends by itself, virtual time.
/// Kills: a shutdown that sleeps through the timers of its streams.
#[test]
fn a_short_linger_is_kept_at_the_end() {
    let linger = std::time::Duration::from_millis(50);
    let (script, runtime, reports) = scripted_with(|builder| builder.linger(linger));
    let peer = runtime.block_on(async {
        let (mut stream, peer) = stream();
        stream.write_all(b"never taken").await.unwrap();
        peer
    });
    let start_ns = script.now_ns();
    drop(runtime);
    assert_eq!(script.now_ns() - start_ns, 50 * MS);
    assert!(is_closed(&peer) && !script.is_leaked());
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains("lost 11 queued bytes"), "{reports:?}");
}

/// Goal: the builder or the caller sets how long the end waits for streams that still send.
/// Method: a dropped stream whose send never ends; the limits of both kinds, virtual time.
/// Kills: a fixed limit; a `shutdown_timeout` without effect.
#[test]
fn the_limit_of_the_end_can_be_set() {
    for (limit_ms, is_set_at_the_end) in [(200, false), (3_000, false), (3_000, true), (0, true)] {
        let limit = Duration::from_millis(limit_ms);
        let (script, runtime, reports) = scripted_with(|builder| match is_set_at_the_end {
            true => builder,
            false => builder.shutdown_linger(limit),
        });
        let peer = runtime.block_on(async {
            let (mut stream, peer) = stream();
            stream.write_all(b"never taken").await.unwrap();
            peer
        });
        let start_ns = script.now_ns();
        match is_set_at_the_end {
            true => runtime.shutdown_timeout(limit),
            false => drop(runtime),
        }
        assert_eq!(script.now_ns() - start_ns, limit_ms * MS);
        assert!(is_closed(&peer) && !script.is_leaked());
        assert_eq!(reports.borrow().len(), 1, "{:?}", reports.borrow());
    }
}

/// Goal: the idle time is the time of the sleep, exactly, and computing adds nothing (L3).
///
/// Method: a sleep of 7 ms on a clock that stands still outside of sleeps.
///
/// Kills: a wait that is not measured, or measured twice.
#[test]
fn idle_time_is_the_time_of_the_sleep() {
    let (_script, runtime, _reports) = scripted();
    runtime.block_on(async {
        sleep(Duration::from_millis(7)).await;
        assert_eq!(Handle::current().metrics().idle_ns, 7 * MS);
        yield_now().await;
        assert_eq!(Handle::current().metrics().idle_ns, 7 * MS);
    });
}
