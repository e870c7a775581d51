//! Replaces `src/primitives.rs` in the copy that `scripts/tsan.sh` checks.
//!
//! The standard library at hand is compiled without the sanitizer, which therefore does not see
//! how a contended lock of it orders memory. This lock is made of atomics that are compiled with
//! the sanitizer, so that it sees all of it.
#![allow(unsafe_code)] // a lock

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::LockResult;
use std::time::Duration;

use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::thread::ThreadId;

#[derive(Default)]
pub(crate) struct Mutex<T> {
    is_locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `lock` gives access to one thread at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex { is_locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        while self.is_locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        Ok(MutexGuard { mutex: self })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard holds the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds the lock, and is borrowed for as long as the result.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.is_locked.store(false, Ordering::Release);
    }
}

/// A count of notifications. A waiter looks at it again and again.
pub(crate) struct Condvar {
    notified: AtomicU64,
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar { notified: AtomicU64::new(0) }
    }

    pub(crate) fn notify_one(&self) {
        self.notify_all(); // waits may end for no reason
    }

    pub(crate) fn notify_all(&self) {
        self.notified.fetch_add(1, Ordering::AcqRel);
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    limit: Duration,
) -> (MutexGuard<'a, T>, bool) {
    let (begun, before) = (Instant::now(), condvar.notified.load(Ordering::Acquire));
    drop(guard);
    let mut is_over = false;
    while condvar.notified.load(Ordering::Acquire) == before && !is_over {
        std::thread::yield_now();
        is_over = begun.elapsed() >= limit;
    }
    (mutex.lock().unwrap_or_else(|_| unreachable!("never poisoned")), is_over)
}

pub(crate) fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

pub(crate) fn thread_id() -> ThreadId {
    std::thread::current().id()
}

/// Sleeps, so that other threads can run.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// The sanitizer's memory orders.
const RELEASE: i32 = 3;
const ACQUIRE_RELEASE: i32 = 4;

unsafe extern "C" {
    #[link_name = "__real___tsan_atomic64_fetch_sub"]
    fn real_fetch_sub(atomic: *mut u64, value: u64, order: i32) -> u64;
}

/// Every `fetch_sub` of 64 bits of the program (`--wrap` of the linker).
///
/// The last drop of an `Arc` is a `fetch_sub` with release and then a fence with acquire, which the
/// sanitizer does not model. An acquire that is part of the `fetch_sub` means the same here.
// SAFETY: the name is the linker's for this purpose, and the signature is the sanitizer's.
#[unsafe(export_name = "__wrap___tsan_atomic64_fetch_sub")]
unsafe extern "C" fn fetch_sub(atomic: *mut u64, value: u64, order: i32) -> u64 {
    let order = if order == RELEASE { ACQUIRE_RELEASE } else { order };
    // SAFETY: the caller's arguments, with an order that is stronger.
    unsafe { real_fetch_sub(atomic, value, order) }
}
