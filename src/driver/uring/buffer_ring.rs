//! The ring of provided buffers: memory shared with the kernel, `io_uring_buf_ring`.
//!
//! This side writes it and the kernel reads it.
#![allow(unsafe_code)] // the shared memory, and registering it

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::buf::Loan;
use crate::sys::errno;
use crate::sys::memory::Mapping;

/// The smallest ring that is tried for want of memory.
const BUFFER_ENTRIES_MIN: u16 = 32;

/// The buffers of one group.
pub(super) struct BufferRing {
    mapping: Mapping,
    entry_count: u16,
    /// Runs freely over `u16`, as the kernel's copy does.
    tail: u16,
}

impl BufferRing {
    /// Registers a ring of `count` entries as `group`, or one of fewer entries if the kernel has no
    /// memory for so many.
    pub(super) fn register(uring: &IoUring, group: u16, count: u16) -> io::Result<BufferRing> {
        smaller_on_enomem(count, |entry_count| {
            let buffers = BufferRing::new(entry_count)?;
            let base = buffers.mapping.as_ptr() as u64;
            let submitter = uring.submitter();
            // SAFETY: the mapping holds `entry_count` entries, starts on a page, is zeroed (so its
            // tail is 0), and outlives the registration: `KernelRing::drop` unregisters it first,
            // and an undrained ring leaks it (`KernelRing::leak`). If registering fails, the kernel
            // does not know it.
            unsafe { submitter.register_buf_ring_with_flags(base, entry_count, group, 0)? };
            Ok(buffers)
        })
    }

    pub(super) fn entry_count(&self) -> u16 {
        self.entry_count
    }

    fn new(entry_count: u16) -> io::Result<BufferRing> {
        assert!(entry_count.is_power_of_two(), "{entry_count} entries");
        let mapping =
            Mapping::hidden_from_children(usize::from(entry_count) * size_of::<BufRingEntry>())?;
        Ok(BufferRing { mapping, entry_count, tail: 0 })
    }

    /// Writes one entry behind the published ones.
    ///
    /// There is always room: the pool lends at most as many buffers at once as the ring has entries
    /// ([`Pool::lend_at_most`](crate::buf::Pool::lend_at_most)).
    pub(super) fn provide(&mut self, loan: Loan) {
        let index = usize::from(self.tail & (self.entry_count - 1));
        let base = self.mapping.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the mask keeps `index` inside the mapping, which is page-aligned and zeroed, so
        // the entry is valid. The kernel reads entries only below the published tail; this one
        // lies at the unpublished end. The setters leave the field that doubles as the tail alone.
        let entry = unsafe { &mut *base.add(index) };
        entry.set_addr(loan.target as u64);
        entry.set_len(loan.target_len);
        entry.set_bid(loan.id);
        self.tail = self.tail.wrapping_add(1);
    }

    pub(super) fn publish(&mut self) {
        let base = self.mapping.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the tail lies inside the first entry of the mapping, is aligned for `AtomicU16`
        // (offset 14 of a page), and no reference to that entry is alive.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        // Release: pairs with the kernel's acquire; the entries are written before it reads them.
        tail.store(self.tail, Ordering::Release);
    }
}

/// Calls `make` with `count`, then with half as many as long as there is no memory for so many
/// (H16: some kernels charge them to `RLIMIT_MEMLOCK`).
fn smaller_on_enomem<T>(count: u16, mut make: impl FnMut(u16) -> io::Result<T>) -> io::Result<T> {
    let mut count = count;
    loop {
        match make(count) {
            Err(error)
                if error.raw_os_error() == Some(errno::ENOMEM) && count > BUFFER_ENTRIES_MIN =>
            {
                count /= 2;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a ring of provided buffers is made smaller for want of memory, to a smallest size, and
    /// for nothing else.
    /// Method: a kernel with room for some entries; one with another error.
    /// Kills: giving up at the first ENOMEM; going down without an end; going down on EINVAL.
    #[test]
    fn buffer_rings_shrink_for_want_of_memory() {
        let with_room_for = |room: u16, code: i32, count: u16| {
            let mut tried = Vec::new();
            let made = smaller_on_enomem(count, |count| {
                tried.push(count);
                let error = || io::Error::from_raw_os_error(code);
                (count <= room).then_some(count).ok_or_else(error)
            });
            (made.ok(), tried)
        };
        let enomem = errno::ENOMEM;
        assert_eq!(with_room_for(200, enomem, 512), (Some(128), vec![512, 256, 128]));
        assert_eq!(with_room_for(16, enomem, 128), (None, vec![128, 64, 32]));
        assert_eq!(with_room_for(0, enomem, 4), (None, vec![4]));
        assert_eq!(with_room_for(200, errno::EINVAL, 512), (None, vec![512]));
    }
}
