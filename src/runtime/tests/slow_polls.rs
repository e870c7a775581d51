//! Slow polls on a clock that the polls themselves move, and their reports.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::scripted_with;
use crate::driver::uring::scripted::Script;
use crate::driver::{Clock, RingSizes};
use crate::runtime::slow_poll::SlowPoll;
use crate::task::{self, PollKind, TaskId, yield_now};
use crate::time::{Instant, call_at, call_later, sleep};
use crate::{Builder, Runtime, call_soon, spawn};

const LIMIT: Duration = Duration::from_millis(100);

/// What a report of a slow poll contains: kind, number, name, line, milliseconds.
type Row = (PollKind, Option<TaskId>, Option<String>, u32, u128);

type Seen = Rc<RefCell<Vec<Row>>>;

/// A runtime with a hook for slow polls, what it received, and what moves the clock.
fn watched(set: fn(Builder) -> Builder) -> (Runtime, Seen, impl Fn(u64) + Clone + 'static) {
    let seen = Seen::default();
    let kept = Rc::clone(&seen);
    let hook = move |slow: &SlowPoll| {
        assert!(slow.place().file().ends_with("slow_polls.rs"), "{slow}");
        let name = slow.name().map(str::to_owned);
        let millis = slow.duration().as_millis();
        kept.borrow_mut().push((slow.kind(), slow.id(), name, slow.place().line(), millis));
    };
    let (script, runtime, _) = scripted_with(|builder| set(builder).on_slow_poll(hook));
    (runtime, seen, taking(script))
}

/// Lets the running poll take some milliseconds of the script's clock.
fn taking(script: Script) -> impl Fn(u64) + Clone + 'static {
    let ring = script.ring(RingSizes { sq_entries: 16, cq_entries: 32 });
    let Clock::Virtual(now_ns) = ring.clock() else { panic!("a script has a virtual clock") };
    move |millis| now_ns.set(now_ns.get() + millis * super::MS)
}

/// Goal: a slow poll of a task, of the main future, of a callback and of a timer's callback is
/// reported once each, in their order, with kind, number, name, place and duration (L1).
///
/// Method: each of them takes 100 ms or more of a clock that it moves itself, beside polls that
/// take 99 ms and a sleep of ten seconds.
///
/// Kills: a limit that is off by one; a duration that has the sleep before the poll; the identity
/// of another poll; a kind that is not measured.
#[test]
fn l1_each_slow_poll_is_reported_with_its_identity() {
    let (runtime, seen, take) = watched(|builder| builder.slow_poll(Some(LIMIT)));
    let main_line = line!() + 1;
    runtime.block_on(async {
        let main = task::current().unwrap().id();
        let (slow, fast, called) = (take.clone(), take.clone(), take.clone());
        let line = line!() + 1;
        let named = task::Builder::new().name("parser").spawn(async move {
            slow(99);
            yield_now().await;
            slow(100);
        });
        let named_id = named.id();
        let plain = spawn(async move { fast(99) });
        call_soon(move || called(300));
        named.await.unwrap();
        plain.await.unwrap();
        take(400);
        yield_now().await;

        let (later, at, quick) = (take.clone(), take.clone(), take.clone());
        call_later(Duration::from_secs(1), move || later(500));
        call_at(Instant::now() + Duration::from_secs(2), move || at(600));
        call_later(Duration::from_secs(3), move || quick(99));
        let cancelled = call_soon(|| unreachable!("cancelled"));
        cancelled.cancel();
        sleep(Duration::from_secs(10)).await;

        let rows = [
            (PollKind::Call, None, None, line + 7, 300),
            (PollKind::Task, Some(named_id), Some("parser".to_owned()), line, 100),
            (PollKind::Main, Some(main), None, main_line, 400),
            (PollKind::Timer, None, None, line + 14, 500),
            (PollKind::Timer, None, None, line + 15, 600),
        ];
        assert_eq!(seen.take(), rows);
    });
}

/// Goal: without a limit nothing is measured or reported, however long a poll takes.
///
/// Method: a poll of an hour. The executor has recorded nothing.
///
/// Kills: a measurement that is always on.
#[test]
fn without_a_limit_nothing_is_reported() {
    let (runtime, seen, take) = watched(|builder| builder.slow_poll(None));
    runtime.block_on(async {
        spawn(async move { take(3_600_000) }).await.unwrap();
    });
    assert_eq!(seen.take(), []);
    assert!(runtime.core.executor.take_last().is_none());
}

/// Goal: a hook that panics stops neither the loop nor later reports.
///
/// Method: a hook that counts and panics, two slow polls.
///
/// Kills: a panic that unwinds through the loop; a hook that is called once.
#[test]
fn a_hook_that_panics_does_not_stop_the_loop() {
    let count = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&count);
    let (script, runtime, _) = scripted_with(|builder| {
        builder.slow_poll(Some(LIMIT)).on_slow_poll(move |_| {
            *counted.borrow_mut() += 1;
            panic!("a hook, on purpose");
        })
    });
    let take = taking(script);
    runtime.block_on(async {
        for _ in 0..2 {
            let take = take.clone();
            spawn(async move { take(100) }).await.unwrap();
        }
    });
    assert_eq!(*count.borrow(), 2);
}
