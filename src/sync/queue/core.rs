//! What both queues share: places and items as permits, and the count of unfinished items.
//!
//! ```text
//!  free place ── put waits, takes one ──▶ item ── get waits, takes one ──▶ unfinished ── task_done
//!      ▲                                            │
//!      └────────────────────────────────────────────┘
//! ```
//!
//! Places and items are the permits of two gates. A task that waits for either has reserved
//! nothing.
//!
//! **Invariant.** No user code runs while a `RefCell` of this file is borrowed. The order of a
//! `PriorityQueue` is the `Ord` of the program, so the store is taken out of its cell while an item
//! is put in or taken. Gates count what the store has, also if `Ord` panics.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::error::{GetError, PutError, QueueShutDown};
use crate::sync::gate::Gate;
use crate::sync::permits::{PERMITS_MAX, Refusal};
use crate::sync::wait_list::{WaitList, WaiterId, Woken, wait_in};
use crate::sync::waking::wake_each;
use crate::task::coop;

/// Where the items are, and in which order they are taken.
pub(super) trait Store: Default {
    type Item;

    fn push(&mut self, item: Self::Item);
    fn pop(&mut self) -> Option<Self::Item>;
    fn len(&self) -> usize;
}

pub(super) struct Core<S> {
    /// `None` while the order of an item is found.
    store: RefCell<Option<S>>,
    len: Cell<usize>,
    /// Permits for free places and for items.
    places: Rc<Gate>,
    items: Rc<Gate>,
    places_max: usize,
    /// Items that were put, and for which `task_done` was not called.
    unfinished: Cell<usize>,
    joining: RefCell<WaitList>,
    is_shut_down: Cell<bool>,
}

impl<S: Store> Core<S> {
    #[track_caller]
    pub(super) fn bounded(maxsize: usize) -> Core<S> {
        assert!(maxsize > 0, "a bounded queue has a maxsize of at least 1");
        assert!(maxsize <= PERMITS_MAX, "a maxsize of {maxsize} exceeds {PERMITS_MAX}");
        Core {
            store: RefCell::new(Some(S::default())),
            len: Cell::new(0),
            places: Gate::new(maxsize),
            items: Gate::new(0),
            places_max: maxsize,
            unfinished: Cell::new(0),
            joining: RefCell::default(),
            is_shut_down: Cell::new(false),
        }
    }

    /// A queue with more places than memory has.
    pub(super) fn unlimited() -> Core<S> {
        Core::bounded(PERMITS_MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    pub(super) fn maxsize(&self) -> Option<usize> {
        Some(self.places_max).filter(|max| *max < PERMITS_MAX)
    }

    pub(super) fn is_full(&self) -> bool {
        self.len.get() == self.places_max
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down.get()
    }

    pub(super) async fn put(&self, item: S::Item) -> Result<(), QueueShutDown<S::Item>> {
        match self.places.acquire(1).await {
            Ok(place) if !self.is_shut_down() => {
                place.keep();
                self.push(item);
                Ok(())
            }
            _ => Err(QueueShutDown(item)),
        }
    }

    pub(super) fn put_nowait(&self, item: S::Item) -> Result<(), PutError<S::Item>> {
        match self.places.attempt(1) {
            Ok(place) => {
                place.keep();
                self.push(item);
                Ok(())
            }
            Err(Refusal::Unavailable) => Err(PutError::Full(item)),
            Err(Refusal::Closed) => Err(PutError::ShutDown(item)),
        }
    }

    pub(super) async fn get(&self) -> Result<S::Item, QueueShutDown> {
        let item = self.items.acquire(1).await.map_err(|_closed| QueueShutDown(()))?;
        item.keep();
        // A waker that was dropped meanwhile may have shut the queue down.
        self.pop().ok_or(QueueShutDown(()))
    }

    pub(super) fn get_nowait(&self) -> Result<S::Item, GetError> {
        match self.items.attempt(1) {
            Ok(item) => {
                item.keep();
                self.pop().ok_or(GetError::ShutDown)
            }
            Err(Refusal::Unavailable) => Err(GetError::Empty),
            Err(Refusal::Closed) => Err(GetError::ShutDown),
        }
    }

    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.get()
    }

    #[track_caller]
    pub(super) fn task_done(&self) {
        let unfinished = self.unfinished.get();
        assert!(unfinished > 0, "task_done was called more often than items were put");
        wake_each(self.finish(1));
    }

    pub(super) async fn join(&self) {
        let mut wait = Join { core: self, waiter_id: WaiterId::default() };
        coop::leaf_fn_anywhere(|cx| wait.poll(cx)).await;
    }

    /// Refuses further items. With `is_immediate`, also drops those that are in the queue, which
    /// then count as done.
    pub(super) fn shutdown(&self, is_immediate: bool) {
        let store = match is_immediate {
            true => Some(self.with_store(std::mem::take)),
            false => None,
        };
        self.is_shut_down.set(true);
        // All waits end at once, so that a waker that panics delays none of them.
        let places = self.places.end_waits();
        let items = (self.len.get() == 0).then(|| self.items.end_waits());
        let joining = store.as_ref().map(|store| self.finish(store.len()));
        let (items, joining) = (items.into_iter().flatten(), joining.into_iter().flatten());
        wake_each(places.chain(items).chain(joining));
        drop(store); // the destructors of its items are user code
    }

    /// Counts items as done. Returns the joins that end.
    fn finish(&self, count: usize) -> Woken {
        self.unfinished.set(self.unfinished.get().saturating_sub(count));
        match self.unfinished.get() {
            0 => self.joining.borrow_mut().wake_all(),
            _ => Woken::default(),
        }
    }

    /// Puts an item in a place that was taken for it.
    fn push(&self, item: S::Item) {
        let former_len = self.len.get();
        let pushed = catch_unwind(AssertUnwindSafe(|| self.with_store(|store| store.push(item))));
        match self.len.get() > former_len {
            true => {
                self.unfinished.set(self.unfinished.get() + 1);
                self.items.release(1);
            }
            false => self.places.release(1),
        }
        pushed.unwrap_or_else(|payload| resume_unwind(payload));
    }

    /// Takes the item for which a permit was taken. There is none after an immediate shutdown.
    fn pop(&self) -> Option<S::Item> {
        let former_len = self.len.get();
        let popped = catch_unwind(AssertUnwindSafe(|| self.with_store(Store::pop)));
        match self.len.get() < former_len {
            true => self.places.release(1),
            false if popped.is_err() => self.items.release(1),
            false => {}
        }
        if self.is_shut_down() && self.len.get() == 0 {
            self.items.close();
        }
        popped.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Runs `f` on the store, which is out of its cell meanwhile.
    fn with_store<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        let store = self.store.take();
        let store = store.expect("the `Ord` of an item must not use the queue that the item is in");
        let mut taken = Taken { core: self, store };
        f(&mut taken.store)
    }
}

/// A store that is out of its cell. It returns also after a panic.
struct Taken<'a, S: Store> {
    core: &'a Core<S>,
    store: S,
}

impl<S: Store> Drop for Taken<'_, S> {
    fn drop(&mut self) {
        self.core.len.set(self.store.len());
        self.core.store.replace(Some(std::mem::take(&mut self.store)));
    }
}

/// The wait for the last unfinished item. It is over if there was a time without one, also if
/// another item was put since.
struct Join<'a, S> {
    core: &'a Core<S>,
    waiter_id: WaiterId,
}

impl<S> Join<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over() {
            wait_in(&self.core.joining, |list| list, &mut self.waiter_id, cx.waker());
        }
        // The clone of the waker is user code, which may have finished the last item.
        if self.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn is_over(&self) -> bool {
        let was_woken = || self.core.joining.borrow().was_in_wake_all(&self.waiter_id);
        self.core.unfinished.get() == 0 || was_woken()
    }
}

impl<S> Drop for Join<'_, S> {
    fn drop(&mut self) {
        let waker = self.core.joining.borrow_mut().leave(&mut self.waiter_id);
        drop(waker);
    }
}
