//! Memory that is lent to the model kernel, and an allocator that notices if it is freed.
//!
//! The allocator is the system's. Before it frees a block it compares the block with the ranges
//! that the kernel has been lent on this thread, and notes an overlap, which the oracle reports. So
//! a target or a source that is freed too early is found at once and on every run, without a
//! sanitizer. Threads that lend nothing pay one comparison per free.
#![allow(unsafe_code)] // an allocator, and copies from and to lent memory

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Ranges that one thread may lend at the same time.
const RANGES_MAX: usize = 512;

#[global_allocator]
static ALLOCATOR: Watching = Watching;

struct Watching;

#[derive(Clone, Copy)]
struct Range {
    start: usize,
    len: usize,
    user_data: u64,
}

struct Lent {
    count: Cell<usize>,
    ranges: [Cell<Range>; RANGES_MAX],
    /// The operation whose memory was freed.
    freed: Cell<Option<u64>>,
}

thread_local! {
    // Needs no allocation and no destructor, so the allocator may look at it at any time.
    static LENT: Lent = const {
        Lent {
            count: Cell::new(0),
            ranges: [const { Cell::new(Range { start: 0, len: 0, user_data: 0 }) }; RANGES_MAX],
            freed: Cell::new(None),
        }
    };
}

impl Lent {
    fn check(&self, start: usize, len: usize) {
        for range in &self.ranges[..self.count.get()] {
            let range = range.get();
            if start < range.start + range.len && range.start < start + len {
                self.freed.set(Some(range.user_data));
            }
        }
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LENT.with(|lent| {
            if lent.count.get() > 0 {
                lent.check(block as usize, layout.size());
            }
        });
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_len: usize) -> *mut u8 {
        LENT.with(|lent| {
            if lent.count.get() > 0 {
                lent.check(block as usize, layout.size());
            }
        });
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, new_len) }
    }
}

/// The kernel has been lent this memory by the operation `user_data`.
pub(super) fn lend(user_data: u64, start: *const u8, len: usize) {
    LENT.with(|lent| {
        let count = lent.count.get();
        assert!(count < RANGES_MAX, "{count} ranges are lent at the same time");
        lent.ranges[count].set(Range { start: start as usize, len, user_data });
        lent.count.set(count + 1);
    });
}

/// The operation has ended.
pub(super) fn take_back(user_data: u64) {
    LENT.with(|lent| {
        let is_its = |range: &Cell<Range>| range.get().user_data == user_data;
        let count = lent.count.get();
        if let Some(place) = lent.ranges[..count].iter().position(is_its) {
            lent.ranges[place].set(lent.ranges[count - 1].get());
            lent.count.set(count - 1);
        }
    });
}

/// Forgets everything.
pub(super) fn reset() {
    LENT.with(|lent| {
        lent.count.set(0);
        lent.freed.set(None);
    });
}

/// The operation whose memory has been freed while the kernel had it.
pub(super) fn freed() -> Option<u64> {
    LENT.with(|lent| lent.freed.get())
}

/// Reads memory that an operation in flight has lent.
pub(super) fn read(start: *const u8, len: usize) -> Vec<u8> {
    assert!(freed().is_none(), "lent memory has been freed");
    // SAFETY: the operation is in flight and none of what is lent has been freed (checked above),
    // so its owner keeps the memory valid and unchanged.
    unsafe { std::slice::from_raw_parts(start, len) }.to_vec()
}
