//! Calls, tasks and waits from other threads: in order, once, and harmless to a closed loop.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ringloop::task::yield_now;
use ringloop::time::sleep;
use ringloop::{Handle, RemoteHandle, Unhandled, call_soon, spawn, spawn_blocking};

use crate::common::{scaled, turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    f1_a_call_ends_the_sleep_of_a_loop,
    f2_a_flood_of_calls_is_one_write,
    calls_and_wakes_of_a_thread_run_in_order,
    a_panic_of_a_call_is_reported_with_its_place,
    a_remote_task_is_local_and_returns_its_result,
    a_remote_task_that_panics_or_is_aborted_ends_with_an_error,
    a_detached_remote_task_runs_on_and_its_panic_is_reported,
    a_thread_blocks_on_a_future_of_the_loop,
    blocking_on_the_own_loop_is_refused,
    f3_a_wait_for_a_closed_loop_ends_with_an_error,
    calls_that_the_end_overtakes_are_dropped_on_the_loop,
    calls_during_the_end_are_given_back_unused,
];
pub(crate) const ALONE: &[Body] = bodies![f3_calls_during_and_after_the_end_are_given_back];

/// Goal: a call from another thread ends the sleep of a loop, none is lost, and each runs once.
///
/// Method: a thread that calls again as soon as the loop has run the last call, many times, while
/// the loop sleeps in between.
///
/// Kills: a call that is put into the inbox without a wake; a flag that is read before the inbox.
fn f1_a_call_ends_the_sleep_of_a_loop(on: Driver) {
    let runtime = on.runtime();
    let remote = runtime.handle().remote();
    let rounds = scaled(20_000);
    let (sender, receiver) = channel();
    let calling = thread::spawn(move || {
        for round in 0..rounds {
            let sender = sender.clone();
            remote.call(move || sender.send(round).unwrap()).unwrap();
            assert_eq!(receiver.recv(), Ok(round));
        }
        remote.block_on(|| async { Handle::current().stop() }).unwrap();
    });
    runtime.run_until_stopped();
    calling.join().unwrap();
    assert_eq!(runtime.handle().metrics().spin_backoffs, 0);
}

/// Goal: 10⁵ calls while the loop does not run cost one notification, and all are called (F2).
///
/// Method: another thread calls 100 000 times while this thread is not in the loop.
///
/// Kills: a notification per call; a bounded inbox that drops calls.
fn f2_a_flood_of_calls_is_one_write(on: Driver) {
    let runtime = on.runtime();
    runtime.block_on(turns(2));
    let before = runtime.handle().metrics();
    let remote = runtime.handle().remote();
    let count = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&count);
    let flood = scaled(100_000);
    let flooding = thread::spawn(move || {
        for _ in 0..flood {
            let count = Arc::clone(&theirs);
            let call = move || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            remote.call(call).unwrap();
        }
    });
    flooding.join().unwrap();
    runtime.block_on(until(|| count.load(Ordering::Relaxed) == flood));
    let after = runtime.handle().metrics();
    assert!(after.completions - before.completions <= 2, "{after:?}");
}

/// Goal: the calls and wakes of one thread take effect in their order, on another thread and on
/// the loop's own; none is called inside `call`.
///
/// Method: calls that record their number, with the wake of a task that does so in the middle.
///
/// Kills: an inbox that is a stack; a call of the loop's own thread that goes through the inbox and
/// is overtaken by later ready work.
fn calls_and_wakes_of_a_thread_run_in_order(on: Driver) {
    let runtime = on.runtime();
    let remote = runtime.handle().remote();
    let order = Arc::new(Mutex::new(Vec::new()));
    let record = |name: &'static str| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(name)
    };
    let waker = Arc::new(Mutex::new(None::<Waker>));
    let waiting = |name| {
        let (waker, woken) = (Arc::clone(&waker), record(name));
        let mut woken = Some(woken);
        async move {
            let mut is_first = true;
            poll_fn(move |cx| {
                *waker.lock().unwrap() = Some(cx.waker().clone());
                if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            woken.take().unwrap()();
        }
    };
    runtime.block_on(async {
        drop(spawn(waiting("wake")));
        turns(2).await;
    });
    let (first, last) = (record("call 1"), record("call 2"));
    let (theirs, their_waker) = (remote.clone(), Arc::clone(&waker));
    let sending = thread::spawn(move || {
        theirs.call(first).unwrap();
        let waker = their_waker.lock().unwrap().take().unwrap();
        waker.wake();
        theirs.call(last).unwrap();
    });
    sending.join().unwrap();
    runtime.block_on(turns(2));
    assert_eq!(std::mem::take(&mut *order.lock().unwrap()), ["call 1", "wake", "call 2"]);

    runtime.block_on(async {
        drop(spawn(waiting("own wake")));
        turns(2).await;
        call_soon(record("own soon 1"));
        remote.call(record("own call")).unwrap();
        let waker = waker.lock().unwrap().take().unwrap();
        waker.wake();
        call_soon(record("own soon 2"));
        assert_eq!(order.lock().unwrap().len(), 0, "a call is never inline");
        turns(2).await;
    });
    assert_eq!(*order.lock().unwrap(), ["own soon 1", "own call", "own wake", "own soon 2"]);
}

/// A runtime whose reports are kept as texts.
fn reported(on: Driver) -> (ringloop::Runtime, Rc<RefCell<Vec<String>>>) {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&reports);
    let push = move |unhandled: &Unhandled| kept.borrow_mut().push(unhandled.to_string());
    (on.builder().on_unhandled(push).build().unwrap(), reports)
}

/// Goal: a panic of a call reaches `on_unhandled` with the place of the call, and the loop goes on.
///
/// Method: a call that panics, from another thread, and one that does not.
///
/// Kills: a panic that leaves the loop; a place inside of the library.
fn a_panic_of_a_call_is_reported_with_its_place(on: Driver) {
    let (runtime, reports) = reported(on);
    let remote = runtime.handle().remote();
    let is_called = Arc::new(AtomicBool::new(false));
    let called = Arc::clone(&is_called);
    let calling = thread::spawn(move || {
        remote.call(|| panic!("in a call")).unwrap();
        remote.call(move || called.store(true, Ordering::Relaxed)).unwrap();
    });
    calling.join().unwrap();
    runtime.block_on(until(|| is_called.load(Ordering::Relaxed)));
    let reports = reports.borrow();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains(file!()) && reports[0].ends_with("in a call"), "{reports:?}");
}

/// Goal: a remote spawn makes a future on the loop's thread that need not be `Send`, and its
/// result can be awaited there, on another loop, or joined by a thread.
///
/// Method: futures with an `Rc` that sleep on the loop, spawned by a thread, by a blocking job, and
/// by a thread with a loop of its own.
///
/// Kills: a future that is made on the calling thread; a result that wakes only its own loop.
fn a_remote_task_is_local_and_returns_its_result(on: Driver) {
    let runtime = on.runtime();
    let remote = runtime.handle().remote();
    let home = thread::current().id();
    let task = move |remote: &RemoteHandle, number: u32| {
        remote
            .spawn(move || {
                assert_eq!(thread::current().id(), home);
                let local = Rc::new(number);
                async move {
                    sleep(Duration::from_micros(10)).await;
                    *local * 2
                }
            })
            .unwrap()
    };
    let theirs = remote.clone();
    let joining = thread::spawn(move || task(&theirs, 1).join().unwrap());
    let elsewhere = thread::spawn(move || on.run(async { task(&remote, 2).await.unwrap() }));
    runtime.block_on(async {
        let remote = Handle::current().remote();
        let job = spawn_blocking(move || task(&remote, 3));
        let task = job.await.unwrap();
        assert_eq!(task.await.unwrap(), 6);
        until(|| joining.is_finished() && elsewhere.is_finished()).await;
    });
    assert_eq!((joining.join().unwrap(), elsewhere.join().unwrap()), (2, 4));
}

/// Goal: a panic of the future, or of the closure that makes it, is the error of the handle; an
/// abort ends the task, also before it was spawned, and drops its future on the loop (C9).
///
/// Method: one handle of each kind, from another thread, and an abort on the loop's own thread.
///
/// Kills: a panic that is reported instead; an abort that comes before the task has a waker, and is
/// lost.
fn a_remote_task_that_panics_or_is_aborted_ends_with_an_error(on: Driver) {
    struct OnLoop(thread::ThreadId);
    impl Drop for OnLoop {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.0);
        }
    }
    let (runtime, reports) = reported(on);
    let remote = runtime.handle().remote();
    let home = thread::current().id();
    let waiting = move || {
        let local = OnLoop(home);
        async move {
            let _local = local;
            pending::<()>().await;
        }
    };
    let spawning = thread::spawn(move || {
        let panics = remote.spawn(|| async { panic!("in a future") }).unwrap();
        let refuses =
            remote.spawn(|| -> std::future::Ready<()> { panic!("in a closure") }).unwrap();
        let aborted = remote.spawn(waiting).unwrap();
        aborted.abort();
        (panics, refuses, aborted, remote.spawn(waiting).unwrap())
    });
    let (panics, refuses, aborted, later) = spawning.join().unwrap();
    runtime.block_on(async {
        assert_eq!(panics.await.unwrap_err().to_string(), "the task panicked: in a future");
        assert_eq!(refuses.await.unwrap_err().to_string(), "the task panicked: in a closure");
        assert!(aborted.await.unwrap_err().is_cancelled());
        turns(3).await;
        assert_eq!(Handle::current().metrics().tasks, 1);
        later.abort();
        assert!(later.await.unwrap_err().is_cancelled());
        turns(2).await;
        assert_eq!(Handle::current().metrics().tasks, 0);
    });
    assert_eq!(*reports.borrow(), [""; 0]);
}

/// Goal: dropping the handle of a remote task detaches it, and its panic is reported once.
///
/// Method: a task that panics after its handle is gone, and one whose handle is dropped later.
///
/// Kills: a drop that aborts; a panic that no place has.
fn a_detached_remote_task_runs_on_and_its_panic_is_reported(on: Driver) {
    let (runtime, reports) = reported(on);
    let remote = runtime.handle().remote();
    let spawning = thread::spawn(move || {
        drop(remote.spawn(|| async { panic!("detached") }).unwrap());
        remote.spawn(|| async { panic!("dropped later") }).unwrap()
    });
    let later = spawning.join().unwrap();
    runtime.block_on(async {
        until(|| later.is_finished()).await;
        drop(later);
        turns(2).await;
    });
    drop(runtime);
    let reports = reports.borrow();
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports[0].ends_with("panicked: detached"), "{reports:?}");
    assert!(reports[1].ends_with("panicked: dropped later"), "{reports:?}");
}

/// Goal: `block_on` returns the output of a future that the loop runs, to any number of threads.
///
/// Method: four threads, each of which does so many times, with futures that yield.
///
/// Kills: a wake of the blocked thread that is lost; one result for another thread.
fn a_thread_blocks_on_a_future_of_the_loop(on: Driver) {
    let runtime = on.runtime();
    let rounds = scaled(500);
    let threads: Vec<_> = (0..4_u64)
        .map(|number| {
            let remote = runtime.handle().remote();
            thread::spawn(move || {
                for round in 0..rounds {
                    let output = remote.block_on(move || async move {
                        yield_now().await;
                        number * rounds + round
                    });
                    assert_eq!(output.unwrap(), number * rounds + round);
                }
            })
        })
        .collect();
    runtime.block_on(until(|| threads.iter().all(thread::JoinHandle::is_finished)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Goal: `block_on` and `join` panic on the thread of the loop, where they would wait without end,
/// also between two runs of the loop; the message has the reason and the remedy.
///
/// Method: both, inside and outside of the loop.
///
/// Kills: a check that the loop is running, and not that it runs here; a hang.
fn blocking_on_the_own_loop_is_refused(on: Driver) {
    let runtime = on.runtime();
    let remote = runtime.handle().remote();
    let refused = |call: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let text = payload.downcast::<String>().unwrap();
        assert!(text.contains("would wait for itself without end: await"), "{text}");
    };
    let block_on = || drop(remote.block_on(|| async {}));
    let join = || drop(remote.spawn(|| async {}).unwrap().join());
    for call in [&block_on as &dyn Fn(), &join] {
        refused(call);
        runtime.block_on(async { refused(call) });
    }
    runtime.block_on(turns(2));
}

/// Goal: a thread that waits for a loop gets an error when the loop is closed meanwhile, or is
/// closed already (F3); it never hangs.
///
/// Method: threads that block on futures without end and call `join`, while the runtime ends at
/// different moments; then again on the closed one.
///
/// Kills: a waiter that the end of the loop does not wake; a call that is accepted and forgotten.
fn f3_a_wait_for_a_closed_loop_ends_with_an_error(on: Driver) {
    for round in 0..scaled(30) {
        let runtime = on.runtime();
        let remote = runtime.handle().remote();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let remote = remote.clone();
                thread::spawn(move || remote.block_on(pending::<()>))
            })
            .collect();
        runtime.block_on(turns(round as usize % 5));
        drop(runtime);
        for thread in threads {
            assert!(thread.join().unwrap().unwrap_err().is_cancelled());
        }
        assert!(remote.is_closed());
        let late = thread::spawn(move || remote.block_on(|| async { unreachable!() }));
        assert!(late.join().unwrap().is_err_and(|error: ringloop::JoinError| error.is_cancelled()));
    }
}

/// Goal: a call that was accepted and that the end of the runtime overtakes is not called: it is
/// dropped on the loop's thread, once, and a task that it would have spawned is `Cancelled`.
///
/// Method: a call and a spawn while the loop does not run, and then the end.
///
/// Kills: calls that are leaked with the inbox; calls that run when the tasks are gone.
fn calls_that_the_end_overtakes_are_dropped_on_the_loop(on: Driver) {
    struct Guard(Arc<AtomicU64>, thread::ThreadId);
    impl Drop for Guard {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let runtime = on.runtime();
    let remote = runtime.handle().remote();
    let drops = Arc::new(AtomicU64::new(0));
    let home = thread::current().id();
    let guards = [0, 1].map(|_| Guard(Arc::clone(&drops), home));
    let sending = thread::spawn(move || {
        let [first, second] = guards;
        remote
            .call(move || {
                let _first = first;
                unreachable!("the loop does not run");
            })
            .unwrap();
        let make = move || {
            let _second = second;
            async {}
        };
        remote.spawn(make).unwrap()
    });
    let task = sending.join().unwrap();
    drop(runtime);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert!(on.run(task).unwrap_err().is_cancelled());
}

/// Goal: while a runtime is being dropped, each call and spawn is given back at once, on the loop's
/// thread and on another, so that the caller can run it elsewhere.
///
/// Method: a destructor of a task's local, which runs inside of the shutdown, calls, spawns and
/// blocks, and has another thread do so.
///
/// Kills: a shutdown that does not refuse calls: they are accepted, and dropped when it ends.
fn calls_during_the_end_are_given_back_unused(on: Driver) {
    fn is_given_back(remote: &RemoteHandle) -> bool {
        let call = remote.call(|| unreachable!("the loop ends")).is_err();
        let spawned = remote.spawn(|| async { unreachable!("the loop ends") }).is_err();
        call && spawned && remote.is_closed()
    }
    struct Late(RemoteHandle, Arc<AtomicU64>);
    impl Drop for Late {
        fn drop(&mut self) {
            let here = is_given_back(&self.0);
            let remote = self.0.clone();
            let elsewhere = thread::spawn(move || {
                is_given_back(&remote) && remote.block_on(|| async {}).is_err()
            });
            let there = elsewhere.join().is_ok_and(|is_given_back| is_given_back);
            self.1.fetch_add(u64::from(here) + u64::from(there), Ordering::SeqCst);
        }
    }
    let runtime = on.runtime();
    let given_back = Arc::new(AtomicU64::new(0));
    let late = Late(runtime.handle().remote(), Arc::clone(&given_back));
    drop(runtime.handle().spawn(async move {
        let _late = late;
        pending::<()>().await;
    }));
    runtime.block_on(turns(2));
    assert_eq!(given_back.load(Ordering::SeqCst), 0);
    drop(runtime);
    assert_eq!(given_back.load(Ordering::SeqCst), 2);
}

/// Goal: calls during and after the end of a runtime are called once, dropped once, or given back,
/// and write to no descriptor that has another owner now (F3).
///
/// Method: threads that call all the time while 100 runtimes end, with a value that counts its
/// ends; after each end new descriptors take the freed numbers and stay empty.
///
/// Kills: a wake fd that is closed with the loop; an accepted call that is forgotten; a call that
/// is both given back and kept.
fn f3_calls_during_and_after_the_end_are_given_back(on: Driver) {
    struct Counted(Arc<[AtomicU64; 2]>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0[1].fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    for _ in 0..scaled(100) {
        let runtime = on.runtime();
        let is_over = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let remote = runtime.handle().remote();
                let (counts, is_over) = (Arc::clone(&counts), Arc::clone(&is_over));
                thread::spawn(move || {
                    let mut given_back = 0_u64;
                    while !is_over.load(Ordering::Relaxed) || given_back == 0 {
                        let ended = counts[1].load(Ordering::SeqCst);
                        if counts[0].load(Ordering::SeqCst).saturating_sub(ended) > 100 {
                            thread::yield_now(); // the loop is slower than two threads
                            continue;
                        }
                        counts[0].fetch_add(1, Ordering::SeqCst);
                        let value = Counted(Arc::clone(&counts));
                        let sent = remote.call(move || drop(value));
                        given_back += u64::from(sent.is_err());
                    }
                })
            })
            .collect();
        runtime.block_on(turns(3));
        drop(runtime);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let others: Vec<_> = (0..4).map(|_| UnixDatagram::unbound().unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let received = theirs.read(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(received, Err(std::io::ErrorKind::WouldBlock));
        drop((ours, others));
    }
    let [made, ended] = &*counts;
    assert_eq!(made.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
}
