//! Virtual time.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ringloop::net::{TcpListener, TcpStream, UnixStream};
use ringloop::testing::settle;
use ringloop::time::{Instant, advance, pause, resume, sleep, timeout};
use ringloop::{Handle, call_at, call_later, spawn};

use crate::common::{any_addr, tight_pair, turns, unanswering_addr};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    l5_an_hour_of_timers_needs_no_sleep,
    l5_settle_returns_before_the_clock_moves,
    l6_the_clock_waits_for_a_send_in_flight,
    l6_the_clock_waits_for_a_connect_in_flight,
    accepts_and_receives_do_not_hold_the_clock,
    bytes_that_are_sent_arrive_before_the_clock_moves,
    advance_stops_exactly_at_its_target,
    advance_runs_each_timer_at_its_own_time,
    advance_does_not_wait_for_operations,
    advances_of_two_tasks_end_at_their_own_targets,
    turns_that_may_not_sleep_leave_the_clock,
    a_resumed_clock_never_goes_back,
    a_clock_that_is_used_wrongly_panics,
];
pub(crate) const ALONE: &[Body] = bodies![];

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs `body` with a paused clock.
pub(crate) fn paused(on: Driver, body: impl AsyncFnOnce()) {
    let runtime = on.builder().start_paused(true).build().unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(body());
}

/// Goal: virtual hours pass without a sleep of the loop, and each task wakes exactly at its time
/// (L5).
///
/// Method: ten tasks with timers of different periods, for an hour; the sleeps of the driver.
///
/// Kills: a deadline that is rounded; a jump past a timer; a loop that sleeps before each jump.
fn l5_an_hour_of_timers_needs_no_sleep(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        let tasks: Vec<_> = (1..=10_u32)
            .map(|number| {
                let period = number * 7 * SECOND + number * Duration::from_nanos(1);
                spawn(async move {
                    let mut ticks = 0;
                    while start.elapsed() < HOUR {
                        sleep(period).await;
                        ticks += 1;
                        assert_eq!(start.elapsed(), ticks * period);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(start.elapsed() >= HOUR);
        assert_eq!(Handle::current().metrics().sleeps, 0);
    });
}

/// Goal: `settle` returns when all other tasks wait, and before the clock moves (L5). It does not
/// need a paused clock.
///
/// Method: a chain of tasks, each of which wakes the next, beside a sleep; bytes that the kernel
/// has and no task; on a paused and on a running clock.
///
/// Kills: a jump before `settle`; a `settle` that returns after one turn, or without a look into
/// the kernel.
fn l5_settle_returns_before_the_clock_moves(on: Driver) {
    for is_paused in [true, false] {
        on.builder().start_paused(is_paused).build().unwrap().block_on(async {
            let start = Instant::now();
            let sleeper = spawn(sleep(HOUR));
            let chain = spawn(async {
                for _ in 0..20 {
                    spawn(turns(3)).await.unwrap();
                }
            });
            settle().await;
            assert!(chain.is_finished() && !sleeper.is_finished());

            let (mut stream, peer) = UnixStream::pair().unwrap();
            let reader = spawn(async move { stream.recv().await.map(|bytes| bytes.len()) });
            settle().await;
            assert!(!reader.is_finished());
            let (mut peer, _unread) = peer.into_std().await.unwrap();
            peer.write_all(b"in the kernel").unwrap();
            settle().await;
            assert!(reader.is_finished(), "what the kernel has comes first");
            assert!(start.elapsed() < HOUR);
            sleeper.abort();
        });
    }
}

/// Goal: the clock stands still while a send is in flight (L6).
///
/// Method: a stream whose peer takes no bytes, beside a sleep of an hour. Another thread reads the
/// bytes once everything waits.
///
/// Kills: an auto-advance under pending I/O.
fn l6_the_clock_waits_for_a_send_in_flight(on: Driver) {
    const BYTES: usize = 4 << 20;
    paused(on, async || {
        let (mut stream, mut peer) = tight_pair();
        let start = Instant::now();
        let sleeper = spawn(sleep(HOUR));
        let sender = spawn(async move {
            stream.send(vec![1; BYTES]).await.unwrap();
            stream.flush().await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO);
        });
        settle().await;
        assert!(!sender.is_finished() && !sleeper.is_finished());
        let reader =
            std::thread::spawn(move || peer.read_exact(&mut vec![0; BYTES]).map(|()| peer));
        sender.await.unwrap();
        assert!(!sleeper.is_finished());
        sleeper.await.unwrap();
        assert_eq!(start.elapsed(), HOUR);
        reader.join().unwrap().unwrap();
    });
}

/// Goal: the clock stands still while a connect is in flight, and moves when it has been dropped
/// (L6).
///
/// Method: a connect that is not answered, beside a sleep of an hour; many turns, then an abort.
///
/// Kills: a connect that does not hold the clock; a dropped connect that holds it on.
fn l6_the_clock_waits_for_a_connect_in_flight(on: Driver) {
    paused(on, async || {
        let (addr, _full) = unanswering_addr();
        let start = Instant::now();
        let connect = spawn(async move { TcpStream::connect(addr).await.map(drop) });
        let sleeper = spawn(sleep(HOUR));
        for _ in 0..100 {
            settle().await;
            turns(3).await;
        }
        assert!(!connect.is_finished() && !sleeper.is_finished());
        assert_eq!(start.elapsed(), Duration::ZERO);
        connect.abort();
        sleeper.await.unwrap();
        assert_eq!(start.elapsed(), HOUR);
    });
}

/// Goal: operations that wait for others do not hold the clock: an idle listener would stop it.
///
/// Method: an accept and a receive beside a sleep, and a receive with a timeout.
///
/// Kills: a clock that waits for every operation.
fn accepts_and_receives_do_not_hold_the_clock(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        let listener = TcpListener::bind(any_addr()).unwrap();
        let accept = spawn(async move { listener.accept().await.map(drop) });
        let (mut stream, _peer) = UnixStream::pair().unwrap();
        sleep(HOUR).await;
        assert!(timeout(HOUR, stream.recv()).await.is_err());
        assert_eq!(start.elapsed(), 2 * HOUR);
        assert!(!accept.is_finished());
        accept.abort();
    });
}

/// Goal: what a task sends to another task of the loop arrives in no time.
///
/// Method: a server with a think time and a client with a timeout, over a socket pair, 100 times.
///
/// Kills: a jump without an enter behind the last request, which would time out.
fn bytes_that_are_sent_arrive_before_the_clock_moves(on: Driver) {
    paused(on, async || {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        spawn(async move {
            loop {
                let bytes = server.recv().await.unwrap();
                sleep(MS).await;
                server.send(bytes).await.unwrap();
            }
        });
        for _ in 0..100 {
            let sent = Instant::now();
            client.write_all(b"question").await.unwrap();
            let answer = timeout(2 * MS, client.recv()).await.expect("in time").unwrap();
            assert_eq!(&*answer, b"question");
            assert_eq!(sent.elapsed(), MS);
        }
    });
}

/// Goal: `advance` moves the clock by what it was given and no further.
///
/// Method: no timer, a timer before, at and behind the target; a target of no distance and one at
/// the end of time.
///
/// Kills: a jump to the timer behind the target; an advance that ends at the last timer before it.
fn advance_stops_exactly_at_its_target(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        advance(SECOND).await;
        assert_eq!(start.elapsed(), SECOND);
        let sleepers: Vec<_> = (1..=3).map(|number| spawn(sleep(number * SECOND))).collect();
        advance(2 * SECOND).await;
        assert_eq!(start.elapsed(), 3 * SECOND);
        let finished: Vec<_> = sleepers.iter().map(|sleeper| sleeper.is_finished()).collect();
        assert_eq!(finished, [true, true, false]);
        advance(Duration::ZERO).await;
        advance(SECOND - Duration::from_nanos(1)).await;
        assert!(!sleepers[2].is_finished());
        advance(Duration::from_nanos(1)).await;
        assert!(sleepers[2].is_finished());
        assert_eq!(start.elapsed(), 4 * SECOND);

        let never = call_later(Duration::MAX, || unreachable!());
        advance(Duration::MAX).await;
        assert!(never.is_pending());
    });
}

/// Goal: the timers on the way of an `advance` fire in order, each at its own time, and so do those
/// that their tasks set.
///
/// Method: callbacks and sleeps set out of order; a task that sleeps again and again.
///
/// Kills: a clock that is set to the target at once.
fn advance_runs_each_timer_at_its_own_time(on: Driver) {
    paused(on, async || {
        let start = Instant::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        for number in [5_u32, 1, 3] {
            let order = Rc::clone(&order);
            call_at(start + number * SECOND, move || {
                order.borrow_mut().push((number, start.elapsed()));
            });
        }
        let ticking = Rc::clone(&order);
        spawn(async move {
            loop {
                sleep(2 * SECOND).await;
                ticking.borrow_mut().push((0, start.elapsed()));
            }
        });
        advance(5 * SECOND).await;
        let expected = [(1, 1), (0, 2), (3, 3), (0, 4), (5, 5)];
        let expected = expected.map(|(number, at)| (number, at * SECOND));
        assert_eq!(*order.borrow(), expected);
    });
}

/// Goal: an explicit `advance` does not wait for what holds the clock.
///
/// Method: a connect that is not answered, and a timeout for it.
///
/// Kills: an advance that is held: a test of a timeout of a connect could never end.
fn advance_does_not_wait_for_operations(on: Driver) {
    paused(on, async || {
        let (addr, _full) = unanswering_addr();
        let connect =
            spawn(timeout(SECOND, async move { TcpStream::connect(addr).await.map(drop) }));
        advance(SECOND - MS).await;
        assert!(!connect.is_finished());
        advance(MS).await;
        assert!(connect.await.unwrap().is_err());
    });
}

/// Goal: calls of `advance` that overlap end at their own targets, and a dropped one moves nothing.
///
/// Method: two tasks that advance by 1 s and by 3 s, and one by an hour that is aborted.
///
/// Kills: one target for all; a target that stays after its call was dropped.
fn advances_of_two_tasks_end_at_their_own_targets(on: Driver) {
    paused(on, async || {
        let (addr, _full) = unanswering_addr();
        let held = spawn(async move { TcpStream::connect(addr).await.map(drop) });
        let start = Instant::now();
        let ends = [SECOND, 3 * SECOND].map(|by| {
            spawn(async move {
                advance(by).await;
                start.elapsed()
            })
        });
        let dropped = spawn(advance(HOUR));
        turns(1).await;
        dropped.abort();
        for (end, expected) in ends.into_iter().zip([SECOND, 3 * SECOND]) {
            assert_eq!(end.await.unwrap(), expected);
        }
        let sleeper = spawn(sleep(SECOND));
        settle().await;
        turns(5).await;
        assert!(!sleeper.is_finished()); // the connect holds the clock, and no advance runs
        held.abort();
        sleeper.await.unwrap();
        assert_eq!(start.elapsed(), 4 * SECOND);
    });
}

/// Goal: a paused clock moves only in turns that may sleep, also where a foreign loop polls the
/// descriptor.
///
/// Method: a timer of an hour; turns that may not sleep, without and with a descriptor; then turns
/// that may.
///
/// Kills: a clock that the preparation of a foreign sleep moves.
fn turns_that_may_not_sleep_leave_the_clock(on: Driver) {
    let runtime = on.builder().start_paused(true).build().unwrap_or_else(|error| panic!("{error}"));
    let now = || runtime.block_on(async { Instant::now() });
    let task = runtime.handle().spawn(async { sleep(HOUR).await });
    let start = now();
    for has_descriptor in [false, true] {
        if has_descriptor {
            runtime.poll_fd().unwrap();
        }
        for _ in 0..5 {
            runtime.turn(Some(Duration::ZERO));
        }
        assert_eq!(now(), start, "descriptor: {has_descriptor}");
    }
    while !task.is_finished() {
        runtime.turn(None);
    }
    assert_eq!(now(), start + HOUR);
}

/// Goal: the time of a loop never goes back, and a resumed clock passes in real time.
///
/// Method: pause, an hour, resume and a real sleep, several times; compare each reading.
///
/// Kills: a resume to the kernel's time; a pause that loses the shift.
fn a_resumed_clock_never_goes_back(on: Driver) {
    on.run(async {
        let mut last = Instant::now();
        for _ in 0..3 {
            pause();
            let start = Instant::now();
            assert!(start >= last);
            sleep(HOUR).await;
            assert_eq!(start.elapsed(), HOUR);
            resume();
            let real = std::time::Instant::now();
            sleep(MS).await;
            assert!(real.elapsed() >= MS);
            last = Instant::now();
            assert!(last >= start + HOUR + MS);
        }
    });
}

/// Goal: wrong use of the clock panics with the reason.
///
/// Method: pause twice, resume twice, advance without a pause, and each outside of a loop.
///
/// Kills: a second pause that is ignored; an advance of a running clock.
fn a_clock_that_is_used_wrongly_panics(on: Driver) {
    fn text_of(run: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
        payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| (*payload.downcast_ref::<&str>().expect("a text")).to_owned())
    }
    assert!(text_of(pause).contains("no ringloop runtime"));
    assert!(text_of(resume).contains("no ringloop runtime"));
    on.run(async {
        assert!(text_of(resume).contains("not paused"));
        let advancing = spawn(advance(SECOND)).await.unwrap_err();
        let payload = advancing.into_panic();
        let text = payload.downcast_ref::<&str>().expect("a text");
        assert!(text.contains("call time::pause first"), "{text}");
        pause();
        assert!(text_of(pause).contains("paused already"));
        resume();
        assert!(text_of(resume).contains("not paused"));
    });
}
