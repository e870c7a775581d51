//! Blocking jobs: started in order, cancelled until they start, detached quietly.

pub(crate) mod ending;
pub(crate) mod joined;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use ringloop::time::{Instant, sleep};
use ringloop::{Handle, JoinError, Unhandled, spawn, spawn_blocking};

use crate::common::{Dice, Woken, poll_once, scaled, turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    a_job_runs_on_another_thread_and_returns_its_result,
    a_panic_of_a_job_is_the_result_of_its_handle,
    jobs_start_in_order_on_few_threads,
    idle_threads_end_after_the_keep_alive,
    a_queued_job_is_cancelled_and_a_started_one_is_not,
    a_full_queue_refuses_jobs,
    f4_a_job_without_a_waiter_is_dropped_quietly,
    f4_a_detached_panic_is_reported_once,
    a_job_holds_the_paused_clock,
    aborts_at_random_phases_lose_no_job,
];
pub(crate) const ALONE: &[Body] = bodies![];

const HOUR: Duration = Duration::from_secs(3600);

/// A job that waits until `open` sends, or is dropped.
fn gate() -> (Sender<()>, impl FnOnce() -> bool + Send + 'static) {
    let (open, gate): (Sender<()>, Receiver<()>) = channel();
    (open, move || gate.recv().is_ok())
}

/// Counts its drops, and records the thread of the last.
#[derive(Clone, Default)]
struct Witness(Arc<(AtomicU32, Mutex<Option<ThreadId>>)>);

impl Witness {
    fn drops(&self) -> u32 {
        self.0.0.load(Ordering::SeqCst)
    }

    fn thread(&self) -> Option<ThreadId> {
        *self.0.1.lock().unwrap()
    }

    fn value(&self) -> Witnessed {
        Witnessed(self.clone())
    }
}

struct Witnessed(Witness);

impl Drop for Witnessed {
    fn drop(&mut self) {
        let (drops, thread) = &*self.0.0;
        *thread.lock().unwrap() = Some(thread::current().id());
        drops.fetch_add(1, Ordering::SeqCst);
    }
}

/// Goal: a job runs on another thread, while the loop runs other tasks, and its result is a normal
/// wake of the waiter.
///
/// Method: a job that waits for the loop to open its gate. The thread has a name and no loop.
///
/// Kills: a job that runs inside `spawn_blocking`; a result without a wake.
fn a_job_runs_on_another_thread_and_returns_its_result(on: Driver) {
    on.run(async {
        let (open, job) = gate();
        let job = spawn_blocking(move || {
            assert!(Handle::try_current().is_none());
            assert!(job());
            let thread = thread::current();
            (thread.id(), thread.name().map(str::to_owned))
        });
        assert!(!job.is_finished());
        spawn(async move { open.send(()).unwrap() }).await.unwrap();
        let (thread_id, name) = job.await.unwrap();
        assert_ne!(thread_id, thread::current().id());
        assert_eq!(name.as_deref(), Some("ringloop-blocking"));
    });
}

/// Goal: a panic of a job is the error of its handle, with its payload, and the pool goes on.
///
/// Method: a job that panics, on a pool of one thread; then one that does not.
///
/// Kills: a panic that ends the thread and stays counted; a panic that is lost.
fn a_panic_of_a_job_is_the_result_of_its_handle(on: Driver) {
    let runtime = on.builder().blocking_threads(1, HOUR).build().unwrap();
    runtime.block_on(async {
        let error = spawn_blocking(|| std::panic::panic_any(17_u32)).await.unwrap_err();
        assert_eq!(error.into_panic().downcast_ref(), Some(&17_u32));
        assert_eq!(spawn_blocking(|| 18).await.unwrap(), 18);
    });
}

/// Goal: jobs start in the order of their calls, on no more threads than permitted; a second thread
/// is made only when the first is in use.
///
/// Method: jobs that record their number, on one thread; then jobs that record how many of them run
/// at once, on three threads; then the jobs that one after another need one thread.
///
/// Kills: a queue that is a stack; a limit that is one too high; a thread per job.
fn jobs_start_in_order_on_few_threads(on: Driver) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let runtime = on.builder().blocking_threads(1, HOUR).build().unwrap();
    runtime.block_on(async {
        let job = |number| {
            let order = Arc::clone(&order);
            spawn_blocking(move || order.lock().unwrap().push(number))
        };
        let jobs: Vec<_> = (0..100).map(job).collect();
        for job in jobs {
            job.await.unwrap();
        }
    });
    assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());

    let runtime = on.builder().blocking_threads(3, HOUR).build().unwrap();
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    runtime.block_on(async {
        let job = |_| {
            let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
            spawn_blocking(move || {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            })
        };
        let jobs: Vec<_> = (0..100).map(job).collect();
        for job in jobs {
            job.await.unwrap();
        }
        assert!(peak.load(Ordering::SeqCst) <= 3);
        assert!(Handle::current().metrics().blocking_threads <= 3);
    });

    let runtime = on.builder().blocking_threads(100, HOUR).build().unwrap();
    let threads = runtime.block_on(async {
        let mut threads = BTreeSet::new();
        for _ in 0..20 {
            until(|| Handle::current().metrics().blocking_running == 0).await;
            let id = spawn_blocking(|| format!("{:?}", thread::current().id())).await.unwrap();
            threads.insert(id);
        }
        threads
    });
    assert_eq!(threads.len(), 1, "{threads:?}");
}

/// Goal: a thread that is idle for the keep-alive time ends, and the next job makes a new one.
///
/// Method: a keep-alive of one millisecond; the number of threads falls to zero without anything
/// else happening.
///
/// Kills: threads that live as long as the loop; a count that forgets a thread that has ended.
fn idle_threads_end_after_the_keep_alive(on: Driver) {
    let runtime = on.builder().blocking_threads(4, Duration::from_millis(1)).build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            spawn_blocking(|| ()).await.unwrap();
            until(|| Handle::current().metrics().blocking_threads == 0).await;
        }
    });
}

/// Goal: an abort before the start drops the closure at once and gives `Cancelled`; after the start
/// the job runs on and its result is returned. A second abort does nothing.
///
/// Method: a pool of one thread with a job that waits at a gate, and a job behind it.
///
/// Kills: an abort that only marks the job, whose closure stays in the queue; one that cancels a
/// job that runs; a queue that still runs the job.
fn a_queued_job_is_cancelled_and_a_started_one_is_not(on: Driver) {
    let runtime = on.builder().blocking_threads(1, HOUR).build().unwrap();
    runtime.block_on(async {
        let (open, job) = gate();
        let running = spawn_blocking(job);
        until(|| Handle::current().metrics().blocking_running == 1).await;
        let witness = Witness::default();
        let value = witness.value();
        let queued = spawn_blocking(move || drop(value));
        assert_ne!(running.id(), queued.id());
        assert_eq!(Handle::current().metrics().blocking_queued, 1);
        running.abort();
        queued.abort();
        assert_eq!((witness.drops(), witness.thread()), (1, Some(thread::current().id())));
        assert_eq!(Handle::current().metrics().blocking_queued, 0);
        assert!(queued.is_finished());
        queued.abort();
        assert!(queued.await.unwrap_err().is_cancelled());
        open.send(()).unwrap();
        assert!(running.await.unwrap());
    });
}

/// Goal: a job that finds the queue full is refused, with an error that has the numbers and the
/// remedy; nothing blocks, and the jobs before it run.
///
/// Method: one thread, two queued jobs, a fourth.
///
/// Kills: a queue without a bound; a caller that waits for room; a refused closure that leaks.
fn a_full_queue_refuses_jobs(on: Driver) {
    let builder = on.builder().blocking_threads(1, HOUR).blocking_queue(2);
    let runtime = builder.build().unwrap();
    runtime.block_on(async {
        let (open, job) = gate();
        let running = spawn_blocking(job);
        until(|| Handle::current().metrics().blocking_running == 1).await;
        let queued = [spawn_blocking(|| 1), spawn_blocking(|| 2)];
        let witness = Witness::default();
        let value = witness.value();
        let refused = spawn_blocking(move || drop(value));
        assert_eq!(witness.drops(), 1);
        let error = refused.await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("2 blocking jobs wait for 1 threads"), "{text}");
        assert!(matches!(error, JoinError::Refused(_)) && !error.is_cancelled());
        open.send(()).unwrap();
        assert!(running.await.unwrap());
        for (number, job) in queued.into_iter().enumerate() {
            assert_eq!(job.await.unwrap(), number + 1);
        }
    });
}

/// Goal: dropping the handle of a job does not stop it, and its result is dropped where it is made
/// (F4). A wait that is dropped and begun again loses nothing.
///
/// Method: a job at a gate, whose handle is polled and dropped; the result counts its drops. A
/// second job is polled by two wakers before it ends.
///
/// Kills: a drop that cancels; a result that is leaked, or dropped twice; a wake that reaches the
/// waker of the first poll only.
fn f4_a_job_without_a_waiter_is_dropped_quietly(on: Driver) {
    on.run(async {
        let (open, job) = gate();
        let witness = Witness::default();
        let value = witness.value();
        let mut detached = Box::pin(spawn_blocking(move || {
            job();
            value
        }));
        assert!(poll_once(detached.as_mut()).await.is_pending());
        drop(detached);
        assert_eq!(witness.drops(), 0);
        open.send(()).unwrap();
        until(|| witness.drops() == 1).await;
        assert_ne!(witness.thread(), Some(thread::current().id()));

        let (open, job) = gate();
        let mut waited = pin!(spawn_blocking(job));
        let first = Arc::new(Woken::default());
        assert!(first.poll(waited.as_mut()).is_pending());
        let second = spawn({
            open.send(()).unwrap();
            async {}
        });
        second.await.unwrap();
        assert!(waited.await.unwrap());
    });
}

/// A runtime whose reports are counted, and their texts.
fn reported(on: Driver) -> (ringloop::Builder, Rc<RefCell<Vec<String>>>) {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&reports);
    let push = move |unhandled: &Unhandled| kept.borrow_mut().push(unhandled.to_string());
    (on.builder().on_unhandled(push), reports)
}

/// Goal: a panic of a detached job reaches `on_unhandled` once, on the loop's thread, with the
/// place of the call; also if the handle is dropped after the panic. A result whose destructor
/// panics is reported too.
///
/// Method: three jobs, with their handles dropped before and after.
///
/// Kills: a panic that only the thread knows; a report on the pool's thread, which the `Rc` in the
/// hook does not permit; a destructor that ends the thread.
fn f4_a_detached_panic_is_reported_once(on: Driver) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the destructor of a result");
        }
    }
    let (builder, reports) = reported(on);
    let runtime = builder.build().unwrap();
    runtime.block_on(async {
        drop(spawn_blocking(|| panic!("first")));
        until(|| reports.borrow().len() == 1).await;
        let job = spawn_blocking(|| panic!("second"));
        until(|| job.is_finished()).await;
        drop(job);
        until(|| reports.borrow().len() == 2).await;
        drop(spawn_blocking(|| Bomb));
        until(|| reports.borrow().len() == 3).await;
    });
    drop(runtime);
    let reports = reports.borrow();
    assert_eq!(reports.len(), 3, "{reports:?}");
    for (report, text) in reports.iter().zip(["first", "second", "the destructor of a result"]) {
        assert!(report.ends_with(&format!("panicked: {text}")), "{report}");
    }
    assert!(reports[0].contains(file!()), "{}", reports[0]);
}

/// Goal: of many jobs, each is run once or cancelled once, whatever the phase of its abort, and
/// its closure is dropped once.
///
/// Method: 4 000 jobs on three threads, each third of which is aborted or detached at a random
/// phase; counts of runs, drops, results and cancellations.
///
/// Kills: an abort that races with the start, so that both or neither take the job; a job that is
/// stranded in the queue, which is a hang.
fn aborts_at_random_phases_lose_no_job(on: Driver) {
    let runtime = on.builder().blocking_threads(3, Duration::from_millis(1)).build().unwrap();
    let witness = Witness::default();
    let runs = Arc::new(AtomicU32::new(0));
    let (cancelled, detached) = (Cell::new(0), Cell::new(0));
    let total = scaled(4_000) as u32;
    runtime.block_on(async {
        let mut dice = Dice::new(21);
        let mut jobs = Vec::new();
        for _ in 0..total {
            let (value, runs) = (witness.value(), Arc::clone(&runs));
            jobs.push(spawn_blocking(move || {
                let _value = value;
                runs.fetch_add(1, Ordering::SeqCst);
            }));
            if dice.roll(4) == 0 {
                turns(dice.roll(4) as usize).await;
            }
            while jobs.len() > dice.roll(20) as usize {
                let job = jobs.swap_remove(dice.roll(jobs.len() as u64) as usize);
                match dice.roll(3) {
                    0 => detached.set(detached.get() + 1),
                    1 => {
                        job.abort();
                        let outcome = job.await.map_err(|error| error.is_cancelled());
                        cancelled.set(cancelled.get() + u32::from(outcome == Err(true)));
                    }
                    _ => job.await.unwrap(),
                }
            }
        }
        for job in jobs {
            job.await.unwrap();
        }
        until(|| witness.drops() == total).await;
    });
    assert_eq!(runs.load(Ordering::SeqCst) + cancelled.get(), total);
    assert!(cancelled.get() > 0 && detached.get() > 0);
}

/// Goal: a paused clock does not move while a job runs or waits for a thread, and moves by itself
/// when the last has ended (L6); also after a job that no task waits for.
///
/// Method: a sleep of an hour beside two detached jobs on one thread. Each asks the loop, which is
/// idle in between, for its time again and again. When the sleep ends, all have been answered.
///
/// Kills: a pool that does not hold the clock; one that holds it for running jobs only; the end of
/// the last job, which does not wake the sleeping loop.
fn a_job_holds_the_paused_clock(on: Driver) {
    const ROUNDS: u32 = 25;
    let builder = on.builder().blocking_threads(1, HOUR).start_paused(true);
    let runtime = builder.build().unwrap();
    let at_start = Arc::new(AtomicU32::new(0));
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..2 {
            let (remote, at_start) = (Handle::current().remote(), Arc::clone(&at_start));
            drop(spawn_blocking(move || {
                for _ in 0..ROUNDS {
                    let elapsed = remote.block_on(move || async move { start.elapsed() });
                    let is_at_start = elapsed.is_ok_and(|elapsed| elapsed.is_zero());
                    at_start.fetch_add(u32::from(is_at_start), Ordering::SeqCst);
                }
            }));
        }
        sleep(HOUR).await;
        assert_eq!(start.elapsed(), HOUR);
    });
    assert_eq!(at_start.load(Ordering::SeqCst), 2 * ROUNDS);
}
