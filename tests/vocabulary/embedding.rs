//! The loop as an object: stop, single turns, hooks, a foreign loop.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ringloop::task::yield_now;
use ringloop::time::{Instant, sleep};
use ringloop::{Handle, Runtime, call_soon, spawn};

use crate::common::{compute, std_pair, turns};
use crate::polling::poll;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    a_stop_before_the_run_is_one_turn_without_sleep,
    a_stop_lets_its_turn_finish,
    a_stop_ends_with_its_run,
    a12_a_running_loop_is_run_by_one_caller,
    one_turn_does_what_is_due_once,
    a_turn_sleeps_within_its_limit,
    the_next_deadline_is_that_of_the_first_timer,
    hooks_run_in_order_around_the_sleep,
    a_busy_hook_delays_neither_timers_nor_tasks,
    a_hook_that_panics_is_disabled,
    computing_is_not_idle_time,
    a_foreign_loop_drives_sockets_timers_and_wakes,
    a_descriptor_is_readable_while_a_turn_would_do_something,
];
pub(crate) const ALONE: &[Body] = bodies![];

const HOUR: Duration = Duration::from_secs(3600);

fn turns_of(runtime: &Runtime) -> u64 {
    runtime.handle().metrics().turns
}

/// Goal: a stop before the run is exactly one turn, which does not sleep (A14).
///
/// Method: a task that yields without end and one that sleeps for an hour; a stop, and a run. Then
/// the same with no task ready, where a turn would sleep.
///
/// Kills: a run that returns before its first turn; a turn that sleeps; a run of two turns.
fn a_stop_before_the_run_is_one_turn_without_sleep(on: Driver) {
    let runtime = on.runtime();
    let polls = Rc::new(Cell::new(0));
    let counter = Rc::clone(&polls);
    let yields = runtime.handle().spawn(async move {
        loop {
            counter.set(counter.get() + 1);
            yield_now().await;
        }
    });
    let sleeper = runtime.handle().spawn(async { sleep(HOUR).await });
    for _ in 0..2 {
        let before = turns_of(&runtime);
        let polled = polls.get();
        runtime.handle().stop();
        runtime.run_until_stopped();
        assert_eq!((turns_of(&runtime) - before, polls.get() - polled), (1, 1));
    }
    yields.abort();
    runtime.turn(Some(Duration::ZERO));
    let before = turns_of(&runtime);
    runtime.handle().stop();
    runtime.run_until_stopped(); // an hour, if it slept
    assert_eq!(turns_of(&runtime) - before, 1);
    assert!(!sleeper.is_finished());
}

/// Goal: a stop lets the turn finish, and what that turn schedules runs only in the next run.
///
/// Method: three callbacks in one turn; the first stops and schedules a fourth.
///
/// Kills: a run that ends in the middle of its snapshot; a run that goes on until nothing is ready.
fn a_stop_lets_its_turn_finish(on: Driver) {
    let runtime = on.runtime();
    let seen: Rc<RefCell<Vec<u32>>> = Rc::default();
    let note = |number| {
        let seen = Rc::clone(&seen);
        move || seen.borrow_mut().push(number)
    };
    runtime.block_on(async {
        let (first, later) = (note(1), note(4));
        call_soon(move || {
            first();
            Handle::current().stop();
            call_soon(later);
        });
        call_soon(note(2));
        let third = note(3);
        spawn(async move { third() });
    });
    runtime.run_until_stopped();
    assert_eq!(*seen.borrow(), [1, 2, 3]);
    runtime.handle().stop();
    runtime.run_until_stopped();
    assert_eq!(*seen.borrow(), [1, 2, 3, 4]);
}

/// Goal: a request to stop ends with the run that it was made in, however that ends.
///
/// Method: a stop in a `block_on` that returns, and in one that panics; then a run that a task
/// stops after three turns.
///
/// Kills: a flag that a run leaves behind; one that is cleared on return only.
fn a_stop_ends_with_its_run(on: Driver) {
    let runtime = on.runtime();
    let stops_late = |runtime: &Runtime| {
        let handle = runtime.handle();
        let task = runtime.handle().spawn(async move {
            turns(3).await;
            handle.stop();
        });
        runtime.run_until_stopped();
        assert!(task.is_finished(), "an earlier request has stopped this run");
    };
    runtime.block_on(async { Handle::current().stop() });
    stops_late(&runtime);
    let panics = || {
        runtime.block_on(async {
            Handle::current().stop();
            panic!("a run that fails");
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    stops_late(&runtime);
    stops_late(&runtime);
}

/// Goal: while a loop runs, no other call can run it or another loop of the thread.
///
/// Method: `run_until_stopped`, `turn` and `block_on` inside of each of the three. Then the loop
/// runs as before.
///
/// Kills: an entry without the check; a refusal that clears the thread's loop.
fn a12_a_running_loop_is_run_by_one_caller(on: Driver) {
    let runtime = Rc::new(on.runtime());
    let inner = Rc::clone(&runtime);
    let refusals = move || {
        let nested: [&dyn Fn(); 3] = [
            &|| inner.run_until_stopped(),
            &|| assert_eq!(inner.turn(Some(Duration::ZERO)), Default::default()),
            &|| inner.block_on(async {}),
        ];
        for run in nested {
            let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("refused");
            let text = panic.downcast_ref::<String>().expect("a message");
            assert!(text.contains("already running on this thread"), "{text}");
            assert!(text.contains(file!()), "{text}");
        }
        Handle::current().stop();
    };
    runtime.block_on(async { refusals() });
    let task = runtime.handle().spawn({
        let refusals = refusals.clone();
        async move { refusals() }
    });
    runtime.run_until_stopped();
    assert!(task.is_finished());
    let task = runtime.handle().spawn(async move { refusals() });
    assert_eq!(runtime.turn(None).polls, 1);
    runtime.block_on(task).unwrap();
    assert!(Handle::try_current().is_none());
}

/// Goal: one turn runs what is due and what is ready once, and what becomes ready in it stays for
/// the next (A2).
///
/// Method: a task that yields, a callback that schedules another, a timer that is due; the numbers
/// of each turn.
///
/// Kills: a turn that runs until nothing is ready; counts of another turn.
fn one_turn_does_what_is_due_once(on: Driver) {
    let runtime = on.runtime();
    runtime.block_on(async {
        spawn(async {
            yield_now().await;
            yield_now().await;
        });
        call_soon(|| drop(call_soon(|| {})));
        ringloop::call_later(Duration::from_millis(1), || {});
    });
    let mut stats = runtime.turn(Some(Duration::ZERO));
    assert_eq!((stats.polls, stats.timers), (2, 0));
    stats = runtime.turn(Some(Duration::ZERO));
    let (mut polls, mut timers) = (stats.polls, stats.timers);
    assert!(polls >= 2, "the second poll of the task, and the second callback");
    while timers == 0 {
        stats = runtime.turn(None);
        polls += stats.polls;
        timers += stats.timers;
    }
    assert_eq!((polls, timers), (4, 1), "the third poll of the task, and the timed callback");
    assert_eq!(runtime.turn(Some(Duration::ZERO)), Default::default());
}

/// Goal: a turn sleeps until its limit at most, and until the first timer at most.
///
/// Method: a turn of 5 ms with a timer in an hour, and one without a limit with a timer in 5 ms.
///
/// Kills: a limit that is ignored, or that replaces the timer.
fn a_turn_sleeps_within_its_limit(on: Driver) {
    let runtime = on.runtime();
    let limit = Duration::from_millis(5);
    let task = runtime.handle().spawn(async { sleep(HOUR).await });
    runtime.turn(Some(Duration::ZERO));
    let start = Instant::now();
    while start.elapsed() < limit {
        assert_eq!(runtime.turn(Some(limit)).timers, 0);
    }
    assert!(!task.is_finished());
    runtime.block_on(async { drop(ringloop::call_later(limit, || {})) });
    for timeout in [None, Some(HOUR)] {
        let start = Instant::now();
        runtime.block_on(async { drop(ringloop::call_later(limit, || {})) });
        while runtime.turn(timeout).timers == 0 {}
        assert!(start.elapsed() < HOUR / 2);
    }
}

/// Goal: `next_deadline` is the time of the first pending timer, and none without one.
///
/// Method: timers that are set, cancelled and fired. On io_uring the loop's own check of its
/// operations may come first.
///
/// Kills: the time of the last timer; a timer that was cancelled; the end of time as a deadline.
fn the_next_deadline_is_that_of_the_first_timer(on: Driver) {
    let runtime = on.runtime();
    let is_next = |timer: Option<Instant>| match (runtime.next_deadline(), timer) {
        (Some(next), Some(timer)) if on.name() == "uring" => next <= timer,
        (next, None) if on.name() == "uring" => {
            next.is_none_or(|next| next < Instant::now() + HOUR)
        }
        (next, timer) => next == timer,
    };
    assert!(is_next(None));
    let (near, far) = runtime.block_on(async {
        let far = ringloop::call_later(HOUR, || {});
        (ringloop::call_later(Duration::ZERO, || {}), far)
    });
    assert!(is_next(Some(near.when())));
    while runtime.turn(None).timers == 0 {}
    assert!(is_next(Some(far.when())));
    far.cancel();
    let _never = runtime.block_on(async { ringloop::call_later(Duration::MAX, || {}) });
    assert!(is_next(None));
}

/// Goal: the hooks run at their points of the turn, in order (L2).
///
/// Method: note each hook, and a task that yields and sleeps. A turn that has work parks not.
///
/// Kills: hooks in another order; a hook around a wait that does not sleep; a hook that is called
/// once.
fn hooks_run_in_order_around_the_sleep(on: Driver) {
    let seen: Rc<RefCell<Vec<&str>>> = Rc::default();
    let note = |name| {
        let seen = Rc::clone(&seen);
        move || seen.borrow_mut().push(name)
    };
    let runtime = on.builder().on_turn_start(note("start")).on_before_park(note("park"));
    let runtime = runtime.on_after_unpark(note("unpark")).build().unwrap();
    let (first, second, third) = (note("first"), note("second"), note("third"));
    runtime.block_on(async move {
        first();
        yield_now().await;
        second();
        sleep(Duration::from_millis(1)).await;
        third();
    });
    let seen = seen.take();
    assert_eq!(seen[..4], ["start", "first", "start", "second"]);
    assert_eq!(seen.last(), Some(&"third"));
    let sleeps = &seen[4..seen.len() - 1];
    assert!(!sleeps.is_empty());
    for turn in sleeps.chunks(3) {
        // The sleep may be longer than one turn, and its last one only finds the timer due.
        assert!(turn == ["start", "park", "unpark"] || turn == ["start"], "{seen:?}");
    }
}

/// Goal: a hook that makes work ready before every sleep delays neither timers nor I/O: the turn
/// looks at both without sleeping.
///
/// Method: a hook that schedules a callback each time; beside it a timer and a message.
///
/// Kills: a sleep with a ready callback; a turn that skips the driver when the hook has made work.
fn a_busy_hook_delays_neither_timers_nor_tasks(on: Driver) {
    let calls = Rc::new(Cell::new(0_u32));
    let counter = Rc::clone(&calls);
    let hook = move || {
        let counter = Rc::clone(&counter);
        call_soon(move || counter.set(counter.get() + 1));
    };
    let runtime = on.builder().on_before_park(hook).build().unwrap();
    runtime.block_on(async {
        sleep(Duration::from_millis(2)).await;
        let (mut ours, mut theirs) = crate::common::tcp_pair().await;
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(&*ours.recv().await.unwrap(), b"x");
    });
    let before = calls.get();
    assert!(before > 0);
    let turns_before = turns_of(&runtime);
    while calls.get() < before + 3 {
        runtime.turn(Some(HOUR)); // sleeps for the hour if the callback is not seen
    }
    assert!(turns_of(&runtime) - turns_before >= 3);
}

/// Goal: a hook that panics is reported once and not called again; the loop and the other hooks go
/// on (L2).
///
/// Method: a hook that panics at its second call, and one that counts.
///
/// Kills: a panic that ends the loop; a hook that is called again; a panic that disables all hooks.
fn a_hook_that_panics_is_disabled(on: Driver) {
    let reports: Rc<RefCell<Vec<String>>> = Rc::default();
    let (kept, calls, others) = (Rc::clone(&reports), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (calling, counting) = (Rc::clone(&calls), Rc::clone(&others));
    let line = line!() + 3;
    let runtime = on
        .builder()
        .on_turn_start(move || {
            calling.set(calling.get() + 1);
            assert!(calling.get() < 2, "a hook that fails");
        })
        .on_before_park(move || counting.set(counting.get() + 1))
        .on_unhandled(move |unhandled| kept.borrow_mut().push(unhandled.to_string()))
        .build()
        .unwrap();
    runtime.block_on(async {
        turns(5).await;
        sleep(Duration::from_millis(1)).await;
    });
    assert_eq!(calls.get(), 2);
    assert!(others.get() > 0);
    let expected = format!("a callback from {}:{line}:10 panicked: a hook that fails", file!());
    assert_eq!(*reports.borrow(), [expected]);
}

/// Goal: only waits that may sleep count as idle time (L3).
///
/// Method: computing and yielding changes nothing; a sleep does, by no more than the time that
/// passes outside.
///
/// Kills: the time of whole turns; the time of waits that return at once; no time at all.
fn computing_is_not_idle_time(on: Driver) {
    let idle = || Handle::current().metrics().idle_ns;
    on.run(async {
        let begin = idle();
        for _ in 0..3 {
            compute(Duration::from_millis(1));
            yield_now().await;
        }
        assert_eq!(idle(), begin);
        let start = Instant::now();
        sleep(Duration::from_millis(3)).await;
        let slept_ns = idle() - begin;
        compute(Duration::from_millis(1));
        assert!(slept_ns > 0 && u128::from(slept_ns) <= start.elapsed().as_nanos());
    });
}

/// Runs `runtime` from `poll(2)` until `is_done`. Returns the number of turns.
fn drive(runtime: &Runtime, mut is_done: impl FnMut() -> bool) -> u64 {
    let before = turns_of(runtime);
    let descriptor = runtime.poll_fd().unwrap();
    while !is_done() {
        let timeout = runtime.next_deadline().map(|at| at.duration_since(Instant::now()));
        poll([descriptor], timeout);
        runtime.turn(Some(Duration::ZERO));
    }
    turns_of(runtime) - before
}

/// Goal: a foreign loop drives the loop by its descriptor and its deadlines.
///
/// Method: `poll(2)` in turn with single turns. A thread exchanges messages with an echo, and wakes
/// a task from outside, one after the other; beside them a timer. Then forty streams become ready
/// at once, more than one enter of a new kernel brings.
///
/// Kills: requests that are not submitted at the end of a turn; wakes of other threads that are not
/// armed; completions that stay hidden; a descriptor that is readable without end.
fn a_foreign_loop_drives_sockets_timers_and_wakes(on: Driver) {
    const ROUNDS: u8 = 50;
    let runtime = on.runtime();
    runtime.poll_fd().unwrap();
    let (mut peer, echo, timer) = runtime.block_on(async {
        let (mut stream, peer) = std_pair();
        let echo = spawn(async move {
            while let Ok(bytes) = stream.recv().await {
                if bytes.is_empty() {
                    break;
                }
                stream.send(bytes).await.unwrap();
            }
        });
        (peer, echo, spawn(async { sleep(Duration::from_millis(2)).await }))
    });
    let (sender, receiver) = channel::<Waker>();
    let waiting = runtime.handle().spawn(async move {
        for _ in 0..ROUNDS {
            let mut is_sent = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut is_sent, true) {
                    return Poll::Ready(());
                }
                sender.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
        }
    });
    let thread = thread::spawn(move || {
        for round in 0..ROUNDS {
            peer.write_all(&[round]).unwrap();
            let mut reply = [0];
            peer.read_exact(&mut reply).unwrap();
            assert_eq!(reply, [round]);
            receiver.recv().unwrap().wake();
        }
    });
    let turns =
        drive(&runtime, || timer.is_finished() && waiting.is_finished() && echo.is_finished());
    thread.join().unwrap();
    assert!(turns < 20 * u64::from(ROUNDS), "{turns} turns: it spins");

    let (streams, mut peers): (Vec<_>, Vec<_>) =
        runtime.block_on(async { (0..40).map(|_| std_pair()).unzip() });
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            runtime.handle().spawn(async move { assert_eq!(stream.recv().await.unwrap().len(), 1) })
        })
        .collect();
    while poll([runtime.poll_fd().unwrap()], Some(Duration::ZERO))[0] {
        runtime.turn(Some(Duration::ZERO));
    }
    peers.iter_mut().for_each(|peer| peer.write_all(b"x").unwrap());
    drive(&runtime, || tasks.iter().all(|task| task.is_finished()));
}

/// Goal: after a turn the descriptor is readable as long as another turn would do something, and
/// not longer.
///
/// Method: a task that yields a few times; one that is spawned between two turns; a wake by another
/// thread; then nothing.
///
/// Kills: a ready queue that the descriptor does not show; a notification that stays.
fn a_descriptor_is_readable_while_a_turn_would_do_something(on: Driver) {
    let runtime = on.runtime();
    let is_readable = || poll([runtime.poll_fd().unwrap()], Some(Duration::ZERO))[0];
    let exhaust = || {
        let mut turns = 0;
        while is_readable() {
            runtime.turn(Some(Duration::ZERO));
            turns += 1;
            assert!(turns < 100, "readable without end");
        }
        turns
    };
    exhaust();
    let task = runtime.handle().spawn(turns(5));
    assert!(is_readable());
    assert!(exhaust() >= 6);
    assert!(task.is_finished());

    let (sender, receiver) = channel::<Waker>();
    let task = runtime.handle().spawn(async move {
        let mut is_sent = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_sent, true) {
                return Poll::Ready(());
            }
            sender.send(cx.waker().clone()).unwrap();
            Poll::Pending
        })
        .await;
    });
    exhaust();
    assert!(!task.is_finished());
    thread::spawn(move || receiver.recv().unwrap().wake()).join().unwrap();
    assert!(is_readable());
    exhaust();
    assert!(task.is_finished());
    assert!(!is_readable());
}
