//! Several tasks: `JoinSet`, `wait`, `gather`, `shield`.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;

use ringloop::task::{
    GatherError, JoinSet, When, gather_results, shield, wait, wait_results, yield_now,
};
use ringloop::{Handle, Runtime, Unhandled, gather, spawn};

use crate::common::{Gate, Woken, poll_once, turns};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    d10_a_set_returns_results_in_the_order_of_completion,
    d10_a_set_aborts_its_tasks_at_its_drop_and_at_abort_all,
    d10_panics_of_a_set_surface_as_join_errors,
    a_detached_set_leaves_its_tasks_running,
    each_result_of_a_set_costs_one_poll,
    a_set_is_awaited_on_its_own_loop_only,
    d9_wait_returns_all_that_have_ended_and_keeps_the_rest,
    wait_for_the_first_error_passes_over_values,
    a_dropped_wait_loses_no_result,
    d8_gather_returns_values_in_the_order_of_its_handles,
    d8_gather_returns_the_first_error_at_once_and_the_others_run_on,
    a_second_panic_of_gathered_tasks_is_reported,
    d8_a_dropped_gather_aborts_its_tasks,
    a_shielded_future_outlives_its_caller,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// A runtime, and the texts of its reports.
fn with_reports(on: Driver) -> (Runtime, Rc<RefCell<Vec<String>>>) {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&reports);
    let hook = move |unhandled: &Unhandled| kept.borrow_mut().push(unhandled.to_string());
    (on.builder().on_unhandled(hook).build().unwrap(), reports)
}

/// Yields `count` times, and returns it.
async fn yields(count: usize) -> usize {
    turns(count).await;
    count
}

/// A future that never ends, and counts its drop.
async fn stays<T>(dropped: Rc<Cell<u32>>) -> T {
    struct Bystander(Rc<Cell<u32>>);
    impl Drop for Bystander {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let _bystander = Bystander(dropped);
    pending().await
}

/// Goal: results come in the order in which the tasks end, with their numbers, each once. (D10)
/// Method: tasks that end in another order than they were spawned, one of them aborted; each way to
/// take a result.
/// Kills: results in the order of spawning; a number of another task; a result that is taken twice.
fn d10_a_set_returns_results_in_the_order_of_completion(on: Driver) {
    on.run(async {
        let mut set = JoinSet::new();
        assert!(set.join_next().await.is_none() && set.is_empty());
        let tasks: Vec<_> = [5, 1, 7, 3, 9].map(|count| set.spawn(yields(count))).into();
        assert_eq!((set.len(), tasks.len()), (5, 5));
        assert!(set.try_join_next().is_none());
        tasks[4].abort();
        let (id, result) = set.join_next_with_id().await.unwrap();
        assert_eq!((id, result.unwrap_err().is_cancelled()), (tasks[4].id(), true));
        assert_eq!(set.join_next().await.unwrap().unwrap(), 1);
        let (id, result) = set.join_next_with_id().await.unwrap();
        assert_eq!((id, result.unwrap()), (tasks[3].id(), 3));
        yields(4).await;
        let (id, result) = set.try_join_next_with_id().unwrap();
        assert_eq!((id, result.unwrap(), set.len()), (tasks[0].id(), 5, 1));
        set.spawn(yields(0)); // a place in the set is used again
        assert_eq!(set.join_all().await, [7, 0]);
    });
}

/// Goal: a drop and `abort_all` abort the tasks, whose futures are dropped by the loop in its next
/// turn. `shutdown` waits for that. (D10)
/// Method: two tasks that never end, for each of the three.
/// Kills: a set that detaches; futures that are dropped inside of the set's drop; a `shutdown` that
/// returns early or leaves results in the set.
fn d10_a_set_aborts_its_tasks_at_its_drop_and_at_abort_all(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        let full = || {
            dropped.set(0);
            let mut set = JoinSet::<()>::new();
            (0..2).for_each(|_| drop(set.spawn(stays(Rc::clone(&dropped)))));
            set
        };
        let set = full();
        yield_now().await;
        drop(set);
        assert_eq!(dropped.get(), 0);
        turns(2).await;
        assert_eq!(dropped.get(), 2);

        let mut set = full();
        yield_now().await;
        set.abort_all();
        for _ in 0..2 {
            assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
        }
        assert_eq!((dropped.get(), set.len()), (2, 0));

        let mut set = full();
        yield_now().await;
        set.shutdown().await;
        assert_eq!((dropped.get(), set.len()), (2, 0));
    });
}

/// Goal: a panic of a task is its result, and no panic is lost. (D10)
/// Method: take one; resume one in `join_all`; leave some to `shutdown` and to the drop of a set,
/// before and after they have ended.
/// Kills: a panic that only ends its task; a report of a panic that was taken; results that
/// `shutdown` or a drop discards unseen.
fn d10_panics_of_a_set_surface_as_join_errors(on: Driver) {
    let (runtime, reports) = with_reports(on);
    runtime.block_on(async {
        let panics = async |text: &'static str| -> () { panic!("{text}") };
        let mut set = JoinSet::new();
        set.spawn(panics("taken"));
        let error = set.join_next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: taken");

        set.spawn(panics("shut down"));
        yield_now().await;
        set.shutdown().await;
        set.spawn(panics("dropped"));
        yield_now().await;
        drop(set);
    });
    let set: JoinSet<()> =
        runtime.block_on(async { (0..2).map(|_| async { panic!("resumed") }).collect() });
    let joined = catch_unwind(AssertUnwindSafe(|| runtime.block_on(set.join_all())));
    assert_eq!(joined.unwrap_err().downcast_ref(), Some(&"resumed"));
    let reports = reports.take();
    let is_of = |text: &str| reports.iter().filter(|report| report.ends_with(text)).count();
    assert_eq!((is_of("shut down"), is_of("dropped"), is_of("resumed")), (1, 1, 1), "{reports:?}");
    assert_eq!(reports.len(), 3, "{reports:?}");
}

/// Goal: `detach_all` empties a set, and its tasks run on; nothing of them comes back.
/// Method: detach a task that runs and one that has ended, then use their places again.
/// Kills: a detached task that is aborted, or that records its end in the set.
fn a_detached_set_leaves_its_tasks_running(on: Driver) {
    on.run(async {
        let (gate, ended) = (Rc::new(Gate::default()), Rc::new(Cell::new(0)));
        let mut set = JoinSet::new();
        set.spawn(yields(0));
        let (wait, count) = (Rc::clone(&gate), Rc::clone(&ended));
        set.spawn(async move {
            wait.wait().await;
            count.set(1);
            100
        });
        yield_now().await;
        set.detach_all();
        assert!(set.is_empty() && set.join_next().await.is_none());
        set.spawn(yields(3));
        set.spawn(yields(2));
        gate.open();
        assert_eq!(set.join_all().await, [2, 3]);
        assert_eq!(ended.get(), 1);
    });
}

/// Goal: the cost of a result does not grow with the number of tasks.
/// Method: 10 000 tasks that wait for a gate each, opened one per turn in part and at once in the
/// rest; the polls of the whole loop.
/// Kills: a set that polls each of its tasks when one ends.
fn each_result_of_a_set_costs_one_poll(on: Driver) {
    const TASKS: usize = 10_000;
    on.run(async {
        let gates: Rc<Vec<Gate>> = Rc::new((0..TASKS).map(|_| Gate::default()).collect());
        let mut set = JoinSet::new();
        for index in 0..TASKS {
            let gates = Rc::clone(&gates);
            set.spawn(async move { gates[index].wait().await });
        }
        turns(4).await;
        let before = Handle::current().metrics().polls;
        for gate in &gates[..100] {
            gate.open();
            set.join_next().await.unwrap().unwrap();
        }
        gates[100..].iter().for_each(Gate::open);
        while set.join_next().await.is_some() {}
        let polls = Handle::current().metrics().polls - before;
        assert!(polls < TASKS as u64 * 11 / 10, "{polls} polls for {TASKS} tasks");
    });
}

/// Goal: a wait that another loop cannot end panics with the reason; results that are there can be
/// taken anywhere.
/// Method: a set of one loop on another one, while its task runs and after its loop has ended.
/// Kills: a wait without end.
fn a_set_is_awaited_on_its_own_loop_only(on: Driver) {
    let (one, other) = (on.runtime(), on.runtime());
    let mut set = JoinSet::<()>::new();
    one.block_on(async { drop(set.spawn(pending())) });
    let run = || other.block_on(async { set.join_next().await.is_some() });
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    drop(one);
    let result = other.block_on(async { set.join_next().await.unwrap() });
    assert!(result.unwrap_err().is_cancelled());
}

/// Goal: `wait` returns everything that has ended, several at once, and cancels nothing. (D9)
/// Method: two tasks that end in one turn, one later and one never; each condition.
/// Kills: a wait that returns one result only; a rest that is aborted or dropped.
fn d9_wait_returns_all_that_have_ended_and_keeps_the_rest(on: Driver) {
    on.run(async {
        let mut set: JoinSet<usize> = [2, 9, 2].into_iter().map(yields).collect();
        let endless = set.spawn(pending());
        let values = |done: Vec<(_, Result<usize, _>)>| -> Vec<usize> {
            done.into_iter().map(|(_, result)| result.unwrap()).collect()
        };
        assert_eq!(values(wait(&mut set, When::First).await), [2, 2]);
        assert_eq!(set.len(), 2);
        assert_eq!(values(wait(&mut set, When::First).await), [9]);
        assert_eq!(set.len(), 1);
        endless.abort();
        let done = wait(&mut set, When::All).await;
        assert_eq!((done.len(), done[0].0), (1, endless.id()));
        assert!(wait(&mut set, When::All).await.is_empty());
    });
}

/// Goal: the first error ends a wait for it: a panic, an abort, and an `Err` for `wait_results`.
/// Without an error the wait ends with the last task.
/// Method: values before the error and in its turn, and a task that never ends.
/// Kills: a wait that ends with the first value; an `Err` that counts as a value.
fn wait_for_the_first_error_passes_over_values(on: Driver) {
    on.run(async {
        let fails = async |count: usize| -> Result<usize, usize> {
            match yields(count).await {
                4 => Err(4),
                count => Ok(count),
            }
        };
        let mut set: JoinSet<_> = [0, 2, 4, 3].into_iter().map(fails).collect();
        let endless = set.spawn(pending());
        let done = wait_results(&mut set, When::FirstError).await;
        let values: Vec<_> = done.into_iter().map(|(_, result)| result.unwrap()).collect();
        assert_eq!(values, [Ok(0), Ok(2), Ok(3), Err(4)]);
        set.spawn(ready(Err(1)));
        set.spawn(async { panic!("the error for wait") });
        let done = wait(&mut set, When::FirstError).await;
        assert_eq!((done.len(), done[0].1.as_ref().unwrap()), (2, &Err(1)));
        endless.abort();
        let done = wait(&mut set, When::FirstError).await;
        assert!(done[0].1.as_ref().unwrap_err().is_cancelled());
        set.spawn(fails(1));
        set.spawn(fails(2));
        assert_eq!(wait_results(&mut set, When::FirstError).await.len(), 2);
    });
}

/// Goal: a wait that is dropped leaves all results in the set.
/// Method: poll a wait for all until some tasks have ended, and drop it; the same for the first
/// error.
/// Kills: results that the wait has already collected.
fn a_dropped_wait_loses_no_result(on: Driver) {
    on.run(async {
        let mut set: JoinSet<usize> = [0, 1].into_iter().map(yields).collect();
        set.spawn(pending());
        for when in [When::All, When::FirstError] {
            let mut waiting = pin!(wait(&mut set, when));
            for _ in 0..4 {
                assert!(poll_once(waiting.as_mut()).await.is_pending());
                yield_now().await;
            }
        }
        assert_eq!(set.len(), 3);
        assert_eq!(wait(&mut set, When::First).await.len(), 2);
    });
}

/// Goal: values are in the order of the handles. (D8)
/// Method: tasks that end in another order, some before the gather begins; no tasks at all.
/// Kills: values in the order of completion.
fn d8_gather_returns_values_in_the_order_of_its_handles(on: Driver) {
    on.run(async {
        let tasks = [4, 0, 3, 1, 2].map(|count| spawn(yields(count)));
        turns(2).await;
        assert_eq!(gather(tasks).await.unwrap(), [4, 0, 3, 1, 2]);
        assert!(gather::<()>([]).await.unwrap().is_empty());
        let tasks = [2, 1].map(|count| spawn(async move { Ok::<_, ()>(yields(count).await) }));
        assert_eq!(gather_results(tasks).await.unwrap(), [2, 1]);
    });
}

/// Goal: the first error is returned in the turn in which it happens, and the other tasks run on to
/// their ends. (D8)
/// Method: an `Err`, a panic and an abort, each beside a task that waits for a gate, first and
/// last.
/// Kills: a gather that waits for the others; one that aborts them.
fn d8_gather_returns_the_first_error_at_once_and_the_others_run_on(on: Driver) {
    let (runtime, reports) = with_reports(on);
    runtime.block_on(async {
        let (gate, ended) = (Rc::new(Gate::default()), Rc::new(Cell::new(0)));
        let other = || {
            let (gate, ended) = (Rc::clone(&gate), Rc::clone(&ended));
            spawn(async move {
                yields(5).await; // so that each waits for the gate alone
                gate.wait().await;
                ended.set(ended.get() + 1);
                Ok(())
            })
        };
        let failing = spawn(async { Err::<(), _>("an error") });
        let error = gather_results([other(), failing]).await.unwrap_err();
        assert!(matches!(error, GatherError::Failed("an error")), "{error:?}");
        let failing = spawn(async { panic!("a panic") });
        let error = gather_results([failing, other()]).await.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: a panic");
        let failing = spawn(pending());
        failing.abort();
        assert!(gather([failing, other()]).await.unwrap_err().is_cancelled());
        gate.open();
        turns(8).await;
        assert_eq!(ended.get(), 3);
    });
    assert_eq!(reports.take(), [""; 0]);
}

/// Goal: panics after the first error are reported, each once: of a task that has ended already and
/// of one that still runs. (R13)
/// Method: three tasks that panic, two of them in one turn.
/// Kills: a later failure that is dropped with its result.
fn a_second_panic_of_gathered_tasks_is_reported(on: Driver) {
    let (runtime, reports) = with_reports(on);
    runtime.block_on(async {
        let fails = |count: usize| {
            spawn(async move {
                yields(count).await;
                panic!("panic {count}")
            })
        };
        let tasks: [_; 3] = [fails(3), fails(0), fails(0)];
        let error = gather::<()>(tasks).await.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: panic 0");
        turns(5).await;
    });
    let reports = reports.take();
    let ends: Vec<&str> = reports.iter().map(|report| &report[report.len() - 7..]).collect();
    assert_eq!(ends, ["panic 0", "panic 3"]);
}

/// Goal: dropping a gather aborts all its tasks; after its end it aborts none. (D8)
/// Method: drop one that was polled and one that was not; a waker that was stored is dropped too.
/// Kills: a drop that detaches; a waker of the caller that is kept.
fn d8_a_dropped_gather_aborts_its_tasks(on: Driver) {
    on.run(async {
        let dropped = Rc::new(Cell::new(0));
        let tasks = || [0, 1].map(|_| spawn(stays::<()>(Rc::clone(&dropped))));
        let unpolled = gather(tasks());
        let waker = std::sync::Arc::new(Woken::default());
        let mut polled = gather(tasks());
        assert!(waker.poll(pin!(&mut polled)).is_pending());
        yield_now().await;
        drop((polled, unpolled));
        assert_eq!(std::sync::Arc::strong_count(&waker), 1);
        turns(2).await;
        assert_eq!(dropped.get(), 4);
    });
}

/// Goal: a shielded future goes on when its caller is aborted.
/// Method: a task that awaits a shield, and is aborted.
/// Kills: a handle that aborts at its drop.
fn a_shielded_future_outlives_its_caller(on: Driver) {
    on.run(async {
        let (gate, is_done) = (Rc::new(Gate::default()), Rc::new(Cell::new(false)));
        let (wait, flag) = (Rc::clone(&gate), Rc::clone(&is_done));
        let outer = spawn(async move {
            shield(async move {
                wait.wait().await;
                flag.set(true);
            })
            .await
        });
        turns(2).await;
        outer.abort();
        assert!(outer.await.unwrap_err().is_cancelled());
        gate.open();
        turns(2).await;
        assert!(is_done.get());
        assert_eq!(shield(async { 7 }).await.unwrap(), 7);
    });
}
