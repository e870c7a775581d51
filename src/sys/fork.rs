//! Forked processes: whether this process has forked, and which process this is.
//!
//! A forked child has all descriptors of its parent and a copy of its memory. `shutdown(2)`,
//! `epoll_ctl(2)` and a write to an eventfd act on the open file, and so on the parent too. Code
//! that uses them must ensure that no child has the file ([`may_have_happened`]), and must not run
//! in a child for what belongs to the parent ([`Process`]).
//!
//! **Which process this is** is a number in a page that the kernel clears in a child
//! (`MADV_WIPEONFORK`), whichever system call made the child. Where the kernel refuses the advice,
//! the child's handler of `pthread_atfork(3)` clears the number, which covers libc's `fork(2)`
//! only.
//!
//! **Whether this process has forked** is recorded by the handler of `pthread_atfork(3)`, which
//! sees the forks by libc's `fork(2)`. It does not see `posix_spawn(3)` and `vfork(2)`, and need
//! not: their child executes another program at once, which closes the loop's descriptors, as they
//! are close-on-exec. It does not see a raw `clone(2)` without `CLONE_VM` either.
#![allow(unsafe_code)] // pthread_atfork(3), mmap(2), madvise(2), the page that a fork clears

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

static MAY_HAVE_FORKED: AtomicBool = AtomicBool::new(false);

/// The address of the number of this process: 0 before its first use, and in a forked child.
static NUMBER: AtomicPtr<AtomicU64> = AtomicPtr::new((&raw const PLAIN_NUMBER).cast_mut());

/// The number, where the kernel has no pages that a fork clears.
static PLAIN_NUMBER: AtomicU64 = AtomicU64::new(0);

/// The last number that was used. A child inherits it, so each new number differs from those of all
/// ancestors.
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

const PAGE_LEN: usize = 4096;

/// A process, as distinct from the children that it forks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process(u64);

impl Process {
    pub(crate) fn current() -> Process {
        watch();
        let cell = number();
        let current = cell.load(Ordering::Relaxed);
        if current != 0 {
            return Process(current);
        }
        let new = LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        // Another thread may have been faster. Relaxed: the number orders no other memory.
        match cell.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Process(new),
            Err(other) => Process(other),
        }
    }

    /// The number of the process. Never 0.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// The process of this number. No process has the number 0.
    ///
    /// [`is_current`](Process::is_current) may be called in a signal handler.
    pub(super) fn from_number(number: u64) -> Process {
        Process(if number == 0 { u64::MAX } else { number })
    }

    /// Whether this code runs in that process. It costs two loads and a comparison.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        number().load(Ordering::Relaxed) == self.0
    }
}

#[inline]
fn number() -> &'static AtomicU64 {
    // SAFETY: the pointer is to a static, or to a page that is never unmapped, is zeroed, aligned
    // for the type, and only accessed as it. Relaxed: the page was mapped before its address was
    // stored, and its content orders nothing.
    unsafe { &*NUMBER.load(Ordering::Relaxed) }
}

/// Begins to record forks. Call before the first descriptor is made.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Some(page) = page_that_a_fork_clears() {
            NUMBER.store(page, Ordering::Relaxed);
        }
        // SAFETY: the handlers are functions, valid for the life of the program. They store to
        // atomics and do nothing else, which is allowed between fork and exec.
        let failure = unsafe { libc::pthread_atfork(Some(note), None, Some(clear_number)) };
        if failure != 0 {
            note(); // out of memory: forks will not be recorded, so assume one
        }
    });
}

/// Whether the process may have forked since [`watch`] was first called. Once true, always true.
pub(crate) fn may_have_happened() -> bool {
    // Relaxed: a fork by this thread is ordered with this load. A fork by another thread that this
    // load does not see is concurrent with whatever the caller does next, in any ordering.
    MAY_HAVE_FORKED.load(Ordering::Relaxed)
}

/// Runs before each fork, in the parent, on the forking thread.
extern "C" fn note() {
    MAY_HAVE_FORKED.store(true, Ordering::Relaxed);
}

/// Runs after each fork, in the child, on its only thread.
extern "C" fn clear_number() {
    number().store(0, Ordering::Relaxed);
}

/// Maps a page of zeroes that a fork clears, or returns `None` where the kernel has none.
fn page_that_a_fork_clears() -> Option<*mut AtomicU64> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE_LEN,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range that was mapped above, which nothing uses yet.
    if unsafe { libc::madvise(page, PAGE_LEN, libc::MADV_WIPEONFORK) } == 0 {
        return Some(page.cast());
    }
    // SAFETY: as above.
    let _ = unsafe { libc::munmap(page, PAGE_LEN) };
    None
}
