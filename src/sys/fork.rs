//! Whether this process has forked.
//!
//! A forked child holds every descriptor of its parent. `shutdown(2)` acts on the open file, so it
//! also ends what the child does with it. Code that uses it on a socket must know that no child can
//! hold that socket.
//!
//! `pthread_atfork(3)` sees the forks that go through libc's `fork(2)`. `posix_spawn(3)` and
//! `vfork(2)` are not seen and need not be: their child executes another program at once, which
//! closes the loop's descriptors, as they are close-on-exec. A raw `clone(2)` without `CLONE_VM` is
//! not seen either.
#![allow(unsafe_code)] // pthread_atfork(3)

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static MAY_HAVE_FORKED: AtomicBool = AtomicBool::new(false);

/// Begins to watch. Call before the first descriptor is made.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a function, valid for the life of the program. It stores to an
        // atomic and does nothing else, which is allowed between fork and exec.
        let failure = unsafe { libc::pthread_atfork(Some(note), None, None) };
        if failure != 0 {
            note(); // out of memory: forks will not be seen, so assume them
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
