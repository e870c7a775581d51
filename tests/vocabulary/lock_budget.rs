//! Each async function of locks and events, polled in a loop, as in `budget.rs`.

use std::rc::Rc;

use ringloop::spawn;
use ringloop::sync::{Barrier, Condvar, Event, Mutex, Notify, OnceCell, RwLock, Semaphore};
use ringloop::task::yield_now;

use crate::common::lets_others_run;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    locks_in_a_loop_let_others_run,
    semaphores_in_a_loop_let_others_run,
    events_in_a_loop_let_others_run,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// Goal: locks that are free spend the budget.
/// Method: each way to take one, in a loop.
/// Kills: a fast path in front of the leaf.
fn locks_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let mutex = Rc::new(Mutex::new(()));
        let free = Rc::clone(&mutex);
        lets_others_run("lock", async move || drop(free.lock().await)).await;
        lets_others_run("lock_owned", async move || drop(Rc::clone(&mutex).lock_owned().await))
            .await;
        let lock = Rc::new(RwLock::new(()));
        let free = Rc::clone(&lock);
        lets_others_run("read", async move || drop(free.read().await)).await;
        let free = Rc::clone(&lock);
        lets_others_run("write", async move || drop(free.write().await)).await;
        let free = Rc::clone(&lock);
        lets_others_run("read_owned", async move || drop(Rc::clone(&free).read_owned().await))
            .await;
        lets_others_run("write_owned", async move || drop(Rc::clone(&lock).write_owned().await))
            .await;
    });
}

/// Goal: permits that are free spend the budget, and so does a closed semaphore.
/// Method: each way to acquire, in a loop.
/// Kills: a fast path in front of the leaf.
fn semaphores_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let semaphore = Rc::new(Semaphore::new(2));
        let free = Rc::clone(&semaphore);
        lets_others_run("acquire", async move || drop(free.acquire().await.unwrap())).await;
        let free = Rc::clone(&semaphore);
        lets_others_run("acquire_many", async move || drop(free.acquire_many(0).await.unwrap()))
            .await;
        let free = Rc::clone(&semaphore);
        lets_others_run("acquire_owned", async move || {
            drop(Rc::clone(&free).acquire_owned().await.unwrap());
        })
        .await;
        let free = Rc::clone(&semaphore);
        lets_others_run("acquire_many_owned", async move || {
            drop(Rc::clone(&free).acquire_many_owned(2).await.unwrap());
        })
        .await;
        semaphore.close();
        lets_others_run("closed", async move || drop(semaphore.acquire().await)).await;
    });
}

/// Goal: events that have occurred spend the budget.
/// Method: each way to wait, in a loop.
/// Kills: a fast path in front of the leaf.
fn events_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let event = Event::new();
        event.set();
        lets_others_run("an event", async move || event.wait().await).await;
        let barrier = Barrier::new(1);
        lets_others_run("a barrier", async move || {
            assert!(barrier.wait().await.is_leader());
        })
        .await;
        let notify = Rc::new(Notify::new());
        let notified = Rc::clone(&notify);
        lets_others_run("notified", async move || {
            notified.notify_one();
            notified.notified().await;
        })
        .await;
        lets_others_run("notified_owned", async move || {
            notify.notify_one();
            Rc::clone(&notify).notified_owned().await;
        })
        .await;
        let cell = Rc::new(OnceCell::from(1));
        let full = Rc::clone(&cell);
        lets_others_run("get_or_init", async move || {
            full.get_or_init(async || 2).await;
        })
        .await;
        lets_others_run("get_or_try_init", async move || {
            cell.get_or_try_init(async || Err(())).await.unwrap();
        })
        .await;
        let shared = Rc::new((Mutex::new(()), Condvar::new()));
        let held = Rc::clone(&shared);
        lets_others_run("wait_while", async move || {
            drop(held.1.wait_while(held.0.lock().await, |()| false).await);
        })
        .await;
        // A wait waits for another task, so it yields in any case.
        let notifier = spawn({
            let shared = Rc::clone(&shared);
            async move {
                loop {
                    shared.1.notify_all();
                    yield_now().await;
                }
            }
        });
        lets_others_run("wait", async move || drop(shared.1.wait(shared.0.lock().await).await))
            .await;
        notifier.abort();
    });
}
