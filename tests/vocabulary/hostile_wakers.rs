//! Wakers of other libraries: code runs in their clones, and their wakes and drops panic.

#![allow(unsafe_code)] // a waker with a hook in its clone

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use ringloop::sync::{
    Barrier, CancellationToken, Condvar, Event, Mutex, Notify, OnceCell, Queue, RwLock, Semaphore,
    broadcast, cross, mpsc, oneshot, watch,
};

use crate::common::turns;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    what_the_clone_of_a_waker_changes_is_seen,
    a_waker_whose_drop_panics_delays_no_other_half,
    a_waker_that_panics_delays_no_other_wait,
];
pub(crate) const ALONE: &[Body] = bodies![];

type Wait = Pin<Box<dyn Future<Output = ()>>>;
type Hook = Box<dyn FnOnce()>;

thread_local! {
    /// Runs in the next clone of a waker of [`hooked_waker`].
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

const VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        if let Some(hook) = HOOK.take() {
            hook();
        }
        // SAFETY: `data` is from `Arc::into_raw` of an `Arc<AtomicBool>`, and the waker that is
        // cloned has a reference. The clone has the reference that is added here.
        unsafe { Arc::increment_strong_count(data.cast::<AtomicBool>()) };
        RawWaker::new(data, &VTABLE)
    },
    // SAFETY: as above. The reference of the waker is consumed.
    |data| unsafe { Arc::from_raw(data.cast::<AtomicBool>()) }.store(true, Ordering::Relaxed),
    // SAFETY: as above. The waker keeps its reference, so the flag is alive.
    |data| unsafe { &*data.cast::<AtomicBool>() }.store(true, Ordering::Relaxed),
    // SAFETY: as above. The reference of the waker is consumed.
    |data| drop(unsafe { Arc::from_raw(data.cast::<AtomicBool>()) }),
);

/// A waker that sets the flag, and whose clone runs [`HOOK`].
fn hooked_waker(is_woken: &Arc<AtomicBool>) -> Waker {
    let data = Arc::into_raw(Arc::clone(is_woken)).cast::<()>();
    // SAFETY: the functions of the table keep the contract of `RawWaker` with an
    // `Arc<AtomicBool>`, which any thread may use. `data` has one reference, for this waker.
    unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
}

fn poll_with<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

fn wait(future: impl Future<Output = ()> + 'static) -> Wait {
    Box::pin(future)
}

/// Waits for locks and events, with what ends each of them.
fn waits_for_primitives() -> Vec<(&'static str, Wait, Hook)> {
    let mut cases: Vec<(&str, Wait, Hook)> = Vec::new();
    let notify = Rc::new(Notify::new());
    let notified = Rc::clone(&notify).notified_owned();
    cases.push(("notify_one", wait(notified), Box::new(move || notify.notify_one())));
    let notify = Rc::new(Notify::new());
    let notified = Rc::clone(&notify).notified_owned();
    cases.push(("notify_waiters", wait(notified), Box::new(move || notify.notify_waiters())));
    let (event, other) = same(Event::new());
    cases.push(("event", wait(async move { other.wait().await }), Box::new(move || event.set())));
    let (semaphore, other) = same(Semaphore::new(0));
    let acquire = async move { drop(other.acquire().await) };
    cases.push(("semaphore", wait(acquire), Box::new(move || semaphore.add_permits(1))));
    let mutex = Rc::new(Mutex::new(()));
    let guard = Rc::clone(&mutex).try_lock_owned().unwrap();
    let lock = async move { drop(mutex.lock().await) };
    cases.push(("mutex", wait(lock), Box::new(move || drop(guard))));
    let lock = Rc::new(RwLock::new(()));
    let guard = Rc::clone(&lock).try_write_owned().unwrap();
    let read = async move { drop(lock.read().await) };
    cases.push(("rwlock", wait(read), Box::new(move || drop(guard))));
    let (barrier, other) = same(Barrier::new(2));
    let party = async move { _ = other.wait().await };
    let complete = move || {
        let mut second = wait(async move { _ = barrier.wait().await });
        _ = poll_with(second.as_mut(), Waker::noop());
        std::mem::forget(second); // in the first poll it waits for that poll
    };
    cases.push(("barrier", wait(party), Box::new(complete)));
    let (condvar, other) = same(Condvar::new());
    let notified = async move {
        let mutex = Mutex::new(());
        drop(other.wait(mutex.lock().await).await);
    };
    cases.push(("condvar", wait(notified), Box::new(move || condvar.notify_one())));
    let (cell, other) = same(OnceCell::new());
    let mut begun = wait(async move { _ = cell.get_or_init(std::future::pending::<u32>).await });
    assert!(poll_with(begun.as_mut(), Waker::noop()).is_pending());
    let second = async move { _ = other.get_or_init(async || 1).await };
    cases.push(("cell", wait(second), Box::new(move || drop(begun))));
    let token = CancellationToken::new();
    let cancelled = token.clone().cancelled_owned();
    cases.push(("token", wait(cancelled), Box::new(move || token.cancel())));
    cases
}

/// Waits for channels, with what ends each of them.
fn waits_for_channels() -> Vec<(&'static str, Wait, Hook)> {
    let mut cases: Vec<(&str, Wait, Hook)> = Vec::new();
    let (sender, receiver) = oneshot::channel();
    let send = move || sender.send(1).unwrap();
    cases.push(("oneshot", wait(async { _ = receiver.await }), Box::new(send)));
    let (mut sender, receiver) = oneshot::channel::<u32>();
    let closed = async move { sender.closed().await };
    cases.push(("oneshot closed", wait(closed), Box::new(move || drop(receiver))));
    let (sender, receiver) = cross::oneshot::channel();
    let send = move || sender.send(1).unwrap();
    cases.push(("cross oneshot", wait(async { _ = receiver.await }), Box::new(send)));
    let (sender, mut receiver) = mpsc::channel(1);
    let recv = async move { _ = receiver.recv().await };
    cases.push(("mpsc recv", wait(recv), Box::new(move || sender.try_send(1).unwrap())));
    let (sender, mut receiver) = mpsc::channel(1);
    sender.try_send(1).unwrap();
    let send = async move { _ = sender.send(2).await };
    cases.push(("mpsc send", wait(send), Box::new(move || _ = receiver.try_recv().unwrap())));
    let (sender, receiver) = mpsc::channel::<u32>(1);
    let closed = async move { sender.closed().await };
    cases.push(("mpsc closed", wait(closed), Box::new(move || drop(receiver))));
    let (sender, mut receiver) = cross::mpsc::channel(1);
    let recv = async move { _ = receiver.recv().await };
    cases.push(("cross recv", wait(recv), Box::new(move || sender.try_send(1).unwrap())));
    let (sender, mut receiver) = cross::mpsc::channel(1);
    sender.try_send(1).unwrap();
    let send = async move { _ = sender.send(2).await };
    cases.push(("cross send", wait(send), Box::new(move || _ = receiver.try_recv().unwrap())));
    let (sender, mut receiver) = broadcast::channel(1);
    let recv = async move { _ = receiver.recv().await };
    cases.push(("broadcast", wait(recv), Box::new(move || _ = sender.send(1).unwrap())));
    let (sender, mut receiver) = watch::channel(0);
    let changed = async move { _ = receiver.changed().await };
    cases.push(("watch changed", wait(changed), Box::new(move || sender.send(1).unwrap())));
    let (sender, mut receiver) = watch::channel(0);
    let found = async move { _ = receiver.wait_for(|value| *value == 1).await };
    cases.push(("watch wait_for", wait(found), Box::new(move || sender.send(1).unwrap())));
    let (queue, other) = same(Queue::new(1));
    let get = async move { _ = other.get().await };
    cases.push(("queue get", wait(get), Box::new(move || queue.put_nowait(1).unwrap())));
    let (queue, other) = same(Queue::new(1));
    queue.put_nowait(1).unwrap();
    let join = async move { other.join().await };
    cases.push(("queue join", wait(join), Box::new(move || queue.shutdown(true))));
    cases
}

fn same<T>(value: T) -> (Rc<T>, Rc<T>) {
    let value = Rc::new(value);
    (Rc::clone(&value), value)
}

/// Goal: a wait sees what the clone of its waker has changed, as that clone is user code.
///
/// Method: each wait is polled with a waker whose clone ends the wait: in the first poll, and in
/// one that replaces another waker. The poll is ready, or the new waker was woken.
///
/// Kills: a condition that is read before the clone and not after it.
fn what_the_clone_of_a_waker_changes_is_seen(on: Driver) {
    on.run(async {
        let mut asleep = Vec::new();
        for is_first_poll in [true, false] {
            let cases = waits_for_primitives().into_iter().chain(waits_for_channels());
            for (name, mut wait, hook) in cases {
                turns(1).await; // a new budget
                if !is_first_poll {
                    assert!(poll_with(wait.as_mut(), Waker::noop()).is_pending(), "{name}");
                }
                let is_woken = Arc::default();
                let waker = hooked_waker(&is_woken);
                HOOK.set(Some(hook));
                let outcome = poll_with(wait.as_mut(), &waker);
                assert!(HOOK.take().is_none(), "{name}: the waker was not cloned");
                if outcome.is_pending() && !is_woken.load(Ordering::Relaxed) {
                    asleep.push((name, is_first_poll));
                }
            }
        }
        assert!(asleep.is_empty(), "waits that sleep, and whether at first: {asleep:?}");
    });
}

/// A waker that panics when it is woken or when it is dropped.
struct Bomb {
    wakes_badly: bool,
}

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        assert!(!self.wakes_badly, "the wake of a waker");
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(self.wakes_badly, "the destructor of a waker");
    }
}

/// Polls a wait, which is pending, with a [`Bomb`]. The only reference to it is then the wait's.
fn arm<F: Future + ?Sized>(future: Pin<&mut F>, wakes_badly: bool) {
    let waker = Waker::from(Arc::new(Bomb { wakes_badly }));
    assert!(poll_with(future, &waker).is_pending());
}

/// Whether a destructor or a call panics.
fn panics(run: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

/// Goal: a half of a channel that is dropped ends the waits of the other half, also if the
/// destructor of its own waker panics.
///
/// Method: each half waits with such a waker and is dropped. Then the other half is polled.
///
/// Kills: a waker that is dropped before the state of the channel has changed.
fn a_waker_whose_drop_panics_delays_no_other_half(on: Driver) {
    on.run(async {
        let (mut sender, mut receiver) = oneshot::channel::<u32>();
        arm(Pin::new(&mut receiver), false);
        assert!(panics(|| drop(receiver)));
        assert!(poll_with(pin!(sender.closed()), Waker::noop()).is_ready());

        let (mut sender, receiver) = oneshot::channel::<u32>();
        arm(pin!(sender.closed()), false);
        assert!(panics(|| drop(sender)));
        assert!(receiver.await.is_err());

        let (sender, mut receiver) = mpsc::channel::<u32>(1);
        arm(pin!(receiver.recv()), false);
        assert!(panics(|| drop(receiver)));
        assert!(sender.send(1).await.is_err());
    });
}

/// Goal: the end of a channel or a queue ends all waits, also if a waker panics.
///
/// Method: the first wait has a waker that panics when it is woken. The second has one that counts.
///
/// Kills: waits of a second kind that end after the first ones were woken.
fn a_waker_that_panics_delays_no_other_wait(on: Driver) {
    on.run(async {
        for is_dropped in [false, true] {
            let (sender, mut receiver) = mpsc::channel(1);
            sender.try_send(1).unwrap();
            let mut send = pin!(sender.send(2));
            arm(send.as_mut(), true);
            let (mut closed, is_woken) = (pin!(sender.closed()), Arc::default());
            assert!(poll_with(closed.as_mut(), &hooked_waker(&is_woken)).is_pending());
            assert!(panics(|| if is_dropped { drop(receiver) } else { receiver.close() }));
            assert!(is_woken.load(Ordering::Relaxed));
            assert!(send.await.is_err());
        }

        let queue = Queue::new(1);
        queue.put(1).await.unwrap();
        let mut put = pin!(queue.put(2));
        arm(put.as_mut(), true);
        let (mut join, is_woken) = (pin!(queue.join()), Arc::default());
        assert!(poll_with(join.as_mut(), &hooked_waker(&is_woken)).is_pending());
        assert!(panics(|| queue.shutdown(true)));
        assert!(is_woken.load(Ordering::Relaxed));
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        assert!(put.await.is_err());
    });
}
