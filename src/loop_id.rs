//! The identity of a loop, and whether that loop runs on this thread.
//!
//! A stream, a timer or a task of one loop cannot make progress on another loop: its own loop,
//! which does not run meanwhile, completes the operations that would wake it. And a forked child
//! has copies of its parent's loops, whose rings and descriptors belong to the parent. In both
//! cases a wait would not end. So every leaf future compares its loop with the running one
//! ([`Home::check`], called by `task::coop`), and panics with the places where both were built.
//!
//! **Absent on purpose.** References to loops: an id may outlive its loop.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::fork::Process;

/// The identity of one loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoopId {
    number: u64,
    process: Process,
    built_at: &'static Location<'static>,
}

impl LoopId {
    /// The id of a new loop, built by the caller's caller.
    #[track_caller]
    pub(crate) fn new() -> LoopId {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);
        LoopId {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed), // unique, ordered with nothing
            process: Process::current(),
            built_at: Location::caller(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether this process is a forked child of the one that built the loop.
    #[inline]
    pub(crate) fn is_of_parent(&self) -> bool {
        !self.process.is_current()
    }

    /// Requires that this process built the loop.
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the loop.
    #[inline]
    #[track_caller]
    pub(crate) fn check_process(&self) {
        if self.is_of_parent() {
            self.refuse_child();
        }
    }

    #[cold]
    #[track_caller]
    fn refuse_child(&self) -> ! {
        panic!(
            "{self} belongs to the process that built it, and this process is a child that was \
             forked later: build a new runtime in the child, or fork before the first is built"
        )
    }

    /// Whether this loop runs on this thread, in this process.
    #[inline]
    pub(crate) fn is_running_here(&self) -> bool {
        let number = RUNNING.try_with(|running| running.get().number).unwrap_or(NONE.number);
        number == self.number && !self.is_of_parent()
    }

    /// Refuses a wait that would not end.
    ///
    /// # Panics
    ///
    /// Always: this loop does not run here, so a wait for it would not end.
    #[cold]
    #[track_caller]
    pub(crate) fn refuse_wait(&self) -> ! {
        self.check_process();
        let running = RUNNING.try_with(Cell::get).unwrap_or(NONE);
        match running.built_at {
            Some(built_at) => panic!(
                "a resource of {self} was awaited on the ringloop runtime built at {built_at}, \
                 where the wait would not end: await it on the runtime it was made on"
            ),
            None => panic!(
                "a resource of {self} was awaited outside of it, where the wait would not end: \
                 await it inside `block_on` of that runtime"
            ),
        }
    }
}

impl fmt::Display for LoopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ringloop runtime built at {}", self.built_at)
    }
}

/// The loop of a resource. The reactor has it.
pub(crate) struct Home {
    id: LoopId,
    has_ended: Cell<bool>,
}

impl Home {
    pub(crate) fn new(id: LoopId) -> Home {
        Home { id, has_ended: Cell::new(false) }
    }

    pub(crate) fn id(&self) -> &LoopId {
        &self.id
    }

    /// Marks the loop as ended: its resources return errors, wherever they are polled.
    pub(crate) fn end(&self) {
        self.has_ended.set(true);
    }

    /// Requires that a wait for this loop can end.
    ///
    /// # Panics
    ///
    /// If the loop neither runs here nor has ended.
    #[inline]
    #[track_caller]
    pub(crate) fn check(&self) {
        if !self.id.is_running_here() && (!self.has_ended.get() || self.id.is_of_parent()) {
            self.id.refuse_wait();
        }
    }
}

/// The loop that runs on a thread, without a reference to it.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    /// The number of the loop, or 0 for none.
    number: u64,
    built_at: Option<&'static Location<'static>>,
}

const NONE: Running = Running { number: 0, built_at: None };

thread_local! {
    static RUNNING: Cell<Running> = const { Cell::new(NONE) };
}

/// Requires that no loop runs on this thread, which is about to block.
///
/// # Panics
///
/// If one does: it would not turn meanwhile.
#[track_caller]
pub(crate) fn check_blocking() {
    let running = RUNNING.try_with(Cell::get).unwrap_or(NONE);
    if let Some(built_at) = running.built_at {
        panic!(
            "a blocking call on the thread of the ringloop runtime built at {built_at}, which \
             would stand still meanwhile: await the asynchronous form, or block on another thread"
        );
    }
}

/// Makes `id` the loop that runs on this thread. Returns the former one, for [`leave`].
pub(crate) fn enter(id: &LoopId) -> Running {
    let running = Running { number: id.number, built_at: Some(id.built_at) };
    RUNNING.try_with(|current| current.replace(running)).unwrap_or(NONE)
}

/// Undoes [`enter`].
pub(crate) fn leave(former: Running) {
    let _ = RUNNING.try_with(|current| current.set(former));
}
