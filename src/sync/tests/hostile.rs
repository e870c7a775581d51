//! Wakers that call back into the primitives that wake and drop them.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::{Barrier, Condvar, Event, Mutex, Notify, OnceCell, RwLock, Semaphore};

/// One of each primitive that is built on the wait list.
#[derive(Clone)]
struct All(Rc<Primitives>);

struct Primitives {
    semaphore: Semaphore,
    mutex: Mutex<u32>,
    lock: RwLock<u32>,
    notify: Notify,
    event: Event,
    barrier: Barrier,
    condvar: Condvar,
    cell: OnceCell<u32>,
}

thread_local! {
    static ALL: Cell<Option<All>> = const { Cell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Calls back when it is woken and when it is dropped.
struct CallsBack;

impl Wake for CallsBack {
    fn wake(self: Arc<Self>) {
        call_back();
    }
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        call_back();
    }
}

fn waker() -> Waker {
    Waker::from(Arc::new(CallsBack))
}

/// Uses every primitive, in ways that wake and drop further wakers.
fn call_back() {
    CALLS.set(CALLS.get() + 1);
    let Some(all) = ALL.take() else { return };
    ALL.set(Some(all.clone()));
    let all = &all.0;
    drop(all.semaphore.try_acquire());
    drop(all.mutex.try_lock());
    drop(all.lock.try_read());
    drop(all.lock.try_write());
    all.notify.notify_one();
    all.notify.notify_waiters();
    all.event.set();
    all.event.clear();
    all.condvar.notify_one();
    all.condvar.notify_all();
    let mut wait = Box::pin(all.barrier.wait());
    _ = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    _ = all.cell.set(1);
    let mut acquire = Box::pin(all.semaphore.acquire_many(2));
    _ = acquire.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

type Wait<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A wait for each primitive.
fn waits(all: &Primitives) -> Vec<Wait<'_>> {
    vec![
        Box::pin(async { drop(all.semaphore.acquire().await) }),
        Box::pin(async { drop(all.semaphore.acquire_many(2).await) }),
        Box::pin(async { drop(all.mutex.lock().await) }),
        Box::pin(async { drop(all.lock.read().await) }),
        Box::pin(async { drop(all.lock.write().await) }),
        Box::pin(all.notify.notified()),
        Box::pin(all.event.wait()),
        Box::pin(async { _ = all.barrier.wait().await.is_leader() }),
        Box::pin(async { drop(all.condvar.wait(all.mutex.lock().await).await) }),
        Box::pin(async { _ = all.cell.get_or_init(async || 1).await }),
    ]
}

/// Goal: no waker runs while a primitive is borrowed, whether it is woken, replaced or dropped.
///
/// Method: two waits for each primitive, with wakers that use all primitives when they are woken
/// and when they are dropped. They are replaced, woken by the release of everything, and dropped
/// while they wait. A borrow in the wrong place panics.
///
/// Kills: a waker that is woken, replaced or dropped under the borrow of a list.
#[test]
fn wakers_may_call_back_into_their_primitives() {
    for is_woken in [false, true] {
        let all = Rc::new(Primitives {
            semaphore: Semaphore::new(2),
            mutex: Mutex::new(0),
            lock: RwLock::new(0),
            notify: Notify::new(),
            event: Event::new(),
            barrier: Barrier::new(3),
            condvar: Condvar::new(),
            cell: OnceCell::new(),
        });
        ALL.set(Some(All(Rc::clone(&all))));
        CALLS.set(0);
        let permits = all.semaphore.try_acquire_many(2).unwrap();
        let guard = all.mutex.try_lock().unwrap();
        let write = all.lock.try_write().unwrap();
        let mut pending: Vec<Wait<'_>> = waits(&all);
        pending.extend(waits(&all));
        for _ in 0..2 {
            // The second waker replaces the first, which is dropped.
            poll_all(&mut pending);
        }
        assert!(CALLS.get() > 0, "no waker was replaced");
        if is_woken {
            drop((permits, guard, write));
            call_back();
            for _ in 0..4 {
                poll_all(&mut pending);
                call_back();
            }
        }
        drop(pending);
        ALL.set(None);
    }
}

/// Polls each with a waker of its own, and removes those that are ready.
fn poll_all(pending: &mut Vec<Wait<'_>>) {
    pending.retain_mut(|wait| {
        let waker = waker();
        wait.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending
    });
}
