//! The provided-buffer ring: the pool from which the kernel takes a buffer for each receive.
//!
//! ```text
//!            give + publish              recv completion              take
//! Ours ─────────────────▶ in the ring ──────────────────▶ completed ────────▶ Ours
//! ```
//!
//! The kernel owns a buffer from `publish` until the completion that names it, and again while a
//! send reads from it. This process does not read the bytes: it passes addresses on.
//!
//! **Invariant.** A buffer is in the ring at most once, which `take` and `give` assert (H56). A
//! number that comes twice would mean that the kernel writes where another connection reads.
//!
//! The memory is not freed. The process ends by a signal, and until then the ring may write to it.
#![allow(unsafe_code)] // the ring of provided buffers is memory shared with the kernel

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The only buffer group.
pub(crate) const GROUP: u16 = 0;

const PAGE: usize = 4096;

pub(crate) struct Buffers {
    /// `count` entries, shared with the kernel, which reads them up to the tail.
    ring: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    size: u32,
    count: u16,
    /// Free-running. The kernel sees the value after `publish`.
    tail: u16,
    owners: Vec<Owner>,
    in_ring_count: u16,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Owner {
    Ours,
    Kernel,
}

impl Buffers {
    /// Registers `count` (a power of two) buffers of `size` bytes with `io`.
    pub(crate) fn register(io: &IoUring, count: u16, size: u32) -> io::Result<Self> {
        assert!(
            count.is_power_of_two() && size > 0,
            "{count} buffers of {size}"
        );
        // The kernel requires a page-aligned ring. The buffers are page-aligned too.
        let ring = zeroed_pages(usize::from(count) * size_of::<BufRingEntry>()).cast();
        let memory = zeroed_pages(usize::from(count) * size as usize);

        // SAFETY: the ring has `count` entries, is aligned to a page, and is never freed.
        unsafe {
            let addr = ring.as_ptr() as u64;
            io.submitter()
                .register_buf_ring_with_flags(addr, count, GROUP, 0)?;
        }
        let owners = vec![Owner::Ours; usize::from(count)];
        let mut buffers = Self {
            ring,
            memory,
            size,
            count,
            tail: 0,
            owners,
            in_ring_count: 0,
        };
        for bid in 0..count {
            buffers.give(bid);
        }
        buffers.publish();
        Ok(buffers)
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// The buffers in the ring, and those of completions that have not been read.
    pub(crate) fn in_ring_count(&self) -> u16 {
        self.in_ring_count
    }

    /// The address of `len` bytes from `start` in a buffer that the kernel does not own.
    pub(crate) fn address(&self, bid: u16, start: u32, len: u32) -> *const u8 {
        assert_eq!(self.owners[usize::from(bid)], Owner::Ours, "buffer {bid}");
        assert!(
            start <= self.size && len <= self.size - start,
            "{start} + {len}, buffer {bid}"
        );
        // SAFETY: `bid` is below `count` (`owners` has that many), and `start` is inside the
        // buffer, so the offset stays inside the allocation of `count * size` bytes.
        unsafe {
            self.memory
                .as_ptr()
                .add(usize::from(bid) * self.size as usize + start as usize)
        }
    }

    /// Records that a completion has returned buffer `bid`.
    pub(crate) fn take(&mut self, bid: u16) {
        let owner = &mut self.owners[usize::from(bid)];
        assert_eq!(*owner, Owner::Kernel, "buffer {bid} was completed twice");
        *owner = Owner::Ours;
        self.in_ring_count -= 1;
    }

    /// Puts buffer `bid` back. The kernel sees it after `publish`.
    pub(crate) fn give(&mut self, bid: u16) {
        let owner = &mut self.owners[usize::from(bid)];
        assert_eq!(*owner, Owner::Ours, "buffer {bid} was returned twice");
        *owner = Owner::Kernel;
        self.in_ring_count += 1;

        let address = self.memory.as_ptr() as u64 + u64::from(bid) * u64::from(self.size);
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: the mask keeps `index` below `count`. The kernel only reads the ring, and reads
        // this entry only once the tail has passed it, which happens in `publish`. The setters
        // leave the tail alone, which lies in the unused bytes of entry 0.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(index);
            entry.set_addr(address);
            entry.set_len(self.size);
            entry.set_bid(bid);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Publishes the buffers that were put back.
    pub(crate) fn publish(&self) {
        // SAFETY: `ring` is the first entry of a live ring; the tail inside it is aligned to two
        // bytes, and while it is shared it is written here and nowhere else.
        let tail = unsafe { &*BufRingEntry::tail(self.ring.as_ptr()).cast::<AtomicU16>() };
        // Release: pairs with the kernel's acquire of the tail; entries before it are written.
        tail.store(self.tail, Ordering::Release);
    }
}

fn zeroed_pages(len: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(len, PAGE).expect("a pool larger than memory");
    assert!(layout.size() > 0);
    // SAFETY: the layout is not empty.
    let pages = unsafe { alloc::alloc_zeroed(layout) };
    NonNull::new(pages).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}
