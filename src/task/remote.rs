//! Wakes from other threads: an inbox, and one notification per sleep.
//!
//! The loop must not go to sleep on a wake that has just been sent, and a hundred thousand wakes
//! must not write to the wake fd a hundred thousand times. Both sides exchange one flag:
//!
//! ```text
//!   loop                                  another thread
//!   sleeping.swap(true)                   put the item into the inbox, has_items = true
//!   has_items?  yes → do not sleep        sleeping.swap(false)?  true  → notify the wake fd
//!               no  → enter the kernel                           false → the loop will look
//!   sleeping.swap(false)
//! ```
//!
//! Every access to `sleeping` is a read-modify-write with acquire and release, so all of them have
//! one order and each sees what was written before those that precede it. If the swap of the other
//! thread comes first, the loop's swap reads it or a later one, and the loop sees `has_items`.
//! If the loop's swap comes first, the other thread reads true and rings. No `SeqCst` is needed.
//! `tests/loom` checks this file for every interleaving within a bound.
//!
//! The wake fd is an eventfd whose read was submitted with or before the enter that sleeps
//! (`Uring::arm_wake`), so a ring between "look" and "enter" ends the sleep at once.
//!
//! **Forked children.** A child that was forked has a copy of all this, the lock in whatever state
//! a thread of the parent has left it, and the parent's eventfd. So a wake in a child touches
//! neither.
//!
//! **Invariant.** A `Runnable` is dropped on the loop's thread only. After the loop's end none can
//! exist (`Executor::shut_down` has dropped every future); should one appear all the same, it is
//! leaked rather than dropped here.

use std::sync::{Arc, PoisonError};
use std::task::Wake;

use async_task::Runnable;

use super::queue::{self, Ready};
use crate::loop_id::LoopId;
use crate::primitives::{AtomicBool, Mutex, MutexGuard, Ordering};

/// The side of a loop that other threads see.
pub(crate) struct Remote {
    id: LoopId,
    inbox: Mutex<Inbox>,
    has_items: AtomicBool,
    sleeping: AtomicBool,
    wake_fd: Box<dyn Fn() + Send + Sync>,
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
    pub(crate) fn new(id: LoopId, wake_fd: Box<dyn Fn() + Send + Sync>) -> Arc<Remote> {
        Arc::new(Remote {
            id,
            inbox: Mutex::default(),
            has_items: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            wake_fd,
        })
    }

    pub(crate) fn id(&self) -> &LoopId {
        &self.id
    }

    /// Makes a task ready, from whichever thread this is.
    pub(crate) fn schedule(&self, runnable: Runnable) {
        if self.id.is_of_parent() {
            std::mem::forget(runnable); // a forked child: the task runs in the parent
            return;
        }
        match queue::push_if_current(self.id.number(), Ready::Task(runnable)) {
            Ok(()) => {}
            Err(Ready::Task(runnable)) => self.send(Item::Task(runnable)),
            Err(_) => unreachable!("the queue gives back what it was given"),
        }
    }

    /// Whether the loop may sleep. If so, the next item notifies the wake fd.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.sleeping.swap(true, Ordering::AcqRel); // pairs with the swap in `send`
        // Relaxed: what other threads did before their swaps is visible by the swap above.
        if self.has_items.load(Ordering::Relaxed) {
            self.awake();
            return false;
        }
        true
    }

    /// The loop is awake: items need no wake_fd, it will look.
    pub(crate) fn awake(&self) {
        self.sleeping.swap(false, Ordering::AcqRel); // a store would break the chain of swaps
    }

    /// Takes what other threads have sent.
    pub(crate) fn take(&self) -> Vec<Item> {
        // Relaxed: an item that is missed here is found before the next sleep, or its wake_fd ends
        // it.
        if !self.has_items.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut inbox = self.lock();
        self.has_items.store(false, Ordering::Relaxed); // ordered by the lock
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
        self.has_items.store(true, Ordering::Relaxed); // released by the lock and by the swap
        drop(inbox);
        if self.sleeping.swap(false, Ordering::AcqRel) {
            (self.wake_fd)();
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
        if self.remote.id.is_of_parent() || self.is_queued.swap(true, Ordering::AcqRel) {
            return; // in a forked child the future runs in the parent
        }
        if queue::push_if_current(self.remote.id.number(), Ready::Main).is_err() {
            self.remote.send(Item::Main);
        }
    }
}
