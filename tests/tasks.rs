//! Tasks and callbacks from spawn to end, and their panics.
#![expect(clippy::async_yields_async, reason = "a handle is carried out of its loop on purpose")]

mod common;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use common::{Gate, LIMIT, poll_once, run, turns, until, within};
use ringloop::task::yield_now;
use ringloop::time::sleep;
use ringloop::{Handle, Runtime, Unhandled, call_later, call_soon, spawn};

const HOUR: Duration = Duration::from_secs(3600);

/// Records when, and on which thread, it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A runtime and the texts of its reports.
fn reporting() -> (Runtime, Rc<RefCell<Vec<String>>>) {
    let texts = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&texts);
    let runtime = Runtime::builder()
        .on_unhandled(move |unhandled: &Unhandled| heard.borrow_mut().push(unhandled.to_string()))
        .build()
        .unwrap();
    (runtime, texts)
}

/// Goal: a handle returns the task's result once, at any later time; a dropped handle detaches the
/// task, which goes on to its end.
///
/// Method: results awaited before and after the end; an await that is dropped and made again; a
/// detached task that opens a gate.
///
/// Kills: a result lost with a dropped await; a drop that cancels.
#[test]
fn results_reach_their_handle() {
    run(async {
        assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
        let mut late = spawn(async { vec![1, 2, 3] });
        assert!(poll_once(pin!(&mut late)).await.is_pending());
        until(|| late.is_finished()).await;
        assert_eq!((&mut late).await.unwrap(), [1, 2, 3]);

        let gate = Rc::new(Gate::default());
        let opening = Rc::clone(&gate);
        drop(spawn(async move {
            sleep(Duration::from_millis(1)).await;
            opening.open();
        }));
        gate.wait().await;
        turns(1).await;
        assert_eq!(Handle::current().metrics().tasks, 0);
    });
}

/// Goal: an aborted task is dropped in the next turn, its locals are dropped before the joiner is
/// woken (C11), and an earlier result takes precedence.
///
/// Method: abort a task that waits, one that was never polled, one that has ended, and one that
/// aborts itself.
///
/// Kills: an abort that does not wake the joiner; one that overwrites a result.
#[test]
fn an_aborted_task_is_dropped_in_the_next_turn() {
    run(async {
        let dropped = Rc::new(Cell::new(0));
        let count = || {
            let dropped = Rc::clone(&dropped);
            OnDrop(move || dropped.set(dropped.get() + 1))
        };
        for turns_before in [0, 2] {
            let value = count();
            let task = spawn(async move {
                let _value = value;
                pending::<()>().await;
            });
            turns(turns_before).await;
            let before = dropped.get();
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(dropped.get(), before + 1, "locals outlive the task");
        }

        let ended = spawn(async { 3 });
        until(|| ended.is_finished()).await;
        ended.abort();
        assert_eq!(ended.await.unwrap(), 3);

        let own = Rc::new(RefCell::new(None::<ringloop::task::AbortHandle>));
        let found = Rc::clone(&own);
        let task = spawn(async move {
            found.borrow().as_ref().unwrap().abort();
            yield_now().await;
            unreachable!("aborted by itself");
        });
        *own.borrow_mut() = Some(task.abort_handle());
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

/// Goal: an abort from another thread drops the future on the loop's thread and wakes the joiner,
/// although the loop sleeps (C9).
///
/// Method: 300 tasks that record the thread of their drop, aborted by another thread while the main
/// future joins them.
///
/// Kills: dropping where `abort` was called; an abort that does not notify the wake fd.
#[test]
fn aborting_from_another_thread() {
    run(async {
        for _ in 0..300 {
            let dropped_on = Rc::new(Cell::new(None::<ThreadId>));
            let noting = Rc::clone(&dropped_on);
            let value = OnDrop(move || noting.set(Some(thread::current().id())));
            let task = spawn(async move {
                let _value = value;
                pending::<()>().await;
            });
            let abort = task.abort_handle();
            let aborting = thread::spawn(move || abort.abort());
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(dropped_on.get(), Some(thread::current().id()));
            aborting.join().unwrap();
        }
    });
}

/// Goal: the joiner gets a panic with its payload; without a joiner the hook gets it, once; the
/// loop goes on (D12).
///
/// Method: panics of awaited tasks, of tasks detached before and after, of tasks that are not
/// joined, of callbacks and of timers.
///
/// Kills: a panic that ends the loop, is reported twice or not at all.
#[test]
fn a_panic_reaches_its_handle_or_the_hook_once() {
    within(LIMIT, || {
        let (runtime, texts) = reporting();
        runtime.block_on(async {
            let joined = spawn(async { std::panic::panic_any(42_u8) });
            let payload = joined.await.unwrap_err().into_panic();
            assert_eq!(*payload.downcast::<u8>().unwrap(), 42);
            assert!(texts.borrow().is_empty(), "a joined panic is the joiner's");

            drop(spawn(async { panic!("detached before") }));
            turns(2).await;
            let kept = spawn(async { panic!("detached after") });
            until(|| kept.is_finished()).await;
            drop(kept);
            call_soon(|| panic!("in call_soon"));
            call_later(Duration::ZERO, || panic!("in call_later"));
            turns(3).await;
            let heard = texts.take();
            let words = ["before", "after", "call_soon", "call_later"];
            for (text, word) in heard.iter().zip(words) {
                assert!(text.contains(word), "{text}");
                assert!(text.contains(file!()), "no place in: {text}");
            }
            assert_eq!(heard.len(), 4, "{heard:?}");
        });
        assert_eq!(runtime.block_on(async { 1 }), 1);
        drop(runtime);
        assert!(texts.borrow().is_empty());
    });
}

/// Goal: a panic in a destructor is caught: of a task's locals, of its output, of an aborted task;
/// that of a cancelled callback goes to the caller of `cancel`.
///
/// Method: values that panic when they are dropped, in each of these places; the loop goes on.
///
/// Kills: a future dropped outside `catch_unwind`; a joiner that never returns after it.
#[test]
fn a_panic_in_a_destructor_is_contained() {
    fn bomb() -> OnDrop<fn()> {
        OnDrop(|| panic!("in a destructor"))
    }
    within(LIMIT, || {
        let (runtime, texts) = reporting();
        runtime.block_on(async {
            let value = bomb();
            let locals = spawn(async move {
                let _value = value;
                yield_now().await;
            });
            assert!(locals.await.unwrap_err().is_panic());

            let value = bomb();
            let aborted = spawn(async move {
                let _value = value;
                pending::<()>().await;
            });
            turns(2).await;
            aborted.abort();
            assert!(aborted.await.unwrap_err().is_panic());
            assert!(texts.borrow().is_empty());

            drop(spawn(async { bomb() }));
            turns(3).await;
            assert_eq!(texts.take().len(), 1, "an output that was not taken");

            let value = bomb();
            let call = call_soon(move || drop(value));
            assert!(catch_unwind(AssertUnwindSafe(|| call.cancel())).is_err());
            let value = bomb();
            let call = call_later(HOUR, move || drop(value));
            assert!(catch_unwind(AssertUnwindSafe(|| call.cancel())).is_err());
            assert_eq!(spawn(async { 5 }).await.unwrap(), 5);
            assert_eq!(Handle::current().metrics().timers, 0);
        });
    });
}

/// Goal: the loop goes on after a panic of the hook, and the hook may spawn.
///
/// Method: both in one.
///
/// Kills: calling the hook under a borrow or without `catch_unwind`.
#[test]
fn a_hook_may_do_anything() {
    within(LIMIT, || {
        let spawned = Rc::new(Cell::new(0));
        let counting = Rc::clone(&spawned);
        let runtime = Runtime::builder()
            .on_unhandled(move |_| {
                let counting = Rc::clone(&counting);
                spawn(async move { counting.set(counting.get() + 1) });
                panic!("in the hook");
            })
            .build()
            .unwrap();
        runtime.block_on(async {
            spawn(async { panic!("of a task") });
            call_soon(|| panic!("of a callback"));
            turns(4).await;
        });
        assert_eq!(spawned.get(), 2);
    });
}

/// Goal: a cancelled callback does not run, and its captures are dropped at the cancel; dropping
/// the handle does not cancel.
///
/// Method: both for `call_soon` and `call_later`.
///
/// Kills: a cancel that only marks; a handle whose drop cancels.
#[test]
fn a_cancelled_callback_does_not_run() {
    run(async {
        let owned = Rc::new(());
        let (ran, also_ran) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let soon = {
            let owned = Rc::clone(&owned);
            call_soon(move || drop(owned))
        };
        let later = {
            let owned = Rc::clone(&owned);
            call_later(Duration::ZERO, move || drop(owned))
        };
        assert_eq!(Rc::strong_count(&owned), 3);
        assert!(soon.is_pending() && later.is_pending());
        soon.cancel();
        later.cancel();
        assert_eq!(Rc::strong_count(&owned), 1, "dropped at the cancel");
        assert!(!soon.is_pending() && !later.is_pending());

        let counting = Rc::clone(&ran);
        drop(call_soon(move || counting.set(counting.get() + 1)));
        let counting = Rc::clone(&also_ran);
        drop(call_later(Duration::ZERO, move || counting.set(counting.get() + 1)));
        turns(4).await;
        assert_eq!((ran.get(), also_ran.get()), (1, 1));
    });
}

/// Goal: the end of a runtime drops remaining tasks on its thread, inside its context; tasks that
/// their destructors spawn do not run, and joins of them do not hang (K1).
///
/// Method: tasks whose destructors spawn, join, call soon and later; tasks that wait for each
/// other; a task that was never polled.
///
/// Kills: destructors outside the context; a spawn at shutdown that runs, or whose handle never
/// completes.
#[test]
fn leftover_tasks_end_with_the_runtime() {
    within(LIMIT, || {
        let (runtime, texts) = reporting();
        let (dropped, ran) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let late_results = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(async {
            for number in 0..10 {
                let (dropped, ran) = (Rc::clone(&dropped), Rc::clone(&ran));
                let results = Rc::clone(&late_results);
                let value = OnDrop(move || {
                    dropped.set(dropped.get() + 1);
                    assert!(Handle::try_current().is_some(), "outside the context");
                    let run = |ran: &Rc<Cell<u32>>| {
                        let ran = Rc::clone(ran);
                        move || ran.set(ran.get() + 1)
                    };
                    let late = run(&ran);
                    let task = spawn(async move { late() });
                    results.borrow_mut().push(task.is_finished());
                    call_soon(run(&ran));
                    call_later(Duration::ZERO, run(&ran));
                });
                let task = spawn(async move {
                    let _value = value;
                    pending::<()>().await;
                });
                spawn(async move { task.await.map(drop) });
                if number == 5 {
                    turns(2).await; // the later ones are not polled
                }
            }
        });
        drop(runtime);
        assert_eq!((dropped.get(), ran.get()), (10, 0));
        assert_eq!(*late_results.borrow(), [true; 10], "finished as cancelled");
        assert!(texts.borrow().is_empty(), "{texts:?}");
    });
}

/// Goal: `run` reports the panic of a task that was not joined, also of the last turn.
///
/// Method: a detached task that panics in the turn in which the main future ends.
///
/// Kills: collected reports that are not passed on at the end.
#[test]
fn the_last_turns_panic_is_reported() {
    within(LIMIT, || {
        let (runtime, texts) = reporting();
        runtime.block_on(async {
            spawn(async { panic!("in the last turn") });
        });
        let kept = runtime.block_on(async {
            let kept = spawn(async { panic!("kept") });
            until(|| kept.is_finished()).await;
            kept
        });
        assert_eq!(texts.borrow().len(), 1, "the first ran in the second run");
        drop(runtime);
        drop(kept);
        assert_eq!(texts.borrow().len(), 2);
    });
}

/// Goal: a runtime goes on after its main future has panicked: tasks, timers and sockets too.
///
/// Method: panic in `block_on` with a task, a timer and a callback pending; then use all of them.
///
/// Kills: a context that stays entered; entries of the interrupted turn lost; a stale main entry.
#[test]
fn a_runtime_survives_a_panic_of_its_main_future() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let count = Rc::new(Cell::new(0));
        for round in 1..=3 {
            let counting = Rc::clone(&count);
            let main = async {
                let count = Rc::clone(&counting);
                call_soon(move || count.set(count.get() + 1));
                let count = Rc::clone(&counting);
                call_later(Duration::from_millis(1), move || count.set(count.get() + 1));
                spawn(async move {
                    yield_now().await;
                    counting.set(counting.get() + 1);
                });
                panic!("of the main future");
            };
            let panicked = catch_unwind(AssertUnwindSafe(|| runtime.block_on(main)));
            assert!(panicked.is_err() && Handle::try_current().is_none());
            runtime.block_on(async {
                sleep(Duration::from_millis(2)).await;
                turns(2).await;
                let (mut client, mut server) = common::tcp_pair().await;
                client.write_all(b"on").await.unwrap();
                assert_eq!(&*server.recv().await.unwrap(), b"on");
            });
            assert_eq!(count.get(), 3 * round);
        }
    });
}
