//! Wakes from other threads: none is lost, and late ones are harmless.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use crate::common::{Dice, scaled, turns};
use crate::{Body, Driver, bodies};
use ringloop::task::AbortHandle;
use ringloop::{Handle, spawn};

pub(crate) const SHARED: &[Body] = bodies![
    f1_no_wake_is_lost_on_the_way_to_sleep,
    f1_a_wake_ends_the_first_sleep,
    f2_a_flood_of_wakes_is_one,
    f7_wakers_work_on_other_threads,
    c9_an_abort_from_another_thread_wakes_the_loop,
];
pub(crate) const ALONE: &[Body] = bodies![f3_wakes_after_the_end_are_harmless];

/// A number that another thread increments, and the waker of the task that waits for it.
#[derive(Default)]
struct Counter {
    value: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Counter {
    /// Increments the number, from any thread. The wake happens outside the lock.
    fn raise(&self) {
        self.value.fetch_add(1, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self, at_least: u64) {
        poll_fn(|cx| {
            // First the waker, then the number, so that an increment in between finds the waker.
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            match self.value.load(Ordering::SeqCst) >= at_least {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

fn spin(rounds: u64) {
    for _ in 0..rounds {
        std::hint::spin_loop();
    }
}

/// Increments a counter once per request, after a random number of spins.
fn raiser(counter: &Arc<Counter>, seed: u64) -> (Sender<()>, thread::JoinHandle<()>) {
    let (request, requests) = channel::<()>();
    let counter = Arc::clone(counter);
    let thread = thread::spawn(move || {
        let mut dice = Dice::new(seed);
        for () in requests {
            spin(dice.roll(300));
            counter.raise();
        }
    });
    (request, thread)
}

/// Goal: a wake from another thread while the loop goes to sleep is not lost, neither for the main
/// future nor for a task.
///
/// Method: 100 000 wakes at random phases around the sleep, one at a time: a lost one is a hang.
///
/// Kills: checking the inbox before setting the flag `sleeping`; a wake fd whose read is not armed;
/// weaker orderings of the two flags, with luck.
fn f1_no_wake_is_lost_on_the_way_to_sleep(on: Driver) {
    let counter = Arc::new(Counter::default());
    let (request, thread) = raiser(&counter, 11);
    let runtime = on.runtime();
    let half = scaled(50_000);
    runtime.block_on(async move {
        let mut dice = Dice::new(12);
        for number in 1..=half {
            request.send(()).unwrap();
            spin(dice.roll(300));
            counter.wait(number).await;
        }
        let task = spawn(async move {
            for number in half + 1..=2 * half {
                request.send(()).unwrap();
                spin(dice.roll(300));
                counter.wait(number).await;
            }
        });
        task.await.unwrap();
    });
    thread.join().unwrap();
    let metrics = runtime.handle().metrics();
    assert!(metrics.sleeps > half / 50, "it hardly slept: {metrics:?}");
    assert_eq!(metrics.spin_backoffs, 0);
}

/// Goal: a wake ends the first sleep of a loop too.
///
/// Method: 2 000 fresh runtimes whose first and only event is a wake from another thread.
///
/// Kills: arming the wake fd's read at the end of the first turn, or pushing it without submitting.
fn f1_a_wake_ends_the_first_sleep(on: Driver) {
    let counter = Arc::new(Counter::default());
    let (request, thread) = raiser(&counter, 13);
    for number in 1..=scaled(2_000) {
        let runtime = on.builder().ring_entries(8, 16).recv_buffers(1, 64).build().unwrap();
        request.send(()).unwrap();
        runtime.block_on(counter.wait(number));
    }
    drop(request);
    thread.join().unwrap();
}

/// Goal: 10⁵ wakes while the loop does not run cost one notification and lose no task; wakers do
/// not block.
///
/// Method: 1 000 tasks, woken 100 times each by another thread while this thread is not in the
/// loop; then each has been polled, and polled once.
///
/// Kills: a notification per wake (the eventfd, and a pipe even sooner, would fill up); a bounded
/// inbox that drops wakes.
fn f2_a_flood_of_wakes_is_one(on: Driver) {
    let runtime = on.runtime();
    let polls = Rc::new(RefCell::new(vec![0; 1000]));
    let wakers = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        for number in 0..1000 {
            let (polls, wakers) = (Rc::clone(&polls), Arc::clone(&wakers));
            spawn(poll_fn(move |cx| {
                polls.borrow_mut()[number] += 1;
                wakers.lock().unwrap().push(cx.waker().clone());
                Poll::<()>::Pending
            }));
        }
        turns(3).await;
    });
    let before = runtime.handle().metrics();
    let flooding = thread::spawn(move || {
        let wakers = std::mem::take(&mut *wakers.lock().unwrap());
        for _ in 0..scaled(100) {
            wakers.iter().for_each(Waker::wake_by_ref);
        }
    });
    flooding.join().unwrap();
    runtime.block_on(turns(3));
    assert_eq!(*polls.borrow(), vec![2; 1000]);
    let after = runtime.handle().metrics();
    assert!(after.completions - before.completions <= 2, "{after:?}");
}

/// Goal: wakes during and after the end of a runtime are harmless, and write to no descriptor that
/// has another owner now.
///
/// Method: threads that wake all the time while 200 runtimes end; after each end, new descriptors
/// take the freed numbers, must stay empty, and the wakes go on.
///
/// Kills: a wake fd that is closed with the loop and written to later; a future dropped on the
/// waking thread; an inbox that keeps tasks that will not run.
fn f3_wakes_after_the_end_are_harmless(on: Driver) {
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (wakers, is_over) = (Arc::clone(&wakers), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let some: Vec<Waker> = wakers.lock().unwrap().clone();
                    some.iter().for_each(Waker::wake_by_ref);
                    some.into_iter().for_each(Waker::wake);
                }
            })
        })
        .collect();
    for _ in 0..scaled(200) {
        let runtime = on.runtime();
        let loop_thread = thread::current().id();
        runtime.block_on(async {
            for _ in 0..4 {
                let wakers = Arc::clone(&wakers);
                let guard = Dropped(loop_thread);
                spawn(poll_fn(move |cx| {
                    let _guard = &guard;
                    let mut wakers = wakers.lock().unwrap();
                    if wakers.len() < 64 {
                        wakers.push(cx.waker().clone());
                    }
                    Poll::<()>::Pending
                }));
            }
            turns(2).await;
        });
        drop(runtime);
        // These have the numbers of the runtime's descriptors now.
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let others: Vec<_> = (0..4).map(|_| UnixDatagram::unbound().unwrap()).collect();
        for waker in wakers.lock().unwrap().iter() {
            waker.wake_by_ref();
        }
        let heard = theirs.read(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock));
        drop((ours, others));
        let old = std::mem::take(&mut *wakers.lock().unwrap());
        drop(old);
    }
    is_over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Part of a future. May be dropped on the thread of its loop only.
struct Dropped(thread::ThreadId);

impl Drop for Dropped {
    fn drop(&mut self) {
        if thread::current().id() != self.0 {
            eprintln!("a future was dropped on another thread");
            std::process::abort(); // a panic on that thread could stay unnoticed
        }
    }
}

/// Goal: wakers may be cloned, compared, woken and dropped on other threads; the task is polled on
/// the loop's thread only.
///
/// Method: a task hands its waker to four threads which clone, wake and drop it in all ways, again
/// and again, and checks the thread it is polled on.
///
/// Kills: a waker with a count that is not atomic; polling where `wake` was called.
fn f7_wakers_work_on_other_threads(on: Driver) {
    on.run(async {
        let home = thread::current().id();
        let (wakers, incoming) = channel::<Waker>();
        let incoming = Arc::new(Mutex::new(incoming));
        let count = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (incoming, count) = (Arc::clone(&incoming), Arc::clone(&count));
                thread::spawn(move || {
                    loop {
                        let Ok(waker) = incoming.lock().unwrap().recv() else {
                            return;
                        };
                        let other = waker.clone();
                        assert!(other.will_wake(&waker));
                        drop(waker);
                        other.wake_by_ref();
                        count.fetch_add(1, Ordering::SeqCst);
                        other.wake();
                    }
                })
            })
            .collect();
        let guard = Dropped(home);
        let task = spawn(async move {
            let _guard = guard;
            poll_fn(|cx| {
                assert_eq!(thread::current().id(), home);
                if count.load(Ordering::SeqCst) >= scaled(20_000) {
                    return Poll::Ready(());
                }
                wakers.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
        });
        task.await.unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(Handle::current().metrics().tasks, 0);
    });
}

/// Goal: an abort from another thread wakes the loop, ends the task, wakes its joiner, and drops
/// the future on the loop's thread (C9). A task that ends first keeps its result.
///
/// Method: 5 000 tasks that read without end, or end by themselves after a moment, each aborted
/// from another thread at a random phase while the loop goes to sleep.
///
/// Kills: an abort that sets a flag and does not wake the loop; a future dropped where `abort` was
/// called.
fn c9_an_abort_from_another_thread_wakes_the_loop(on: Driver) {
    let (to_abort, orders) = channel::<AbortHandle>();
    let aborting = thread::spawn(move || {
        let mut dice = Dice::new(14);
        for handle in orders {
            spin(dice.roll(300));
            handle.abort();
        }
    });
    on.run(async move {
        let home = thread::current().id();
        let mut dice = Dice::new(15);
        let (mut aborted, mut ended) = (0_u64, 0_u64);
        let rounds = scaled(5_000);
        for round in 0..rounds {
            let guard = Dropped(home);
            let steps = dice.roll(200);
            let task = spawn(async move {
                let _guard = guard;
                match round % 2 {
                    0 => std::future::pending().await,
                    _ => turns(steps as usize).await,
                }
                round
            });
            to_abort.send(task.abort_handle()).unwrap();
            spin(dice.roll(300));
            match task.await {
                Ok(result) => {
                    assert_eq!((result, round % 2), (round, 1));
                    ended += 1;
                }
                Err(error) => {
                    assert!(error.is_cancelled());
                    aborted += 1;
                }
            }
        }
        assert_eq!(aborted + ended, rounds);
        assert!(aborted >= rounds / 2);
        assert_eq!(Handle::current().metrics().tasks, 0);
    });
    aborting.join().unwrap();
}
