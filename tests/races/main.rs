//! Threads that wake, abort and outlive a loop: the program that `scripts/tsan.sh` runs under
//! ThreadSanitizer.
//!
//! Threads here synchronise by atomics, `spawn` and `join` only, and there is no test harness:
//! locks and channels of a standard library without the sanitizer would be reported. It is also an
//! ordinary test, with fewer rounds.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringloop::task::yield_now;
use ringloop::{Builder, DriverChoice, Handle, Runtime, spawn, spawn_blocking};

/// Rounds of each body on each driver.
const ROUNDS: u64 = 100;

type Body = (&'static str, fn(DriverChoice));

const BODIES: &[Body] = &[
    ("wakes_of_the_main_future_do_not_race", wakes_of_the_main_future_do_not_race),
    ("wakes_of_tasks_do_not_race", wakes_of_tasks_do_not_race),
    ("aborts_do_not_race", aborts_do_not_race),
    ("the_last_wake_does_not_race", the_last_wake_does_not_race),
    ("wakes_at_the_end_of_a_loop_do_not_race", wakes_at_the_end_of_a_loop_do_not_race),
    ("blocking_jobs_do_not_race", blocking_jobs_do_not_race),
    ("remote_calls_and_tasks_do_not_race", remote_calls_and_tasks_do_not_race),
];

fn main() {
    let mut passed_count = 0;
    for choice in drivers() {
        for (name, body) in BODIES {
            body(choice);
            println!("{choice:?}: {name}");
            passed_count += 1;
        }
    }
    println!("{passed_count} passed, 0 failed");
}

/// The driver that the environment selects, or each of this machine.
fn drivers() -> Vec<DriverChoice> {
    match std::env::var("RINGLOOP_DRIVER").as_deref() {
        Ok("uring") => vec![DriverChoice::Uring],
        Ok("epoll") => vec![DriverChoice::Epoll],
        _ => {
            let mut drivers = vec![DriverChoice::Uring, DriverChoice::Epoll];
            if let Err(error) = builder(DriverChoice::Uring).build() {
                println!("SKIP uring: {error}");
                drivers.remove(0);
            }
            drivers
        }
    }
}

fn builder(choice: DriverChoice) -> Builder {
    Builder::new().driver(choice).ring_entries(8, 16).recv_buffers(1, 64)
}

fn runtime(choice: DriverChoice) -> Runtime {
    builder(choice).build().unwrap_or_else(|error| panic!("{error}"))
}

/// A thread that raises `counter` and wakes.
fn raise(counter: &Arc<AtomicU64>, waker: &Waker) -> JoinHandle<()> {
    let (counter, waker) = (Arc::clone(counter), waker.clone());
    thread::spawn(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        waker.wake();
    })
}

/// Waits until two threads, which the first poll starts, have woken the caller.
async fn woken_by_two_threads() {
    let counter = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    poll_fn(|cx| {
        if threads.is_empty() {
            threads.extend((0..2).map(|_| raise(&counter, cx.waker())));
        }
        match counter.load(Ordering::Relaxed) {
            2 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Goal: a wake of the main future has no data race.
///
/// Method: two threads in each round.
///
/// Kills: an inbox that both sides use without the lock.
fn wakes_of_the_main_future_do_not_race(choice: DriverChoice) {
    let runtime = runtime(choice);
    for _ in 0..ROUNDS {
        runtime.block_on(woken_by_two_threads());
    }
}

/// Goal: a wake of a task has no data race; its waker is dropped last on either side.
///
/// Method: two tasks in each round, each woken by two threads.
///
/// Kills: an inbox that both sides use without the lock.
fn wakes_of_tasks_do_not_race(choice: DriverChoice) {
    let runtime = runtime(choice);
    for _ in 0..ROUNDS {
        runtime.block_on(async {
            let tasks = [spawn(woken_by_two_threads()), spawn(woken_by_two_threads())];
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}

/// Goal: an abort from another thread uses only the flag and the waker of the task.
/// Method: a task that never ends in each round, aborted by a thread.
/// Kills: an abort that drops the future where it is called.
fn aborts_do_not_race(choice: DriverChoice) {
    let runtime = runtime(choice);
    for _ in 0..ROUNDS {
        runtime.block_on(async {
            let task = spawn(std::future::pending::<()>());
            let abort = task.abort_handle();
            let aborting = thread::spawn(move || abort.abort());
            assert!(task.await.unwrap_err().is_cancelled());
            aborting.join().unwrap();
        });
    }
}

/// Goal: the notification of a wake that ends the last sleep of a loop may be written while the
/// loop ends: the descriptor is still there.
/// Method: in each round a new runtime, whose main future ends as soon as a thread has woken it
/// once; the runtime is dropped before the thread is joined.
/// Kills: a waker with the number of a descriptor that the loop closes.
fn the_last_wake_does_not_race(choice: DriverChoice) {
    for _ in 0..ROUNDS {
        let runtime = runtime(choice);
        let counter = Arc::new(AtomicU64::new(0));
        let mut waking = None;
        runtime.block_on(poll_fn(|cx| {
            waking.get_or_insert_with(|| raise(&counter, cx.waker()));
            match counter.load(Ordering::Relaxed) {
                1 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        drop(runtime);
        waking.expect("made by the first poll").join().unwrap();
    }
}

/// Goal: wakes while and after a runtime is dropped have no data race.
/// Method: a thread wakes a task and the main future again and again until the runtime is gone.
/// Kills: an inbox that its loop takes away.
fn wakes_at_the_end_of_a_loop_do_not_race(choice: DriverChoice) {
    for _ in 0..ROUNDS {
        let runtime = runtime(choice);
        let is_over = Arc::new(AtomicBool::new(false));
        let [main, task] = runtime.block_on(async {
            let left = Rc::new(Cell::new(None));
            let theirs = Rc::clone(&left);
            drop(spawn(poll_fn(move |cx| {
                theirs.set(Some(cx.waker().clone()));
                Poll::<()>::Pending
            })));
            yield_now().await; // the task has been polled
            [own_waker().await, left.take().expect("left by the first poll")]
        });
        let theirs = Arc::clone(&is_over);
        let waking = thread::spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                main.wake_by_ref();
                task.wake_by_ref();
            }
            main.wake();
            task.wake();
        });
        runtime.block_on(woken_by_two_threads());
        drop(runtime);
        is_over.store(true, Ordering::Relaxed);
        waking.join().unwrap();
    }
}

/// Goal: closures and results of blocking jobs cross threads without a data race; so do aborts,
/// detached jobs and the end of the loop.
///
/// Method: four jobs on two threads in each round, with results on the heap; one is aborted and one
/// detached. The runtime ends while the last may still run.
///
/// Kills: a result that is stored without the lock of its cell.
fn blocking_jobs_do_not_race(choice: DriverChoice) {
    for _ in 0..ROUNDS {
        let builder = builder(choice).blocking_threads(2, Duration::from_millis(1));
        let runtime = builder.build().unwrap_or_else(|error| panic!("{error}"));
        runtime.block_on(async {
            let [first, second, aborted, detached] =
                [1, 2, 3, 4].map(|number| spawn_blocking(move || Box::new(number)));
            aborted.abort();
            drop(detached);
            assert_eq!(*first.await.unwrap() + *second.await.unwrap(), 3);
            drop(aborted.await);
        });
    }
}

/// Goal: calls, remote tasks and their results cross threads without a data race, also at the end
/// of the loop.
///
/// Method: a thread calls and blocks on a future in each round, and then calls until the runtime is
/// gone.
///
/// Kills: a call that is put into the inbox without the lock.
fn remote_calls_and_tasks_do_not_race(choice: DriverChoice) {
    for _ in 0..ROUNDS {
        let runtime = runtime(choice);
        let remote = runtime.handle().remote();
        let calling = thread::spawn(move || {
            let boxed = Box::new(5);
            remote.call(move || assert_eq!(*boxed, 5)).unwrap();
            assert_eq!(*remote.block_on(|| async { Box::new(6) }).unwrap(), 6);
            remote.call(|| Handle::current().stop()).unwrap();
            while remote.call(|| ()).is_ok() {
                thread::yield_now();
            }
        });
        runtime.run_until_stopped();
        drop(runtime);
        calling.join().unwrap();
    }
}

/// The waker of the caller.
async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}
