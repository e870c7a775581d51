//! Blocking jobs in a `JoinSet`, and their abort handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use ringloop::task::{JoinSet, When, wait};
use ringloop::{Handle, JoinError, spawn_blocking};

use super::{HOUR, Witness, gate, reported};
use crate::common::{turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    a_set_returns_the_results_of_its_jobs,
    an_abort_of_a_set_ends_only_the_jobs_that_wait,
    a_dropped_set_cancels_the_jobs_that_wait,
    an_abort_handle_of_a_job_works_on_any_thread,
];

/// Waits until one job runs.
async fn one_runs() {
    until(|| Handle::current().metrics().blocking_running == 1).await;
}

/// Goal: a set returns the value, the panic or the refusal of each job, with the number of its
/// abort handle, beside the results of tasks; nothing is reported.
///
/// Method: one thread and a queue of two jobs: a job at a gate, one that panics, one that returns a
/// value, one that is refused, and a task.
///
/// Kills: a panic that is reported instead of returned; a number of the relay task; a refusal that
/// becomes `Cancelled`; a relay task that stays alive.
fn a_set_returns_the_results_of_its_jobs(on: Driver) {
    let (builder, reports) = reported(on);
    let runtime = builder.blocking_threads(1, HOUR).blocking_queue(2).build().unwrap();
    runtime.block_on(async {
        let mut set = JoinSet::new();
        let (open, job) = gate();
        let first = set.spawn_blocking(move || u32::from(job()));
        one_runs().await;
        assert_eq!(Handle::current().tasks()[0].id(), first.id());
        let panics = set.spawn_blocking(|| panic!("in a set"));
        let value = set.spawn_blocking(|| 2);
        let refused = set.spawn_blocking(|| unreachable!("the queue is full"));
        let task = set.spawn(async { 3 });
        open.send(()).unwrap();
        let mut done = wait(&mut set, When::All).await;
        done.sort_unstable_by_key(|(id, _)| *id);
        let ids: Vec<_> = done.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [&first, &panics, &value, &refused, &task].map(|abort| abort.id()));
        let results: Vec<_> = done.into_iter().map(|(_, result)| result).collect();
        let [Ok(1), Err(panic), Ok(2), Err(JoinError::Refused(_)), Ok(3)] = &results[..] else {
            panic!("{results:?}");
        };
        assert_eq!(panic.to_string(), "the task panicked: in a set");
        turns(2).await;
        assert_eq!(Handle::current().metrics().tasks, 0);
    });
    assert_eq!(*reports.borrow(), [""; 0]);
}

/// Goal: `abort_all` drops the closure of a job that waits, at once, and the set returns
/// `Cancelled` for it. A job that has started runs to its end and stays in the set until then.
///
/// Method: one thread with a job at a gate, and one behind it.
///
/// Kills: an abort of the relay task, which loses the result of the job that runs; an abort that
/// does not reach the queue.
fn an_abort_of_a_set_ends_only_the_jobs_that_wait(on: Driver) {
    let runtime = on.builder().blocking_threads(1, HOUR).build().unwrap();
    runtime.block_on(async {
        let mut set = JoinSet::new();
        let (open, job) = gate();
        set.spawn_blocking(job);
        one_runs().await;
        let witness = Witness::default();
        let value = witness.value();
        let waiting = set.spawn_blocking(move || {
            drop(value);
            unreachable!("aborted before its start")
        });
        set.abort_all();
        assert_eq!(witness.drops(), 1);
        let (id, result) = set.join_next_with_id().await.unwrap();
        assert_eq!((id, result.unwrap_err().is_cancelled()), (waiting.id(), true));
        turns(5).await;
        assert_eq!((set.len(), set.try_join_next().is_none()), (1, true));
        open.send(()).unwrap();
        assert!(set.join_next().await.unwrap().unwrap());
    });
}

/// Goal: dropping a set cancels the jobs that wait and detaches those that run. A panic of a
/// detached job is reported once, with the place of the call. The end of the loop ends all jobs of
/// a set with `Cancelled`.
///
/// Method: one thread; a set with a job that panics after a gate, and one behind it, is dropped.
/// Then a set with a job at a gate, and one behind it, outlives its runtime.
///
/// Kills: a dropped set that leaves its queue; a panic that no place has; a set that waits for a
/// loop that has ended.
fn a_dropped_set_cancels_the_jobs_that_wait(on: Driver) {
    let (builder, reports) = reported(on);
    let runtime = builder.blocking_threads(1, HOUR).build().unwrap();
    let witness = Witness::default();
    let (mut set, open) = runtime.block_on(async {
        let mut set = JoinSet::new();
        let (open, job) = gate();
        let value = witness.value();
        set.spawn_blocking(move || {
            assert!(!job(), "after the gate");
        });
        one_runs().await;
        set.spawn_blocking(move || drop(value));
        drop(set);
        assert_eq!(witness.drops(), 1);
        open.send(()).unwrap();
        until(|| reports.borrow().len() == 1).await;

        let mut set = JoinSet::new();
        let (open, job) = gate();
        set.spawn_blocking(move || assert!(job()));
        one_runs().await;
        let value = witness.value();
        set.spawn_blocking(move || drop(value));
        (set, open)
    });
    runtime.shutdown_background();
    assert_eq!(witness.drops(), 2);
    on.run(async {
        for _ in 0..2 {
            assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
        }
    });
    open.send(()).unwrap();
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains(file!()) && reports[0].ends_with("after the gate"), "{reports:?}");
}

/// Goal: an abort handle cancels a job that waits, from another thread, and has no effect on one
/// that runs, has ended or was refused. It has the number of the job.
///
/// Method: one thread with a job at a gate; abort handles of it, of the job behind it and of a
/// refused one, used on another thread, each twice.
///
/// Kills: a handle of another job; one that cancels a job that runs; one that fails without a
/// number in the queue.
fn an_abort_handle_of_a_job_works_on_any_thread(on: Driver) {
    let runtime = on.builder().blocking_threads(1, HOUR).blocking_queue(2).build().unwrap();
    runtime.block_on(async {
        let (open, job) = gate();
        let running = spawn_blocking(job);
        one_runs().await;
        let runs = Arc::new(AtomicU32::new(0));
        let count = |runs: &Arc<AtomicU32>| {
            let runs = Arc::clone(runs);
            spawn_blocking(move || runs.fetch_add(1, Ordering::SeqCst))
        };
        let (waiting, kept) = (count(&runs), count(&runs));
        let refused = spawn_blocking(|| ());
        let aborts = [running.abort_handle(), waiting.abort_handle(), refused.abort_handle()];
        assert_eq!(
            aborts.each_ref().map(|abort| abort.id()),
            [running.id(), waiting.id(), refused.id()]
        );
        let aborting = thread::spawn(move || {
            for abort in aborts.iter().chain(&aborts) {
                abort.abort();
            }
        });
        aborting.join().unwrap();
        assert!(waiting.is_finished() && waiting.await.unwrap_err().is_cancelled());
        assert!(matches!(refused.await, Err(JoinError::Refused(_))));
        open.send(()).unwrap();
        assert!(running.await.unwrap());
        let abort = kept.abort_handle();
        assert_eq!(kept.await.unwrap(), 0);
        abort.abort();
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    });
}
