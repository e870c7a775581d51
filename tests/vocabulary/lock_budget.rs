//! Each async function of locks and events, polled in a loop, as in `budget.rs`.

use std::rc::Rc;

use ringloop::sync::{Mutex, RwLock, Semaphore};

use crate::common::lets_others_run;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] =
    bodies![locks_in_a_loop_let_others_run, semaphores_in_a_loop_let_others_run];
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
