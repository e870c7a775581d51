//! Notifications, events, barriers, condition variables and cells that are written once.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use ringloop::spawn;
use ringloop::sync::{Barrier, Condvar, Event, Mutex, Notify, OnceCell, SetError};
use ringloop::task::yield_now;

use crate::common::{poll_once, turns};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    one_notification_is_stored,
    notifications_wake_waiters_in_order,
    a_dropped_waiter_passes_its_notification_on,
    a_waiter_that_is_not_polled_passes_its_notification_on,
    notify_waiters_wakes_those_that_exist,
    a_notification_after_notify_waiters_is_stored,
    an_unpolled_waiter_leaves_room_for_one_notification,
    a_waiter_returns_though_the_event_is_cleared,
    a_barrier_can_be_used_again,
    a_cancelled_party_leaves_the_barrier,
    a_condition_is_awaited_under_its_lock,
    a_cancelled_condition_passes_its_notification_on,
    a_cell_is_initialized_once,
    a_failed_initialization_passes_the_turn_on,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// Goal: a notification without a waiter is stored, and at most one.
/// Method: two notifications, then two waits. Kills: a count that grows with each.
fn one_notification_is_stored(on: Driver) {
    on.run(async {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        notify.notified().await;
        let mut second = pin!(notify.notified());
        assert!(poll_once(second.as_mut()).await.is_pending());
    });
}

/// Goal: each notification wakes one waiter, in the order of the waits, and one more is stored.
/// Method: three tasks wait; three notifications before any of them runs, then a fourth.
/// Kills: notifications that coalesce though there are waiters; a last waiter that is first.
fn notifications_wake_waiters_in_order(on: Driver) {
    on.run(async {
        let (notify, order) = (Rc::new(Notify::new()), Rc::new(RefCell::new(Vec::new())));
        let tasks = [0, 1, 2].map(|index| {
            let (notify, order) = (Rc::clone(&notify), Rc::clone(&order));
            spawn(async move {
                notify.notified().await;
                order.borrow_mut().push(index);
            })
        });
        turns(2).await;
        (0..4).for_each(|_| notify.notify_one());
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 1, 2]);
        notify.notified().await;
        let mut sixth = pin!(notify.notified());
        assert!(poll_once(sixth.as_mut()).await.is_pending());
    });
}

/// Goal: a notification is not lost with the waiter that was woken for it.
/// Method: two tasks wait; one notification, and the first is aborted before it runs; then the
/// last waiter of another `Notify` is dropped, and its notification is stored.
/// Kills: a drop that takes the notification with it.
fn a_dropped_waiter_passes_its_notification_on(on: Driver) {
    on.run(async {
        let notify = Rc::new(Notify::new());
        let wait = || spawn(Rc::clone(&notify).notified_owned());
        let (first, second) = (wait(), wait());
        turns(2).await;
        notify.notify_one();
        first.abort();
        second.await.unwrap();

        let last = wait();
        turns(2).await;
        notify.notify_one();
        last.abort();
        assert!(last.await.unwrap_err().is_cancelled());
        notify.notified().await;
    });
}

/// Goal: a notification reaches the next waiter if nothing polls the one that was woken.
/// Method: a future that was polled once, then a task; one notification; then the future itself.
/// Kills: a notification that is assigned to the woken waiter.
fn a_waiter_that_is_not_polled_passes_its_notification_on(on: Driver) {
    on.run(async {
        let notify = Rc::new(Notify::new());
        let mut parked = pin!(notify.notified());
        assert!(poll_once(parked.as_mut()).await.is_pending());
        let second = spawn(Rc::clone(&notify).notified_owned());
        turns(2).await;
        notify.notify_one();
        second.await.unwrap();
        assert!(poll_once(parked.as_mut()).await.is_pending());
        notify.notify_one();
        parked.await;
    });
}

/// Goal: `notify_waiters` ends the waits of all futures that exist, and of no later one.
/// Method: a task that waits, a future that was not polled, and one that is created after.
/// Kills: a future that counts from its first poll; a notification that is stored.
fn notify_waiters_wakes_those_that_exist(on: Driver) {
    on.run(async {
        let notify = Rc::new(Notify::new());
        let waiting = spawn(Rc::clone(&notify).notified_owned());
        turns(2).await;
        let created = notify.notified();
        notify.notify_waiters();
        let mut later = pin!(notify.notified());
        assert!(poll_once(later.as_mut()).await.is_pending());
        waiting.await.unwrap();
        created.await;
        assert!(poll_once(later.as_mut()).await.is_pending());
    });
}

/// Goal: a notification after `notify_waiters` is not taken by a waiter that was woken by it.
/// Method: a task waits; `notify_waiters`, then `notify_one`, before the task runs.
/// Kills: a dismissed waiter that takes a notification.
fn a_notification_after_notify_waiters_is_stored(on: Driver) {
    on.run(async {
        let notify = Rc::new(Notify::new());
        let waiting = spawn(Rc::clone(&notify).notified_owned());
        turns(2).await;
        notify.notify_waiters();
        notify.notify_one();
        waiting.await.unwrap();
        notify.notified().await;
    });
}

/// Goal: at most one notification is stored, whatever happened to earlier waiters.
/// Method: a waiter that is woken by `notify_one`, then by `notify_waiters`, and is dropped without
/// a poll after another waiter took its notification. Then two notifications and two waits.
/// Kills: a waiter that is counted after it has left.
fn an_unpolled_waiter_leaves_room_for_one_notification(on: Driver) {
    on.run(async {
        let notify = Notify::new();
        {
            let mut parked = pin!(notify.notified());
            assert!(poll_once(parked.as_mut()).await.is_pending());
            notify.notify_one();
            notify.notify_waiters();
            notify.notified().await;
        }
        notify.notify_one();
        notify.notify_one();
        notify.notified().await;
        let mut second = pin!(notify.notified());
        assert!(poll_once(second.as_mut()).await.is_pending());
    });
}

/// Goal: a task that waited when the event was set returns, also if it is cleared before the task
/// runs (asyncio). A later wait waits.
/// Method: set and clear in one step; then a new wait, which a drop ends.
/// Kills: a waiter that looks at the flag only.
fn a_waiter_returns_though_the_event_is_cleared(on: Driver) {
    on.run(async {
        let event = Rc::new(Event::new());
        let wait = || {
            let event = Rc::clone(&event);
            spawn(async move { event.wait().await })
        };
        let tasks = [wait(), wait()];
        turns(2).await;
        event.set();
        event.clear();
        for task in tasks {
            task.await.unwrap();
        }
        let mut later = pin!(event.wait());
        assert!(poll_once(later.as_mut()).await.is_pending());
        event.set();
        later.await;
        event.wait().await;
    });
}

/// Goal: a barrier releases its tasks together, has one leader in each round, and is used again.
/// Method: three tasks, four rounds; they record the rounds in which they are.
/// Kills: a round that is released early; a waiter of the next round that is released with this.
fn a_barrier_can_be_used_again(on: Driver) {
    on.run(async {
        let barrier = Rc::new(Barrier::new(3));
        let (arrived, leaders) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks = [0, 1, 2].map(|index| {
            let barrier = Rc::clone(&barrier);
            let (arrived, leaders) = (Rc::clone(&arrived), Rc::clone(&leaders));
            spawn(async move {
                for round in 1..=4 {
                    turns(index).await;
                    arrived.set(arrived.get() + 1);
                    let result = barrier.wait().await;
                    assert!(arrived.get() >= 3 * round, "released early");
                    leaders.set(leaders.get() + u32::from(result.is_leader()));
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!((arrived.get(), leaders.get()), (12, 4));
    });
}

/// Goal: a wait that is dropped does not count as one that has come.
/// Method: a barrier for two; one wait is dropped, then two tasks meet.
/// Kills: a party that is counted after it has left.
fn a_cancelled_party_leaves_the_barrier(on: Driver) {
    on.run(async {
        let barrier = Rc::new(Barrier::new(2));
        let wait = || {
            let barrier = Rc::clone(&barrier);
            spawn(async move { barrier.wait().await.is_leader() })
        };
        let cancelled = wait();
        turns(2).await;
        cancelled.abort();
        assert!(cancelled.await.unwrap_err().is_cancelled());
        let first = wait();
        turns(3).await;
        assert!(!first.is_finished(), "released with a party that had left");
        assert!(barrier.wait().await.is_leader());
        assert!(!first.await.unwrap());
    });
}

/// Goal: a wait unlocks the mutex, is notified by a task that locks it, and returns with the lock.
/// Method: a consumer that waits for items of two producers, which notify while they hold the lock.
/// Kills: a wait that keeps the lock; one that returns without it; a notification between the
/// unlock and the wait that is lost.
fn a_condition_is_awaited_under_its_lock(on: Driver) {
    on.run(async {
        let shared = Rc::new((Mutex::new(Vec::new()), Condvar::new()));
        let consumer = spawn({
            let shared = Rc::clone(&shared);
            async move {
                let (items, changed) = &*shared;
                let mut items = changed.wait_while(items.lock().await, |i| i.len() < 4).await;
                assert!(shared.0.try_lock().is_err());
                std::mem::take(&mut *items)
            }
        });
        for producer in 0..2 {
            for item in 0..2 {
                let mut items = shared.0.lock().await;
                items.push(2 * producer + item);
                shared.1.notify_one();
                yield_now().await;
            }
        }
        assert_eq!(consumer.await.unwrap(), [0, 1, 2, 3]);
        assert!(shared.0.try_lock().unwrap().is_empty());
    });
}

/// Goal: a notification is not lost when its waiter is cancelled while it waits for the lock.
/// Method: two tasks wait; one is notified while the lock is held, and is aborted once it waits
/// for the lock.
/// Kills: a notification that ends with the first poll that finds it.
fn a_cancelled_condition_passes_its_notification_on(on: Driver) {
    on.run(async {
        let shared = Rc::new((Mutex::new(()), Condvar::new()));
        let wait = || {
            let shared = Rc::clone(&shared);
            spawn(async move { drop(shared.1.wait(shared.0.lock().await).await) })
        };
        let (first, second) = (wait(), wait());
        turns(3).await;
        let guard = shared.0.lock().await;
        shared.1.notify_one();
        turns(3).await;
        assert!(!first.is_finished(), "it has the lock of another task");
        first.abort();
        turns(2).await;
        drop(guard);
        second.await.unwrap();
        assert!(first.await.unwrap_err().is_cancelled());
    });
}

/// Goal: tasks that need a value at the same time get the one that the first of them makes.
/// Method: three tasks, each with an initialization that yields; and a `set` in between.
/// Kills: an initialization that does not exclude others; a waiter that is not woken.
fn a_cell_is_initialized_once(on: Driver) {
    on.run(async {
        let cell = Rc::new(OnceCell::new());
        let tasks = [0, 1, 2].map(|index| {
            let cell = Rc::clone(&cell);
            spawn(async move {
                let init = async || {
                    turns(2).await;
                    index
                };
                *cell.get_or_init(init).await
            })
        });
        turns(2).await;
        assert_eq!(cell.set(7), Err(SetError::InitializingError(7)));
        for task in tasks {
            assert_eq!(task.await.unwrap(), 0);
        }
        assert_eq!(cell.set(7), Err(SetError::AlreadyInitializedError(7)));
    });
}

/// Goal: an initialization that fails, panics or is aborted passes the turn to the next task.
/// Method: four tasks: the first fails, the second panics, the third is aborted in it.
/// Kills: a permit that is lost with its owner.
fn a_failed_initialization_passes_the_turn_on(on: Driver) {
    on.run(async {
        let cell = Rc::new(OnceCell::new());
        let run = |index: u32| {
            let cell = Rc::clone(&cell);
            spawn(async move {
                let init = async || match index {
                    0 => Err("the first fails"),
                    1 => panic!("the second panics"),
                    2 => std::future::pending().await,
                    _ => Ok(index),
                };
                cell.get_or_try_init(init).await.copied()
            })
        };
        let [first, second, third, fourth] = [0, 1, 2, 3].map(run);
        assert!(first.await.unwrap().is_err());
        assert!(second.await.unwrap_err().is_panic());
        turns(2).await;
        third.abort();
        assert_eq!(fourth.await.unwrap(), Ok(3));
    });
}
