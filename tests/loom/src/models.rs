//! The models. Each is run once per interleaving; a wake that is lost is a deadlock.
//!
//! Every model finds planted mistakes, which `scripts/loom.sh` applies.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use crate::channels;
use crate::rig::Loop;

type Model = (&'static str, fn());

pub(crate) const ALL: &[Model] = &[
    ("two_wakes_race_with_the_sleep", two_wakes_race_with_the_sleep),
    ("wakes_arrive_while_the_main_future_is_polled", wakes_arrive_while_the_main_future_is_polled),
    ("another_completion_ends_the_sleep", another_completion_ends_the_sleep),
    ("the_inbox_is_drained_while_it_is_filled", the_inbox_is_drained_while_it_is_filled),
    ("a_task_is_aborted_from_another_thread", a_task_is_aborted_from_another_thread),
    ("wakes_come_during_and_after_the_end", wakes_come_during_and_after_the_end),
    ("a_oneshot_send_races_with_the_poll", channels::a_oneshot_send_races_with_the_poll),
    ("both_halves_of_a_oneshot_end_at_once", channels::both_halves_of_a_oneshot_end_at_once),
    ("two_threads_send_to_a_third", channels::two_threads_send_to_a_third),
    ("the_receiver_ends_while_a_thread_sends", channels::the_receiver_ends_while_a_thread_sends),
];

/// Goal: of several wakes that race with going to sleep, none is lost, none needs a second wake,
/// and the earlier writes of the other threads are visible to the following poll.
///
/// Method: two threads each write a flag and wake the main future, which ends when it sees both.
/// The flags are relaxed: only the wake orders them.
fn two_wakes_race_with_the_sleep() {
    let the_loop = Loop::new();
    let main = the_loop.main_waker();
    let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let threads: Vec<_> = (0..2)
        .map(|number| {
            let (flags, waker) = (Arc::clone(&flags), Waker::from(Arc::clone(&main)));
            thread::spawn(move || {
                flags[number].store(true, Ordering::Relaxed);
                waker.wake();
            })
        })
        .collect();
    the_loop.block_on(&main, |_| flags.iter().all(|flag| flag.load(Ordering::Relaxed)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Goal: a wake that comes while the main future is being polled makes it polled again.
///
/// Method: one thread counts and wakes, twice, through a waker that each poll replaces.
fn wakes_arrive_while_the_main_future_is_polled() {
    let the_loop = Loop::new();
    let main = the_loop.main_waker();
    let shared = Arc::new((AtomicUsize::new(0), Mutex::new(None::<Waker>)));
    let theirs = Arc::clone(&shared);
    let thread = thread::spawn(move || {
        let (value, waker) = &*theirs;
        for _ in 0..2 {
            value.fetch_add(1, Ordering::Relaxed);
            let waker = waker.lock().unwrap().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    });
    let (value, waker) = &*shared;
    the_loop.block_on(&main, |cx_waker| {
        let former = waker.lock().unwrap().replace(cx_waker.clone());
        drop(former);
        value.load(Ordering::Relaxed) == 2
    });
    thread.join().unwrap();
}

/// Goal: another completion that ends the sleep does not lose a wake whose notification has not
/// been read.
///
/// Method: one thread wakes, another completes; the completion leaves the wake fd's count in place.
fn another_completion_ends_the_sleep() {
    let the_loop = Loop::new();
    let main = the_loop.main_waker();
    let flag = Arc::new(AtomicBool::new(false));
    let (theirs, waker) = (Arc::clone(&flag), Waker::from(Arc::clone(&main)));
    let waking = thread::spawn(move || {
        theirs.store(true, Ordering::Relaxed);
        waker.wake();
    });
    let wake_fd = Arc::clone(&the_loop.wake_fd);
    let completing = thread::spawn(move || wake_fd.complete_other());
    the_loop.block_on(&main, |_| flag.load(Ordering::Relaxed));
    waking.join().unwrap();
    completing.join().unwrap();
}

/// The state that a task and its waking thread share: whether it may end, and its waker.
type Slot = Arc<Mutex<(bool, Option<Waker>)>>;

/// Goal: an item that is put into the inbox while the loop takes a snapshot is neither lost nor run
/// twice.
///
/// Method: two tasks, each woken once by a thread of its own after its first poll; each is polled
/// twice, and the main future waits for both.
fn the_inbox_is_drained_while_it_is_filled() {
    let the_loop = Loop::new();
    let main = the_loop.main_waker();
    let slots: [Slot; 2] = Default::default();
    let (started, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut threads = Vec::new();
    the_loop.block_on(&main, |waker| {
        if started.get() == 0 {
            for slot in &slots {
                let counts = (Rc::clone(&started), Rc::clone(&ended));
                spawn_waiting(&the_loop, Arc::clone(slot), waker.clone(), counts);
            }
            return false;
        }
        if started.get() == 2 && threads.is_empty() {
            threads.extend(slots.iter().map(|slot| {
                let slot = Arc::clone(slot);
                thread::spawn(move || {
                    let waker = {
                        let mut slot = slot.lock().unwrap();
                        slot.0 = true;
                        slot.1.take()
                    };
                    waker.expect("left by the first poll").wake();
                })
            }));
        }
        ended.get() == 2
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A task that ends when its slot permits it, and counts its first poll and its end.
fn spawn_waiting(
    the_loop: &Loop,
    slot: Slot,
    main: Waker,
    (started, ended): (Rc<Cell<u32>>, Rc<Cell<u32>>),
) {
    let mut polls_count = 0;
    let waiting = poll_fn(move |cx| {
        polls_count += 1;
        assert!(polls_count <= 2, "polled {polls_count} times for one wake");
        let mut slot = slot.lock().unwrap();
        if slot.0 {
            ended.set(ended.get() + 1);
            main.wake_by_ref();
            return Poll::Ready(());
        }
        slot.1 = Some(cx.waker().clone());
        started.set(started.get() + 1);
        main.wake_by_ref();
        Poll::Pending
    });
    drop(the_loop.executor.spawn(waiting, Location::caller()));
}

/// Goal: an abort from another thread ends a waiting task, and wakes its joiner.
///
/// Method: a task that never ends is polled once; then another thread aborts it while the main
/// future goes to sleep on its handle.
fn a_task_is_aborted_from_another_thread() {
    let the_loop = Loop::new();
    let main = the_loop.main_waker();
    let has_started = Rc::new(Cell::new(false));
    let (mut handle, mut aborting) = (None, None);
    the_loop.block_on(&main, |waker| {
        let handle = handle.get_or_insert_with(|| {
            let (has_started, main) = (Rc::clone(&has_started), waker.clone());
            let waiting = poll_fn(move |_| {
                has_started.set(true);
                main.wake_by_ref();
                Poll::<()>::Pending
            });
            the_loop.executor.spawn(waiting, Location::caller())
        });
        if has_started.get() && aborting.is_none() {
            let abort = handle.abort_handle();
            aborting = Some(thread::spawn(move || abort.abort()));
        }
        match Pin::new(handle).poll(&mut Context::from_waker(waker)) {
            Poll::Pending => false,
            Poll::Ready(result) => {
                assert!(result.unwrap_err().is_cancelled());
                true
            }
        }
    });
    aborting.expect("the task has started").join().unwrap();
}

/// Counts the drops of a future, which happen on the thread that made it.
struct Witness {
    home: thread::ThreadId,
    drops: Rc<Cell<u32>>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.home, "dropped on another thread");
        self.drops.set(self.drops.get() + 1);
    }
}

/// Goal: wakes during and after the end of a loop are harmless: they write to an open wake fd, and
/// no future is dropped on their thread or leaked.
///
/// Method: another thread wakes a task and the main future while the loop shuts down; then both
/// are woken again. The future has been dropped once, by the loop.
fn wakes_come_during_and_after_the_end() {
    let the_loop = Loop::new();
    let main = the_loop.main_waker();
    let drops = Rc::new(Cell::new(0));
    let slot: Slot = Slot::default();
    the_loop.block_on(&main, |waker| {
        if slot.lock().unwrap().1.is_some() {
            return true;
        }
        let witness = Witness { home: thread::current().id(), drops: Rc::clone(&drops) };
        let (slot, main) = (Arc::clone(&slot), waker.clone());
        let waiting = poll_fn(move |cx| {
            let _keep = &witness;
            slot.lock().unwrap().1 = Some(cx.waker().clone());
            main.wake_by_ref();
            Poll::<()>::Pending
        });
        drop(the_loop.executor.spawn(waiting, Location::caller()));
        false
    });
    let task = slot.lock().unwrap().1.take().expect("left by the poll");
    let waker = Waker::from(main);
    let (their_task, their_waker) = (task.clone(), waker.clone());
    // Loom does not see that waking and aborting a task exclude each other. Both sides touch this
    // first, so that it tries both orders.
    let order = Arc::new(AtomicUsize::new(0));
    let their_order = Arc::clone(&order);
    let waking = thread::spawn(move || {
        their_order.fetch_add(1, Ordering::AcqRel);
        their_task.wake();
        their_waker.wake();
    });
    {
        let _entered = the_loop.executor.enter();
        order.fetch_add(1, Ordering::AcqRel);
        the_loop.executor.shut_down();
    }
    assert_eq!((drops.get(), the_loop.executor.task_count()), (1, 0));
    waking.join().unwrap();
    drop(the_loop);
    task.wake();
    waker.wake();
    assert_eq!(drops.get(), 1);
}
