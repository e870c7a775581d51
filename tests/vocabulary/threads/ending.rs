//! Blocking jobs at the end of their runtime, and after it.
#![allow(clippy::async_yields_async)] // handles leave their loop on purpose

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use ringloop::{Handle, spawn, spawn_blocking};

use super::{HOUR, Witness, gate, reported};
use crate::common::{turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    f4_a_job_outlives_its_loop,
    the_end_of_a_runtime_waits_for_started_jobs,
    k4_a_hung_job_does_not_hold_a_shutdown_without_time,
    jobs_are_refused_while_the_runtime_is_dropped,
    a_waker_that_panics_does_not_stop_the_end_of_a_runtime,
];

/// Goal: a job that outlives its loop is harmless (F4): its result is dropped on its thread, its
/// wake reaches no closed loop, and its handle still returns the result.
///
/// Method: two jobs at gates, one of which a task awaits; the runtime is dropped in the background,
/// and then the gates are opened.
///
/// Kills: a wake that uses the closed loop; a result that is sent to the inbox, and lost there.
fn f4_a_job_outlives_its_loop(on: Driver) {
    let runtime = on.runtime();
    let witness = Witness::default();
    let (open_awaited, job) = gate();
    let value = witness.value();
    let (open_kept, kept_job) = gate();
    let kept = runtime.block_on(async {
        spawn(async move {
            let _value = spawn_blocking(move || {
                job();
                value
            })
            .await;
            unreachable!("the loop has ended");
        });
        let kept = spawn_blocking(kept_job);
        turns(2).await;
        until(|| Handle::current().metrics().blocking_running == 2).await;
        kept
    });
    runtime.shutdown_background();
    assert_eq!(witness.drops(), 0);
    open_awaited.send(()).unwrap();
    open_kept.send(()).unwrap();
    on.run(async {
        assert!(kept.await.unwrap(), "awaited on another loop");
        until(|| witness.drops() == 1).await;
    });
    assert_ne!(witness.thread(), Some(thread::current().id()));
}

/// Goal: dropping a runtime waits for the jobs that have started, cancels the others, and reports
/// the panics that come meanwhile.
///
/// Method: one thread with a job that a third thread releases, and a job in the queue.
///
/// Kills: a drop that does not wait; one that runs the queue; a report that the end loses.
fn the_end_of_a_runtime_waits_for_started_jobs(on: Driver) {
    let (builder, reports) = reported(on);
    let runtime = builder.blocking_threads(1, HOUR).build().unwrap();
    let ended = Arc::new(AtomicU32::new(0));
    let witness = Witness::default();
    let (open, job) = gate();
    let queued = runtime.block_on(async {
        let ended = Arc::clone(&ended);
        drop(spawn_blocking(move || {
            job();
            ended.store(1, Ordering::SeqCst);
            panic!("during the shutdown");
        }));
        until(|| Handle::current().metrics().blocking_running == 1).await;
        let value = witness.value();
        spawn_blocking(move || drop(value))
    });
    // The queued job is dropped when the shutdown has begun.
    let in_shutdown = witness.clone();
    let releasing = thread::spawn(move || {
        while in_shutdown.drops() == 0 {
            thread::yield_now();
        }
        open.send(()).unwrap();
    });
    drop(runtime);
    assert_eq!((ended.load(Ordering::SeqCst), witness.drops()), (1, 1));
    releasing.join().unwrap();
    let result = on.run(queued);
    assert!(result.unwrap_err().is_cancelled());
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].ends_with("panicked: during the shutdown"), "{reports:?}");
}

/// Goal: `shutdown_timeout(0)` returns although a job hangs, and reports it; so does a short
/// timeout. `shutdown_background` does not report it.
///
/// Method: a job at a gate that opens after the shutdown.
///
/// Kills: a shutdown that joins its threads; one that gives up silently.
fn k4_a_hung_job_does_not_hold_a_shutdown_without_time(on: Driver) {
    for limit in [Some(Duration::ZERO), Some(Duration::from_millis(2)), None] {
        let (builder, reports) = reported(on);
        let runtime = builder.build().unwrap();
        let (open, job) = gate();
        drop(runtime.handle().spawn_blocking(job));
        runtime.block_on(until(|| Handle::current().metrics().blocking_running == 1));
        match limit {
            Some(limit) => runtime.shutdown_timeout(limit),
            None => runtime.shutdown_background(),
        }
        let expected = "1 blocking jobs outlived the runtime; they run on, and their results are \
                        dropped";
        let count = usize::from(limit.is_some());
        assert_eq!(*reports.borrow(), vec![expected; count]);
        drop(open);
    }
}

/// Goal: a destructor that calls `spawn_blocking` while its runtime is dropped gets a handle that
/// is cancelled, and the closure is dropped.
///
/// Method: a task whose local does so, and keeps the handle; also on the handle of the closed loop.
///
/// Kills: a thread that is made during a shutdown; a handle that never returns.
fn jobs_are_refused_while_the_runtime_is_dropped(on: Driver) {
    struct Late(Arc<Mutex<Vec<ringloop::BlockingHandle<()>>>>, Witness);
    impl Drop for Late {
        fn drop(&mut self) {
            let value = self.1.value();
            self.0.lock().unwrap().push(spawn_blocking(move || drop(value)));
        }
    }
    let handles = Arc::new(Mutex::new(Vec::new()));
    let witness = Witness::default();
    let runtime = on.runtime();
    let late = Late(Arc::clone(&handles), witness.clone());
    drop(runtime.handle().spawn(async move {
        let _late = late;
        std::future::pending::<()>().await;
    }));
    runtime.block_on(turns(2));
    let handle = runtime.handle();
    drop(runtime);
    handles.lock().unwrap().push(handle.spawn_blocking(|| unreachable!("there is no pool")));
    assert_eq!(witness.drops(), 1);
    for handle in std::mem::take(&mut *handles.lock().unwrap()) {
        assert!(on.run(handle).unwrap_err().is_cancelled());
    }
}

/// Goal: wakers that panic when their jobs are cancelled by the end of the runtime do not stop it:
/// the panics are reported, and the tasks are dropped.
///
/// Method: two queued jobs whose handles are polled with such a waker, and a task with a witness.
///
/// Kills: a shutdown that a waker of another library ends.
fn a_waker_that_panics_does_not_stop_the_end_of_a_runtime(on: Driver) {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let (builder, reports) = reported(on);
    let runtime = builder.blocking_threads(1, HOUR).build().unwrap();
    let (open, job) = gate();
    drop(runtime.handle().spawn_blocking(job));
    let waker = Waker::from(Arc::new(Bomb));
    let mut queued = [(); 2].map(|()| runtime.handle().spawn_blocking(|| ()));
    for handle in &mut queued {
        assert!(pin!(handle).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let witness = Witness::default();
    let value = witness.value();
    drop(runtime.handle().spawn(async move {
        let _value = value;
        std::future::pending::<()>().await;
    }));
    runtime.block_on(turns(2));
    open.send(()).unwrap();
    drop(runtime);
    assert_eq!(witness.drops(), 1);
    assert_eq!(*reports.borrow(), ["a waker panicked: in a waker"; 2]);
}
