//! Tasks: names, places, the table of live tasks, wakes and polls, the budget, handles that
//! abort, slow polls.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ringloop::task::{
    self, AbortOnDrop, PollKind, TaskId, consume_budget, has_budget_remaining, unconstrained,
    yield_now,
};
use ringloop::time::timeout;
use ringloop::{Handle, SlowPoll, Unhandled, call_later, call_soon, spawn};

use crate::common::{turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};

mod late;

use late::a_late_spawn_keeps_the_panic_of_its_future;

pub(crate) const SHARED: &[Body] = bodies![
    a_runtime_dropped_on_another_leaves_its_spawns,
    a_task_has_one_identity_everywhere,
    the_table_has_exactly_the_live_tasks,
    current_is_the_future_that_runs,
    d12_a_detached_panic_is_reported_once_with_its_name,
    a10_one_wake_is_one_poll,
    a7_a_poll_completes_128_operations,
    unconstrained_futures_spend_no_budget,
    a8_a_timeout_ends_a_loop_that_is_always_ready,
    abort_on_drop_ends_its_task,
    l1_slow_polls_of_each_kind_are_reported,
    a_limit_of_none_reports_nothing,
    a_late_spawn_keeps_the_panic_of_its_future,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// The number of operations that one poll may complete.
const BUDGET: u32 = 128;

/// Goal: the number, the name and the place of a task are the same in its handle, in the table, in
/// the task itself and in its abort handle. A task without a name has none.
///
/// Method: a named task and one without a name, on one line each. Names of each type that the
/// builder takes.
///
/// Kills: the place of the library's own line; a name that is lost between builder and task.
fn a_task_has_one_identity_everywhere(on: Driver) {
    on.run(async {
        let here = || async {
            let task = task::current().unwrap();
            assert!(!task.is_main());
            (task.id(), task.name().map(str::to_owned), task.spawned_at())
        };
        let line = line!();
        let plain = spawn(here());
        let named = task::Builder::new().name("reader").spawn(here());
        let large = task::Builder::new().name(String::from("large")).spawn({
            let ballast = [0_u8; 4096];
            let here = here();
            async move {
                let found = here.await;
                assert_eq!(ballast.len(), 4096);
                found
            }
        });
        let rows = Handle::current().tasks();
        let expected = [(None, line + 1), (Some("reader"), line + 2), (Some("large"), line + 3)];
        for ((task, row), (name, line)) in [plain, named, large].into_iter().zip(rows).zip(expected)
        {
            let (id, place) = (task.id(), task.spawned_at());
            assert_eq!((task.name(), place.line()), (name, line));
            assert!(place.file().ends_with("tasks.rs"), "{place}");
            assert_eq!(task.abort_handle().id(), id);
            assert_eq!((row.id(), row.name(), row.spawned_at()), (id, name, place));
            let (own_id, own_name, own_place) = task.await.unwrap();
            assert_eq!((own_id, own_name.as_deref(), own_place), (id, name, place));
        }
    });
}

/// Goal: `Handle::tasks` lists the tasks that have not ended, each once, in spawn order, with the
/// number of their polls. The main future is not among them.
///
/// Method: tasks that return, panic, are aborted, are detached or wait; the table after each step,
/// also from inside of a task.
///
/// Kills: a task that stays after its end; one that leaves when it is detached; a main future in
/// the table; a count that misses polls.
fn the_table_has_exactly_the_live_tasks(on: Driver) {
    let runtime = on.builder().on_unhandled(|_| {}).build().unwrap();
    let table = |handle: &Handle| handle.tasks().iter().map(task::TaskInfo::id).collect::<Vec<_>>();
    runtime.block_on(async {
        let handle = Handle::current();
        assert_eq!(table(&handle), []);
        let waits = spawn(pending::<()>());
        let returns = spawn(async {});
        let panics = spawn(async { panic!("on purpose") });
        let detached = spawn(pending::<()>());
        let aborted = spawn(pending::<()>());
        let mut ids: Vec<TaskId> =
            vec![waits.id(), returns.id(), panics.id(), detached.id(), aborted.id()];
        assert_eq!(table(&handle), ids);
        drop(detached);
        turns(1).await;
        ids.retain(|id| ![returns.id(), panics.id()].contains(id));
        assert_eq!(table(&handle), ids);
        aborted.abort();
        assert_eq!(table(&handle), ids, "an aborted task is live until it is dropped");
        turns(1).await;
        ids.retain(|id| *id != aborted.id());
        assert_eq!(table(&handle), ids);

        let inside = spawn(async move { table(&Handle::current()) });
        ids.push(inside.id());
        assert_eq!(inside.await.unwrap(), ids);
        let polls: Vec<u64> = handle.tasks().iter().map(task::TaskInfo::polls).collect();
        assert_eq!(polls, [1, 1]);
    });
    let handle = runtime.handle();
    assert_eq!(handle.tasks().len(), 2, "between two `block_on`");
    drop(runtime);
    assert!(handle.tasks().is_empty(), "after the end of the loop");
}

/// Goal: `task::current` is the task that runs, also in destructors of its future; in `block_on` it
/// is the main future, with the place of that call; in a callback and outside of a loop it is
/// nothing.
///
/// Method: each place, and two `block_on` of one runtime. A task that yields sees itself before and
/// after.
///
/// Kills: a task that stays the current one after its poll; a main future without an identity.
fn current_is_the_future_that_runs(on: Driver) {
    struct OnDrop(Rc<Cell<Option<TaskId>>>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.set(task::current().map(|task| task.id()));
        }
    }
    let id = || task::current().map(|task| task.id());
    assert_eq!(id(), None);
    let runtime = on.runtime();
    let line = line!() + 1;
    let first = runtime.block_on(async {
        let main = task::current().unwrap();
        assert!(main.is_main());
        assert_eq!((main.name(), main.spawned_at().line()), (None, line));
        let child = spawn(async move {
            let before = id();
            yield_now().await;
            (before, id())
        });
        let child_id = Some(child.id());
        let in_a_call = Rc::new(Cell::new(child_id));
        let found = Rc::clone(&in_a_call);
        call_soon(move || found.set(id()));
        assert_eq!(child.await.unwrap(), (child_id, child_id));
        assert_eq!(in_a_call.get(), None);
        assert_eq!(id(), Some(main.id()));

        let dropped = Rc::new(Cell::new(None));
        let local = OnDrop(Rc::clone(&dropped));
        let aborted = spawn(async move {
            let _local = local;
            pending::<()>().await;
        });
        turns(1).await;
        aborted.abort();
        turns(1).await;
        assert_eq!(dropped.get(), Some(aborted.id()));
        main.id()
    });
    assert_eq!(id(), None);
    let second = runtime.block_on(async move { id().unwrap() });
    assert_ne!(first, second);
}

/// Goal: the panic of a detached task reaches the hook once, with the name and the place of the
/// task, and the loop goes on.
///
/// Method: a task with a name and one without, detached before and after their panics.
///
/// Kills: a report without the name; a second report; none for a handle that is dropped later.
fn d12_a_detached_panic_is_reported_once_with_its_name(on: Driver) {
    let texts = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&texts);
    let hook = move |unhandled: &Unhandled| heard.borrow_mut().push(unhandled.to_string());
    let runtime = on.builder().on_unhandled(hook).build().unwrap();
    runtime.block_on(async {
        let line = line!() + 1;
        let named = task::Builder::new().name("parser").spawn(async { panic!("of a name") });
        drop(spawn(async { panic!("of a place") }));
        turns(1).await;
        let place = |line: u32| format!("{}:{line}:", file!());
        let text = texts.take();
        assert_eq!(text.len(), 1);
        assert!(text[0].starts_with(&format!("a task spawned at {}", place(line + 1))), "{text:?}");
        assert!(text[0].ends_with("panicked: of a place"), "{text:?}");

        drop(named);
        let text = texts.take();
        assert_eq!(text.len(), 1);
        let start = format!("task \"parser\" spawned at {}", place(line));
        assert!(text[0].starts_with(&start), "{text:?}");
        assert!(text[0].ends_with("panicked: of a name"), "{text:?}");
        assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
    });
    drop(runtime);
    assert!(texts.take().is_empty());
}

/// Goal: wakes of a task that is ready already add no poll, and a wake during a poll adds one.
///
/// Method: a task whose waker is woken not at all, once, many times, from another thread, and by
/// itself during the poll; its polls are counted by itself and by the table.
///
/// Kills: a wake that queues a task twice; a wake during a poll that is lost.
fn a10_one_wake_is_one_poll(on: Driver) {
    on.run(async {
        let waker = Rc::new(RefCell::new(None::<Waker>));
        let (polls, wakes_itself) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(0)));
        let (stored, counted, itself) =
            (Rc::clone(&waker), Rc::clone(&polls), Rc::clone(&wakes_itself));
        let task = spawn(poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            *stored.borrow_mut() = Some(cx.waker().clone());
            for _ in 0..itself.take() {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        }));
        let in_table = || Handle::current().tasks()[0].polls();
        let wake = || waker.borrow().as_ref().unwrap().wake_by_ref();
        turns(5).await;
        assert_eq!((polls.get(), in_table()), (1, 1), "the spawn");
        for (count, expected) in [(1, 2), (100, 3)] {
            (0..count).for_each(|_| wake());
            turns(5).await;
            assert_eq!((polls.get(), in_table()), (expected, u64::from(expected)));
        }
        let remote = waker.borrow().clone().unwrap();
        thread::spawn(move || (0..100).for_each(|_| remote.wake_by_ref())).join().unwrap();
        wake();
        turns(5).await;
        assert_eq!(polls.get(), 4, "from two threads, before it runs");
        wakes_itself.set(3);
        wake();
        turns(5).await;
        assert_eq!(polls.get(), 6, "one, and one for the wakes during it");
        task.abort();
    });
}

/// Goal: one poll of a task completes 128 operations that are ready, exactly, and then other tasks
/// run.
///
/// Method: a loop of operations beside a task that counts turns; `has_budget_remaining` before each
/// one. Outside of a loop there is no budget.
///
/// Kills: a budget that is off by one; one that is not refilled; an answer that is not that of the
/// next operation.
fn a7_a_poll_completes_128_operations(on: Driver) {
    assert!(has_budget_remaining());
    on.run(async {
        let turn = Rc::new(Cell::new(0_u32));
        let counted = Rc::clone(&turn);
        let counter = AbortOnDrop::new(spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        }));
        turns(1).await;
        for _ in 0..5 {
            let before = turn.get();
            let mut count = 0;
            while has_budget_remaining() {
                consume_budget().await;
                count += 1;
                assert_eq!(turn.get(), before);
            }
            assert_eq!(count, BUDGET);
            consume_budget().await;
            assert_eq!(turn.get(), before + 1);
            yield_now().await;
        }
        drop(counter);
    });
}

/// Goal: a future inside of `unconstrained` completes any number of operations in one poll, and
/// spends nothing of the budget around it, also when it panics.
///
/// Method: ten budgets of operations inside, beside a task that would run at a yield; then the
/// budget outside, which is still whole.
///
/// Kills: a limit inside; a budget that is spent inside; one that stays unlimited after it.
fn unconstrained_futures_spend_no_budget(on: Driver) {
    on.run(async {
        yield_now().await;
        let other = spawn(async {});
        unconstrained(async {
            for _ in 0..10 * BUDGET {
                assert!(has_budget_remaining());
                consume_budget().await;
            }
        })
        .await;
        let panics = unconstrained(async { panic!("on purpose") });
        let caught = std::panic::AssertUnwindSafe(async move {
            let mut panics = Box::pin(panics);
            poll_fn(|cx| {
                let poll = || panics.as_mut().poll(cx);
                Poll::Ready(std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)).is_err())
            })
            .await
        });
        assert!(caught.0.await);
        assert!(!other.is_finished());
        for _ in 0..BUDGET {
            assert!(!other.is_finished());
            consume_budget().await;
        }
        assert!(!has_budget_remaining());
        consume_budget().await;
        assert!(other.is_finished());
    });
}

/// Goal: a deadline ends a loop of operations that are always ready.
///
/// Method: a loop without an end under a timeout of 1 ms.
///
/// Kills: a timeout that is not polled when the budget is spent.
fn a8_a_timeout_ends_a_loop_that_is_always_ready(on: Driver) {
    on.run(async {
        let forever = async {
            loop {
                consume_budget().await;
            }
        };
        let limited: Result<(), _> = timeout(Duration::from_millis(1), forever).await;
        assert!(limited.is_err());
    });
}

/// Goal: dropping an `AbortOnDrop` aborts the task; awaiting it returns the result; `detach`
/// returns a handle that does not abort.
///
/// Method: each of them, and a handle that is dropped after the end.
///
/// Kills: a drop that detaches; a `detach` that aborts.
fn abort_on_drop_ends_its_task(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        struct Count(Rc<Cell<u32>>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let waiting = || {
            let local = Count(Rc::clone(&dropped));
            AbortOnDrop::new(spawn(async move {
                let _local = local;
                pending::<()>().await;
            }))
        };
        let task = waiting();
        turns(1).await;
        drop(task);
        assert_eq!(dropped.get(), 0, "the future is dropped by the loop");
        turns(1).await;
        assert_eq!(dropped.get(), 1);

        let mut task = AbortOnDrop::from(spawn(async { 7 }));
        assert_eq!((&mut task).await.unwrap(), 7);
        assert!(task.is_finished());
        drop(task);

        let detached = waiting().detach();
        turns(3).await;
        assert!(!detached.is_finished());
        detached.abort();
        until(|| detached.is_finished()).await;
        assert_eq!(dropped.get(), 2);
    });
}

/// Goal: a destructor that spawns while its runtime is dropped inside another one spawns on the
/// loop that runs on the thread, and that loop runs the task.
///
/// Method: a task whose local spawns when it is dropped; its runtime is dropped in the main future
/// of a second runtime. Then a spawn there, whose loop must be the second one as well.
///
/// Kills: a runtime that is dropped and takes the spawns of the thread; a drop that leaves no loop
/// behind.
fn a_runtime_dropped_on_another_leaves_its_spawns(on: Driver) {
    struct SpawnsOnDrop(Rc<Cell<u32>>);
    impl Drop for SpawnsOnDrop {
        fn drop(&mut self) {
            let count = Rc::clone(&self.0);
            drop(ringloop::spawn(async move { count.set(count.get() + 1) }));
        }
    }
    let count = Rc::new(Cell::new(0));
    let nested = on.runtime();
    let local = SpawnsOnDrop(Rc::clone(&count));
    drop(nested.handle().spawn(async move {
        let _local = local;
        std::future::pending::<()>().await;
    }));
    nested.block_on(ringloop::task::yield_now()); // the task has its local now
    on.run(async {
        drop(nested);
        let later = Rc::clone(&count);
        ringloop::spawn(async move { later.set(later.get() + 10) }).await.unwrap();
        assert_eq!(count.get(), 11);
    });
}

/// Goal: polls of tasks and of the main future, callbacks and timers' callbacks that reach the
/// limit are reported to the hook, each with its identity.
///
/// Method: a limit of zero, which each poll reaches. One poll of each kind.
///
/// Kills: a kind that is not measured; the place of another one; a hook that is not called on one
/// of the drivers.
fn l1_slow_polls_of_each_kind_are_reported(on: Driver) {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&reports);
    let hook = move |slow: &SlowPoll| kept.borrow_mut().push(slow.clone());
    let builder = on.builder().slow_poll(Some(Duration::ZERO)).on_slow_poll(hook);
    let main_line = line!() + 1;
    builder.build().unwrap().block_on(async {
        let line = line!() + 1;
        let task = task::Builder::new().name("slow").spawn(async {});
        call_soon(|| {});
        call_later(Duration::ZERO, || {});
        turns(5).await;
        let reports = reports.take();
        let of = |kind| reports.iter().filter(move |slow| slow.kind() == kind);
        let lines = |kind| of(kind).map(|slow| slow.place().line()).collect::<Vec<_>>();
        assert_eq!(lines(PollKind::Task), [line]);
        assert_eq!(lines(PollKind::Call), [line + 1]);
        assert_eq!(lines(PollKind::Timer), [line + 2]);
        assert!(!lines(PollKind::Main).is_empty());
        assert!(of(PollKind::Main).all(|slow| slow.place().line() == main_line));
        let slow = of(PollKind::Task).next().unwrap();
        assert_eq!((slow.id(), slow.name()), (Some(task.id()), Some("slow")));
    });
}

/// Goal: `slow_poll(None)` turns the measurement off, in debug builds too.
///
/// Method: a hook that counts.
///
/// Kills: a hook that turns the measurement on.
fn a_limit_of_none_reports_nothing(on: Driver) {
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    let hook = move |_: &SlowPoll| counted.set(counted.get() + 1);
    let runtime = on.builder().slow_poll(None).on_slow_poll(hook).build().unwrap();
    runtime.block_on(async { spawn(async {}).await.unwrap() });
    assert_eq!(count.get(), 0);
}
