//! Locks, semaphores and notifications.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use ringloop::spawn;
use ringloop::sync::Semaphore;

use crate::common::{poll_once, turns};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    e1_permits_are_taken_in_order,
    e1_an_attempt_does_not_overtake_a_waiter,
    e2_a_cancelled_waiter_passes_its_permit_on,
    a_future_that_is_not_polled_holds_no_permit,
    a_large_request_that_is_not_polled_blocks_no_small_one,
    a_closed_semaphore_stays_closed,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// Goal: tasks that release and acquire in a loop take turns (trio's fairness test).
/// Method: three tasks, each with ten rounds, on one permit; they record their turns.
/// Kills: a newcomer that takes a permit for which a waiter was woken.
fn e1_permits_are_taken_in_order(on: Driver) {
    on.run(async {
        let (semaphore, order) = (Rc::new(Semaphore::new(1)), Rc::new(RefCell::new(Vec::new())));
        let tasks = [0, 1, 2].map(|index| {
            let (semaphore, order) = (Rc::clone(&semaphore), Rc::clone(&order));
            spawn(async move {
                for _ in 0..10 {
                    let _permit = semaphore.acquire().await.unwrap();
                    order.borrow_mut().push(index);
                    turns(1).await;
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.borrow();
        assert!(order.chunks(3).all(|chunk| chunk == [0, 1, 2]), "{order:?}");
    });
}

/// Goal: an attempt fails while a waiter is about to take the permit.
/// Method: a waiter in another task; the permit is released, and tried before the waiter runs.
/// Kills: an attempt that looks at the number of permits only.
fn e1_an_attempt_does_not_overtake_a_waiter(on: Driver) {
    on.run(async {
        let semaphore = Rc::new(Semaphore::new(1));
        let permit = semaphore.try_acquire().unwrap();
        let waiting = Rc::clone(&semaphore);
        let waiter = spawn(async move { waiting.acquire_owned().await.unwrap() });
        turns(1).await;
        drop(permit);
        assert_eq!(semaphore.available_permits(), 1);
        assert!(semaphore.try_acquire().is_err(), "an attempt overtook a waiter");
        drop(waiter.await.unwrap());
        assert!(semaphore.try_acquire().is_ok());
    });
}

/// Goal: a permit reaches the next waiter if the first is cancelled after it was woken.
/// Method: two tasks wait; the permit is released and the first is aborted before it runs.
/// Kills: a dropped future that takes its wake with it.
fn e2_a_cancelled_waiter_passes_its_permit_on(on: Driver) {
    on.run(async {
        let semaphore = Rc::new(Semaphore::new(1));
        let permit = semaphore.try_acquire().unwrap();
        let wait = |semaphore: &Rc<Semaphore>| {
            let semaphore = Rc::clone(semaphore);
            spawn(async move { drop(semaphore.acquire().await.unwrap()) })
        };
        let (first, second) = (wait(&semaphore), wait(&semaphore));
        turns(1).await;
        drop(permit);
        first.abort();
        second.await.unwrap();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// Goal: a future that was woken and is not polled again does not keep the permit from others.
/// Method: a future in a local variable, polled once, is the first waiter; a task is the second.
/// Then a newcomer, and at last the future itself.
/// Kills: a permit that is assigned to the woken waiter; a recheck that is not queued.
fn a_future_that_is_not_polled_holds_no_permit(on: Driver) {
    on.run(async {
        let semaphore = Rc::new(Semaphore::new(1));
        let permit = semaphore.acquire().await.unwrap();
        let mut parked = pin!(semaphore.acquire());
        assert!(poll_once(parked.as_mut()).await.is_pending());
        let waiting = Rc::clone(&semaphore);
        let second = spawn(async move { drop(waiting.acquire().await.unwrap()) });
        turns(1).await;
        drop(permit);
        second.await.unwrap();
        drop(semaphore.acquire().await.unwrap());
        assert!(semaphore.try_acquire().is_ok());
        assert!(parked.await.is_ok());
    });
}

/// Goal: a request for many permits that is not polled does not block smaller ones, although too
/// few are free for it.
/// Method: one of two permits is held; a future for two waits and is not polled again; then one
/// permit is acquired, and another is tried.
/// Kills: a probe that is missing for a newcomer or for an attempt.
fn a_large_request_that_is_not_polled_blocks_no_small_one(on: Driver) {
    on.run(async {
        let semaphore = Semaphore::new(2);
        let _permit = semaphore.acquire().await.unwrap();
        let mut parked = pin!(semaphore.acquire_many(2));
        assert!(poll_once(parked.as_mut()).await.is_pending());
        drop(semaphore.acquire().await.unwrap());
        assert!(poll_once(parked.as_mut()).await.is_pending());
        assert!(semaphore.try_acquire().is_err(), "an attempt overtook a waiter");
        turns(3).await;
        assert!(semaphore.try_acquire().is_ok());
    });
}

/// Goal: a close ends every wait, and later changes do not open the semaphore again.
/// Method: a waiter, a close, then permits that are removed and added.
/// Kills: a closed flag in the count of permits; a waiter that is not woken.
fn a_closed_semaphore_stays_closed(on: Driver) {
    on.run(async {
        let semaphore = Rc::new(Semaphore::new(0));
        let (waiting, ended) = (Rc::clone(&semaphore), Rc::new(Cell::new(false)));
        let waiter = spawn({
            let ended = Rc::clone(&ended);
            async move {
                assert!(waiting.acquire().await.is_err());
                ended.set(true);
            }
        });
        turns(1).await;
        semaphore.close();
        assert!(!ended.get());
        waiter.await.unwrap();
        semaphore.add_permits(3);
        assert_eq!(semaphore.forget_permits(2), 2);
        assert!(semaphore.is_closed());
        assert!(semaphore.acquire().await.is_err());
        assert_eq!(semaphore.available_permits(), 1);
    });
}
