//! Paused clocks on a scripted ring, whose sleeps are visible.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use super::{MS, scripted, scripted_with, stream};
use crate::driver::request::{Flags, Interest, OpKind, Request, Tag};
use crate::driver::uring::entry::Entry;
use crate::driver::uring::scripted::Script;
use crate::net::TcpListener;
use crate::op::OpResult;
use crate::reactor::Owner;
use crate::runtime::{Handle, Runtime, context};
use crate::spawn;
use crate::sys::errno;
use crate::task::yield_now;
use crate::testing::{set_autojump_cushion, settle};
use crate::time::{Instant, advance, pause, resume, sleep, sleep_until};

const HOUR: Duration = Duration::from_secs(3600);

/// An owner of operations that counts their completions.
#[derive(Default)]
struct Counter(Cell<u32>);

impl Owner for Counter {
    fn complete(self: Rc<Self>, _tag: Tag, _result: OpResult) {
        self.0.set(self.0.get() + 1);
    }
    fn abandon(self: Rc<Self>, _tag: Tag, _code: i32) {}
    fn watched(&self, _tag: Tag) -> Option<(RawFd, Interest)> {
        None
    }
    fn prepare(self: Rc<Self>) {}
}

fn paused() -> (Script, Runtime) {
    let (script, runtime, _reports) = scripted_with(|builder| builder.start_paused(true));
    (script, runtime)
}

fn is_timeout(entry: &Entry) -> bool {
    matches!(entry, Entry::Timeout { .. } | Entry::TimeoutUpdate { .. })
}

/// Goal: the paused clock stands still while an operation that completes by itself is in flight,
/// and moves while an accept, a receive or a poll waits (L6).
///
/// Method: one request of each kind, which completes when the loop sleeps, beside a sleep of an
/// hour.
///
/// Kills: a jump that does not look at what is in flight; a count of operations that is not reduced
/// at the end; a passive operation that holds the clock.
#[test]
fn the_clock_waits_for_operations_that_complete_by_themselves() {
    let mut byte = 0_u8;
    let (fd, interest) = (-1, Interest::Readable);
    let requests = [
        Request::Accept { fd, is_multishot: true },
        Request::Recv { fd, poll_first: false },
        Request::RecvInto { fd, target: &raw mut byte, target_len: 1 },
        Request::Send { fd, source: &raw const byte, source_len: 1 },
        Request::Connect { fd, addr: std::ptr::null(), addr_len: 0 },
        Request::Poll { fd, interest },
        Request::PollChanges { fd, interest },
    ];
    for request in requests {
        let (script, runtime) = paused();
        let counter = Rc::new(Counter::default());
        let core = Rc::clone(&runtime.core);
        script.direct({
            let start_ns = core.reactor.now_ns();
            move |script| {
                for op in script.all(request.op_kind()) {
                    assert_eq!(core.reactor.now_ns(), start_ns, "{request:?}");
                    script.complete(op, 0, Flags::NONE);
                }
            }
        });
        let submitted = runtime.core.reactor.submit(Rc::clone(&counter) as Rc<_>, 1, request);
        assert!(submitted.is_ok());
        let ended_before = runtime.block_on(async {
            sleep(HOUR).await;
            counter.0.get() > 0
        });
        assert_eq!(ended_before, request.holds_clock(), "{request:?}");
        script.direct(|_| {}); // it holds the runtime
    }
}

/// Goal: an hour of timers needs no sleep and arms no timeout in the kernel (L5).
///
/// Method: a sleep per second of an hour, beside a receive that never completes; count the sleeps
/// and the entries of the kernel.
///
/// Kills: a virtual deadline that is given to the kernel; a clock that moves past a timer; a sleep
/// of the loop before each jump.
#[test]
fn an_hour_of_timers_arms_no_timeout() {
    let (script, runtime) = paused();
    runtime.block_on(async {
        let (mut stream, _peer) = stream();
        let reader = spawn(async move { stream.recv().await.map(drop) });
        let start = Instant::now();
        for second in 1..=3600 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(start.elapsed(), Duration::from_secs(second));
        }
        assert_eq!(Handle::current().metrics().sleeps, 0);
        assert_eq!(script.count(is_timeout), 0);
        reader.abort();
    });
}

/// Goal: a job of another thread holds the clock until it has ended, and its end wakes a loop that
/// sleeps, also if no task waits for the job (L6).
///
/// Method: a hold that another thread drops when the loop sleeps, beside a sleep of an hour.
///
/// Kills: a jump that does not look at the holds; a release that wakes no loop (the script panics:
/// the loop sleeps without a deadline); a deadline of the paused clock that reaches the kernel.
#[test]
fn a_job_of_another_thread_holds_the_clock() {
    let (script, runtime) = paused();
    let hold = RefCell::new(Some(runtime.core.reactor.clock_holds().hold()));
    let is_released = Rc::new(Cell::new(false));
    script.direct({
        let is_released = Rc::clone(&is_released);
        move |_| {
            let Some(hold) = hold.take() else { return };
            std::thread::spawn(move || drop(hold)).join().unwrap();
            is_released.set(true);
        }
    });
    runtime.block_on(async {
        sleep(HOUR).await;
        assert!(is_released.get());
        sleep(HOUR).await; // the hold is gone
        assert_eq!(script.count(is_timeout), 0, "a deadline of the paused clock");
    });
}

/// Goal: a job that ends before the clock is paused does not stop the loop.
///
/// Method: a hold that is dropped in the poll in which the clock is paused.
///
/// Kills: a loop that sleeps because the clock was held at its last enter.
#[test]
fn a_hold_that_ended_before_the_pause_counts_no_more() {
    let (_script, runtime, _reports) = scripted();
    runtime.block_on(async {
        let hold = context::current().reactor.clock_holds().hold();
        settle().await;
        pause();
        drop(hold);
        sleep(HOUR).await;
    });
}

/// Goal: a resumed clock continues from the time of the pause, and its deadlines reach the kernel
/// as times of the kernel's clock.
///
/// Method: an hour of virtual time, then a millisecond of the script's time.
///
/// Kills: a deadline that is passed on without the shift; a clock that jumps back at `resume`.
#[test]
fn deadlines_after_a_resume_are_times_of_the_kernel() {
    let (script, runtime) = paused();
    runtime.block_on(async {
        let start = Instant::now();
        sleep(HOUR).await;
        resume();
        let kernel_ns = script.now_ns();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(script.now_ns(), kernel_ns + MS);
        assert_eq!(start.elapsed(), HOUR + Duration::from_millis(1));

        pause();
        script.advance_ns(5 * MS);
        sleep(HOUR).await;
        assert_eq!(start.elapsed(), 2 * HOUR + Duration::from_millis(1));
        assert_eq!(script.now_ns(), kernel_ns + 6 * MS);
    });
}

/// Goal: the watchdog for lost wake-ups uses the kernel's clock (H55): virtual hours are no reason
/// to look at the kernel, and do not make an operation suspect.
///
/// Method: unread bytes in the socket of a receive that does not complete, and an hour of timers.
///
/// Kills: a look, or a repeated cancel, at a time of the loop's clock.
#[test]
fn virtual_hours_do_not_alarm_the_watchdog() {
    let (script, runtime) = paused();
    runtime.core.reactor.watch_from_now_on();
    runtime.block_on(async {
        let (mut stream, peer) = stream();
        std::io::Write::write_all(&mut &peer, b"unread").unwrap();
        let reader = spawn(async move { stream.recv().await.map(drop) });
        for _ in 0..10 {
            sleep(HOUR).await;
        }
        assert_eq!(Handle::current().metrics().lost_wakeups, 0);
        assert!(script.cancels().is_empty());
        reader.abort();
    });
}

/// Goal: a cushion of real time passes before the clock moves over an operation that waits for
/// others, and what completes within it comes first.
///
/// Method: a receive whose bytes come during the first sleep of the loop, and none during the
/// second; the script's time.
///
/// Kills: a jump without the cushion; a cushion that begins anew at each turn; one that also delays
/// `advance`.
#[test]
fn a_cushion_lets_passive_operations_complete_first() {
    let (script, runtime) = paused();
    let sleeps = Rc::new(Cell::new(0));
    script.direct({
        let sleeps = Rc::clone(&sleeps);
        move |script| {
            sleeps.set(sleeps.get() + 1);
            if sleeps.get() == 1 {
                script.deliver(script.the(OpKind::Recv), b"in time", true);
            }
        }
    });
    runtime.block_on(async {
        set_autojump_cushion(Duration::from_millis(3));
        let (mut stream, _peer) = stream();
        let start = Instant::now();
        assert_eq!(&*stream.recv().await.unwrap(), b"in time");
        assert_eq!(start.elapsed(), Duration::ZERO);

        let kernel_ns = script.now_ns();
        sleep(HOUR).await;
        assert_eq!((sleeps.get(), script.now_ns()), (2, kernel_ns + 3 * MS));
        advance(HOUR).await;
        assert_eq!((sleeps.get(), script.now_ns()), (2, kernel_ns + 3 * MS));
    });
}

/// Goal: the end of the runtime takes real time, also with a paused clock: a stream that cannot
/// send is reset after its linger.
///
/// Method: drop a runtime while a send never completes; the script's time.
///
/// Kills: a limit on the paused clock, which the shutdown never reaches; a clock that stays paused,
/// so that the linger of the stream never ends.
#[test]
fn the_end_of_a_paused_loop_takes_real_time() {
    let (script, runtime, reports) =
        scripted_with(|builder| builder.start_paused(true).linger(Duration::from_millis(100)));
    let start_ns = script.now_ns();
    let peer = runtime.block_on(async {
        let (mut stream, peer) = stream();
        stream.write_all(b"never sent").await.unwrap();
        drop(stream);
        yield_now().await;
        peer
    });
    drop(runtime);
    assert_eq!(script.now_ns(), start_ns + 100 * MS);
    assert_eq!(reports.borrow().len(), 1, "{reports:?}");
    drop(peer);
}

/// Goal: `settle` wakes all who wait before the clock moves, and leaves nothing behind.
///
/// Method: three tasks that settle and one whose call is dropped, beside a sleep.
///
/// Kills: a jump before `settle`; one waiter per quiet moment; a dropped call that stays listed.
#[test]
fn tasks_that_settle_are_resumed_together() {
    let (_script, runtime) = paused();
    runtime.block_on(async {
        let start = Instant::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b", "c"] {
            let order = Rc::clone(&order);
            spawn(async move {
                settle().await;
                order.borrow_mut().push((name, start.elapsed()));
            });
        }
        let dropped = spawn(settle());
        yield_now().await;
        dropped.abort();
        yield_now().await;
        assert_eq!(context::current().reactor.settlers_count(), 3);
        sleep_until(start + HOUR).await;
        let expected = ["a", "b", "c"].map(|name| (name, Duration::ZERO));
        assert_eq!(*order.borrow(), expected);
    });
}

/// Goal: a listener without descriptors tries again once per interval, and reports once (I1).
///
/// Method: each accept fails with `EMFILE`, for a minute of virtual time; the accepts in flight
/// just before and at the end of each interval.
///
/// Kills: an accept that is submitted again at once; a retry too early or too late; a report per
/// attempt; two timers.
#[test]
fn a_listener_without_descriptors_retries_once_per_interval() {
    const INTERVAL: Duration = Duration::from_millis(100);
    let (script, runtime, reports) = scripted_with(|builder| builder.start_paused(true));
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accept = spawn(async move { listener.accept().await.map(drop) });
        settle().await;
        for attempt in 1..=600 {
            assert_eq!(script.count_ops(OpKind::Accept), attempt);
            script.complete(script.the(OpKind::Accept), -errno::EMFILE, Flags::NONE);
            advance(INTERVAL - Duration::from_nanos(1)).await;
            assert!(script.all(OpKind::Accept).is_empty(), "attempt {attempt}");
            advance(Duration::from_nanos(1)).await;
        }
        accept.abort();
    });
    assert_eq!(reports.borrow().len(), 1, "{reports:?}");
}

/// Goal: an `advance` that is dropped no longer moves the clock over what holds it.
///
/// Method: an `advance` by an hour that is aborted, and a send that completes when the loop sleeps,
/// beside a sleep of a second.
///
/// Kills: a target that stays after its call was dropped.
#[test]
fn a_dropped_advance_moves_the_clock_no_further() {
    let (script, runtime) = paused();
    let (byte, counter) = (0_u8, Rc::new(Counter::default()));
    let request = Request::Send { fd: -1, source: &raw const byte, source_len: 1 };
    let submitted = runtime.core.reactor.submit(Rc::clone(&counter) as Rc<_>, 1, request);
    assert!(submitted.is_ok());
    script.direct(|script| {
        script.all(OpKind::Send).into_iter().for_each(|op| script.complete(op, 1, Flags::NONE));
    });
    runtime.block_on(async {
        let dropped = spawn(advance(HOUR));
        yield_now().await;
        dropped.abort();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(counter.0.get(), 1, "the send has completed first");
    });
}
