//! Locks, semaphores and notifications.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use ringloop::spawn;
use ringloop::sync::{Mutex, RwLock, Semaphore};

use crate::common::{poll_once, turns};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    e1_permits_are_taken_in_order,
    e1_an_attempt_does_not_overtake_a_waiter,
    e1_a_mutex_is_locked_in_order,
    e2_a_cancelled_waiter_passes_its_permit_on,
    e2_a_cancelled_waiter_passes_the_lock_on,
    e3_a_cancel_and_an_unlock_give_one_owner,
    a_panic_while_a_lock_is_held_unlocks_it,
    readers_share_and_writers_do_not,
    a_write_guard_becomes_a_read_guard,
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

/// Goal: a mutex is locked in the order of the waits, and `try_lock` does not overtake a waiter
/// (trio's fairness tests).
/// Method: three tasks that lock and unlock in a loop and record their turns; another one tries
/// whenever the lock is free.
/// Kills: a lock that is free for the task that comes first.
fn e1_a_mutex_is_locked_in_order(on: Driver) {
    on.run(async {
        let order = Rc::new(Mutex::new(Vec::new()));
        let tasks = [0, 1, 2].map(|index| {
            let order = Rc::clone(&order);
            spawn(async move {
                for _ in 0..10 {
                    let mut guard = order.lock().await;
                    guard.push(index);
                    turns(1).await;
                    drop(guard);
                    // The next waiter was woken, and has not run.
                    let is_last = order.try_lock().is_ok();
                    assert!(!is_last || index == 2, "an attempt overtook a waiter");
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().await;
        assert!(order.chunks(3).all(|chunk| chunk == [0, 1, 2]), "{order:?}");
    });
}

/// Goal: the lock reaches the next waiter if the first is cancelled after it was woken.
/// Method: two tasks wait; the guard is dropped and the first task is aborted before it runs.
/// Kills: a dropped future that takes its wake with it.
fn e2_a_cancelled_waiter_passes_the_lock_on(on: Driver) {
    on.run(async {
        let mutex = Rc::new(Mutex::new(0));
        let guard = mutex.lock().await;
        let add = |mutex: &Rc<Mutex<u32>>| {
            let mutex = Rc::clone(mutex);
            spawn(async move { *mutex.lock().await += 1 })
        };
        let (first, second) = (add(&mutex), add(&mutex));
        turns(1).await;
        drop(guard);
        first.abort();
        second.await.unwrap();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(*mutex.lock().await, 1);
    });
}

/// Goal: a cancel that coincides with an unlock never gives the lock two owners.
/// Method: three waiters; in every order, the guard is dropped, one waiter is aborted and another
/// task locks; the owners at any time are counted.
/// Kills: a wake that is passed on twice; a lock that is free while it has an owner.
fn e3_a_cancel_and_an_unlock_give_one_owner(on: Driver) {
    on.run(async {
        for (aborted, is_abort_first) in (0..3).flat_map(|index| [(index, true), (index, false)]) {
            let (mutex, owners) = (Rc::new(Mutex::new(())), Rc::new(Cell::new(0)));
            let guard = mutex.lock().await;
            let own = || {
                let (mutex, owners) = (Rc::clone(&mutex), Rc::clone(&owners));
                spawn(async move {
                    let _guard = mutex.lock().await;
                    assert_eq!(owners.replace(owners.get() + 1), 0, "two owners");
                    turns(2).await;
                    owners.set(owners.get() - 1);
                })
            };
            let mut waiters = vec![own(), own(), own()];
            turns(1).await;
            if is_abort_first {
                waiters[aborted].abort();
                drop(guard);
            } else {
                drop(guard);
                waiters[aborted].abort();
            }
            waiters.push(own());
            for (index, waiter) in waiters.into_iter().enumerate() {
                assert_eq!(waiter.await.is_ok(), index != aborted);
            }
            assert!(mutex.try_lock().is_ok());
        }
    });
}

/// Goal: a panic of a task that holds a lock unlocks it, without poisoning.
/// Method: a task that changes the value and panics; then the lock and its value.
/// Kills: a guard that gives the value back only if it is dropped outside of a panic.
fn a_panic_while_a_lock_is_held_unlocks_it(on: Driver) {
    on.run(async {
        let mutex = Rc::new(Mutex::new(1));
        let held = Rc::clone(&mutex);
        let task = spawn(async move {
            *held.lock().await = 2;
            let _guard = held.lock().await;
            panic!("while the lock is held");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(*mutex.lock().await, 2);
    });
}

/// Goal: readers hold the lock together; a writer holds it alone; a reader that comes after a
/// waiting writer waits behind it.
/// Method: two readers, a writer, a third reader; and attempts in between.
/// Kills: a reader that takes one permit too many; a reader that overtakes the writer.
fn readers_share_and_writers_do_not(on: Driver) {
    on.run(async {
        let (lock, order) = (Rc::new(RwLock::new(0)), Rc::new(RefCell::new(Vec::new())));
        let readers = (lock.read().await, lock.read().await);
        let writer = spawn({
            let (lock, order) = (Rc::clone(&lock), Rc::clone(&order));
            async move {
                let mut value = lock.write().await;
                *value += 1;
                order.borrow_mut().push("writer");
                turns(2).await;
                assert!(lock.try_read().is_err());
                order.borrow_mut().push("written");
            }
        });
        turns(1).await;
        let reader = spawn({
            let (lock, order) = (Rc::clone(&lock), Rc::clone(&order));
            async move {
                assert_eq!(*lock.read().await, 1);
                order.borrow_mut().push("reader");
            }
        });
        turns(4).await;
        assert!(order.borrow().is_empty());
        assert!(lock.try_read().is_err(), "a reader overtook the writer");
        drop(readers);
        writer.await.unwrap();
        reader.await.unwrap();
        assert_eq!(*order.borrow(), ["writer", "written", "reader"]);
    });
}

/// Goal: a write guard that is downgraded lets readers in and keeps writers out.
/// Method: a downgrade while a reader waits, with a borrowed and with an owned guard.
/// Kills: a downgrade that releases all permits or none.
fn a_write_guard_becomes_a_read_guard(on: Driver) {
    on.run(async {
        let lock = Rc::new(RwLock::new(1));
        let guard = lock.write().await;
        let waiting = Rc::clone(&lock);
        let reader = spawn(async move { *waiting.read_owned().await });
        turns(1).await;
        assert!(!reader.is_finished());
        let guard = guard.downgrade();
        assert_eq!(reader.await.unwrap(), 1);
        assert!(lock.try_write().is_err());
        drop(guard);
        let guard = Rc::clone(&lock).write_owned().await.downgrade();
        assert_eq!(*lock.read().await + *guard, 2);
        drop(guard);
        assert!(lock.try_write().is_ok());
    });
}
