//! Wakes from other threads: an inbox, and one bell per sleep.
//!
//! The loop must not go to sleep on a wake that has just been sent, and a hundred thousand wakes
//! must not ring the bell a hundred thousand times. Both sides write one flag and read the other:
//!
//! ```text
//!   loop                                  another thread
//!   sleeping = true                       put the item into the inbox
//!   has_items?  yes → do not sleep        has_items = true
//!               no  → enter the kernel    sleeping?  yes → sleeping = false, ring the bell
//!   sleeping = false                                 no  → nothing: the loop will look
//! ```
//!
//! All four accesses are `SeqCst`, so they have one order: if the loop reads `has_items` as false,
//! the other thread's later read of `sleeping` sees true. The bell is an eventfd whose read was
//! submitted with or before the enter that sleeps (`Uring::arm_wake`), so a ring between "look" and
//! "enter" ends the sleep at once.
//!
//! **Invariant.** A `Runnable` is dropped on the loop's thread only. After the loop's end none can
//! exist (`Executor::shut_down` has dropped every future); should one appear all the same, it is
//! leaked rather than dropped here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use async_task::Runnable;

use super::queue::{self, Ready};

/// The side of a loop that other threads see.
pub(crate) struct Remote {
    loop_number: u64,
    inbox: Mutex<Inbox>,
    has_items: AtomicBool,
    sleeping: AtomicBool,
    bell: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Inbox {
    /// At most one entry per task and one for the main future: `async-task` schedules a task once
    /// until it has run.
    items: Vec<Item>,
    is_closed: bool,
}

pub(crate) enum Item {
    Task(Runnable),
    Main,
}

impl From<Item> for Ready {
    fn from(item: Item) -> Ready {
        match item {
            Item::Task(runnable) => Ready::Task(runnable),
            Item::Main => Ready::Main,
        }
    }
}

impl Remote {
    pub(crate) fn new(bell: Box<dyn Fn() + Send + Sync>) -> Arc<Remote> {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
        Arc::new(Remote {
            loop_number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed), // unique, ordered with nothing
            inbox: Mutex::default(),
            has_items: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            bell,
        })
    }

    pub(crate) fn loop_number(&self) -> u64 {
        self.loop_number
    }

    /// Makes a task ready, from whichever thread this is.
    pub(crate) fn schedule(&self, runnable: Runnable) {
        match queue::push_if_current(self.loop_number, Ready::Task(runnable)) {
            Ok(()) => {}
            Err(Ready::Task(runnable)) => self.send(Item::Task(runnable)),
            Err(_) => unreachable!("the queue gives back what it was given"),
        }
    }

    /// Whether the loop may sleep. If so, the next item rings the bell.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst); // pairs with the load in `send`
        if self.has_items.load(Ordering::SeqCst) {
            self.sleeping.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// The loop is awake: items need no bell, it will look.
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Takes what other threads have sent.
    pub(crate) fn take(&self) -> Vec<Item> {
        // Relaxed would do for the first look, as a missed item is found before the next sleep.
        if !self.has_items.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut inbox = self.lock();
        self.has_items.store(false, Ordering::SeqCst);
        std::mem::take(&mut inbox.items)
    }

    pub(crate) fn close(&self) -> Vec<Item> {
        let mut inbox = self.lock();
        inbox.is_closed = true;
        std::mem::take(&mut inbox.items)
    }

    fn send(&self, item: Item) {
        let mut inbox = self.lock();
        if inbox.is_closed {
            std::mem::forget(item); // see the invariant above
            return;
        }
        inbox.items.push(item);
        self.has_items.store(true, Ordering::SeqCst); // pairs with the load in `prepare_sleep`
        drop(inbox);
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            (self.bell)();
        }
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the future that `block_on` runs.
pub(crate) struct MainWaker {
    remote: Arc<Remote>,
    is_queued: AtomicBool,
}

impl MainWaker {
    /// A waker whose future is queued already.
    pub(crate) fn queued(remote: &Arc<Remote>) -> Arc<MainWaker> {
        Arc::new(MainWaker { remote: Arc::clone(remote), is_queued: AtomicBool::new(true) })
    }

    /// The future is about to be polled: further wakes count again.
    pub(crate) fn polling(&self) {
        // Acquire: pairs with the release of a waker's swap, so its thread's writes are visible.
        self.is_queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if queue::push_if_current(self.remote.loop_number, Ready::Main).is_err() {
            self.remote.send(Item::Main);
        }
    }
}
