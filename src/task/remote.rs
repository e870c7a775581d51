//! Wakes and calls from other threads: an inbox, and one notification per sleep.
//!
//! The loop must not sleep after a wake has been sent, and a hundred thousand wakes must not write
//! to the wake fd a hundred thousand times. Both sides exchange one flag:
//!
//! ```text
//!   loop                                  another thread
//!   sleeping.swap(true)                   put the item into the inbox, has_items = true
//!   has_items?  yes → do not sleep        sleeping.swap(false)?  true  → notify the wake fd
//!               no  → enter the kernel                           false → the loop will look
//!   sleeping.swap(false)
//! ```
//!
//! Every access to `sleeping` is a read-modify-write with acquire and release. So the accesses have
//! one order, and each sees the writes before those that precede it. If the swap of the other
//! thread is first, the swap of the loop reads it or a later one, and the loop sees `has_items`. If
//! the swap of the loop is first, the other thread reads true and notifies. `SeqCst` is not needed.
//! `tests/loom` checks this file for every interleaving within a bound.
//!
//! The wake fd is an eventfd whose read was submitted with or before the enter that sleeps
//! (`Uring::arm_wake`), so a notification between the look and the enter ends the sleep at once.
//!
//! **The end.** The inbox first refuses calls and then closes:
//!
//! ```text
//!  Open ──── refuse_calls ────▶ Ending ──── close ────▶ Closed
//!  everything is taken          wakes and reports       nothing is taken
//! ```
//!
//! In between, tasks are dropped and blocking jobs end, which may still wake and report.
//!
//! **Forked children.** A forked child has a copy of this value, with the lock in the state that a
//! thread of the parent left it in, and the parent's eventfd. So a wake in a child uses neither.
//!
//! **Invariant.** A `Runnable` is dropped on the loop's thread only. After the loop has ended there
//! are none (`Executor::shut_down` has dropped every future). If one appears, it is leaked and not
//! dropped here.

use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::task::Wake;

use super::call::Call;
use super::queue::{self, Ready};
use super::scheduled::{Scheduled, TaskInbox};
use crate::error::{Unhandled, discard, try_drop};
use crate::loop_id::LoopId;
use crate::primitives::{self, AtomicBool, Mutex, MutexGuard, Ordering, ThreadId};

/// The part of a loop that other threads use.
pub(crate) struct Remote {
    id: LoopId,
    /// The thread that runs the loop.
    owner: ThreadId,
    inbox: Mutex<Inbox>,
    has_items: AtomicBool,
    sleeping: AtomicBool,
    wake_fd: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Inbox {
    /// At most one entry per task and one for the main future: `async-task` schedules a task once
    /// until it has run. Calls have no other bound than their callers.
    items: Vec<Item>,
    phase: InboxPhase,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum InboxPhase {
    #[default]
    Open,
    /// Calls are refused.
    Ending,
    Closed,
}

/// What another thread has sent to the loop.
pub(crate) enum Item {
    Task(Scheduled),
    Main,
    Call(RemoteCall),
    /// An error that no caller awaits.
    Report(Box<Unhandled>),
}

/// A callback from another thread.
pub(crate) struct RemoteCall {
    function: Box<dyn FnOnce() + Send>,
    called_at: &'static Location<'static>,
}

impl From<RemoteCall> for Ready {
    fn from(call: RemoteCall) -> Ready {
        Ready::Call(Call::new(call.function, call.called_at))
    }
}

impl Remote {
    pub(crate) fn new(id: LoopId, wake_fd: Box<dyn Fn() + Send + Sync>) -> Arc<Remote> {
        Arc::new(Remote {
            id,
            owner: primitives::thread_id(),
            inbox: Mutex::default(),
            has_items: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            wake_fd,
        })
    }

    pub(crate) fn id(&self) -> &LoopId {
        &self.id
    }

    /// Whether this is the thread that runs the loop, now or between two runs.
    pub(super) fn is_owner_here(&self) -> bool {
        primitives::thread_id() == self.owner
    }

    /// Whether calls are refused.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().phase != InboxPhase::Open
    }

    /// Makes the loop call `function`. Gives it back if the loop ends or has ended. May be called
    /// on any thread, also on that of the loop, where it runs in order with other ready work.
    pub(super) fn call<F: FnOnce() + Send + 'static>(
        &self,
        function: F,
        called_at: &'static Location<'static>,
    ) -> Result<(), F> {
        self.call_with(function, |function| function(), called_at)
    }

    /// Like `call`, for a function of one value, which is given back.
    pub(super) fn call_with<V: Send + 'static>(
        &self,
        value: V,
        run: fn(V),
        called_at: &'static Location<'static>,
    ) -> Result<(), V> {
        let inbox = self.lock();
        if inbox.phase != InboxPhase::Open {
            return Err(value);
        }
        let call = RemoteCall { function: Box::new(move || run(value)), called_at };
        if queue::is_current(self.id.number()) {
            drop(inbox);
            let pushed = queue::push_if_current(self.id.number(), call.into());
            assert!(pushed.is_ok(), "the loop runs here");
        } else {
            self.push(inbox, Item::Call(call));
        }
        Ok(())
    }

    /// Reports an error that no caller awaits, on the loop's thread. After the end of the loop it
    /// is discarded: the panic hook has printed it.
    pub(super) fn report(&self, unhandled: Unhandled) {
        self.send(Item::Report(Box::new(unhandled)));
    }

    /// Drops a value of the program. A panic of its destructor is reported.
    pub(super) fn drop_guarded<T>(&self, value: T) {
        if let Err(payload) = try_drop(value) {
            self.report(Unhandled::DropPanic { payload });
        }
    }

    /// Whether the loop may sleep. If so, the next item notifies the wake fd.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.sleeping.swap(true, Ordering::AcqRel); // pairs with the swap in `send`
        // Relaxed: the swap above makes visible what other threads wrote before their swaps.
        if self.has_items.load(Ordering::Relaxed) {
            self.awake();
            return false;
        }
        true
    }

    /// Marks the loop as awake: it will look into the inbox, so no item notifies the wake fd.
    pub(crate) fn awake(&self) {
        self.sleeping.swap(false, Ordering::AcqRel); // a store would break the chain of swaps
    }

    /// Takes the items of the inbox.
    pub(crate) fn take(&self) -> Vec<Item> {
        // Relaxed: an item that is missed here is found before the next sleep, or its notification
        // ends the sleep.
        if !self.has_items.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut inbox = self.lock();
        self.has_items.store(false, Ordering::Relaxed); // ordered by the lock
        std::mem::take(&mut inbox.items)
    }

    /// Refuses calls from now on.
    pub(super) fn refuse_calls(&self) {
        self.lock().phase = InboxPhase::Ending;
    }

    /// Closes the inbox and takes its items.
    pub(super) fn close(&self) -> Vec<Item> {
        let mut inbox = self.lock();
        inbox.phase = InboxPhase::Closed;
        std::mem::take(&mut inbox.items)
    }

    fn send(&self, item: Item) {
        let inbox = self.lock();
        if inbox.phase != InboxPhase::Closed {
            return self.push(inbox, item);
        }
        drop(inbox);
        match item {
            Item::Task(runnable) => std::mem::forget(runnable), // see the invariant above
            Item::Report(unhandled) => discard(unhandled),
            Item::Main => {}
            Item::Call(_) => unreachable!("calls are refused before"),
        }
    }

    fn push(&self, mut inbox: MutexGuard<'_, Inbox>, item: Item) {
        inbox.items.push(item);
        self.has_items.store(true, Ordering::Relaxed); // released by the lock and by the swap
        drop(inbox);
        if self.sleeping.swap(false, Ordering::AcqRel) {
            (self.wake_fd)();
        }
    }

    /// Takes the lock. It cannot be poisoned in a bad state: no code that can panic runs under it.
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskInbox for Remote {
    fn send_task(&self, task: Scheduled) {
        self.send(Item::Task(task));
    }
}

/// Makes a task ready. May be called on any thread.
pub(super) fn schedule(task: Scheduled) {
    let id = task.metadata().id();
    if id.is_of_parent() {
        std::mem::forget(task); // a forked child: the task runs in the parent
        return;
    }
    match queue::push_if_current(id.number(), Ready::Task(task)) {
        Ok(()) => {}
        Err(Ready::Task(task)) => {
            let inbox = Arc::clone(task.metadata().inbox());
            inbox.send_task(task);
        }
        Err(_) => unreachable!("the queue returns the entry that was pushed"),
    }
}

/// Wakes the future that `block_on` runs.
pub(crate) struct MainWaker {
    remote: Arc<Remote>,
    is_queued: AtomicBool,
}

impl MainWaker {
    /// A waker of a future that is already queued.
    pub(crate) fn queued(remote: &Arc<Remote>) -> Arc<MainWaker> {
        Arc::new(MainWaker { remote: Arc::clone(remote), is_queued: AtomicBool::new(true) })
    }

    /// Marks the future as polled: the next wake queues it again.
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
