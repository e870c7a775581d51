//! The receive buffers of one loop.
//!
//! A connection that waits for bytes holds no buffer: a multishot receive names the whole pool, and
//! the kernel picks a buffer only when bytes are there. So ten thousand connections live on one
//! mebibyte, and the pool's size follows from how many buffers are *filled* at once, not from how
//! many peers there are.
//!
//! ```text
//!            lend                 filled               release
//!  Free ───────────────▶ Kernel ────────────▶ User ───────────────▶ Free
//!            ▲                                                        │
//!            └────────────────────────────────────────────────────────┘
//!
//!  Free    neither side reads or writes
//!  Kernel  the kernel may write at any time; no reference to the bytes exists
//!  User    exactly one `RecvBuf` names it; the kernel never writes
//! ```
//!
//! **Not all are lent.** At most a window of them is: 256 at first, twice as many after each turn
//! in which a receive found none although there were free ones, up to a limit. The free list is
//! last in, first out, so the touched memory of a large pool is that of the largest burst.
//!
//! **Invariant.** A buffer's bytes are referenced only in state `User`, and only by its one
//! `RecvBuf`. A completion that names a buffer in another state would break that, so it is an
//! assertion in release builds too (H56; `a_buffer_delivered_twice_is_refused`).
//!
//! The memory outlives every holder: a `RecvBuf` owns the pool through an `Rc`, and a driver that
//! could not get the kernel to let go leaks its `Rc` on purpose (`Uring::close`).
#![allow(unsafe_code)] // the bytes behind a buffer id

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use crate::sys::memory::Mapping;

#[derive(Debug)]
pub(crate) struct Pool {
    mapping: Mapping,
    buffer_len: u32,
    states: Box<[Cell<BufferState>]>,
    /// Buffers in state `Free`. Never grows beyond the number of buffers.
    free: RefCell<Vec<u16>>,
    lent_count: Cell<u32>,
    held_count: Cell<u32>,
    /// How many may be lent at once.
    window: Cell<u32>,
    window_max: Cell<u32>,
    /// Whether a receive has found no buffer since the last `lend`.
    ran_dry: Cell<bool>,
}

/// How many buffers are lent at once until a burst has needed more.
const WINDOW_START: u32 = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BufferState {
    Free,
    Kernel,
    User,
}

/// A buffer on its way to the kernel: where it is and how long, and the id it comes back under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loan {
    pub(crate) id: u16,
    pub(crate) target: *mut u8,
    pub(crate) target_len: u32,
}

impl Pool {
    /// The most buffers a pool can have: the kernel's limit for one ring of buffers.
    pub(crate) const COUNT_MAX: u16 = 1 << 15;

    /// `count` buffers of `buffer_len` bytes each. The count must be a power of two (H56).
    pub(crate) fn new(count: u16, buffer_len: u32) -> io::Result<Rc<Pool>> {
        assert!(count.is_power_of_two(), "{count} buffers is not a power of two");
        assert!(count <= Pool::COUNT_MAX, "{count} buffers of at most {}", Pool::COUNT_MAX);
        assert!(buffer_len > 0, "a zero-length buffer is never lent (H56)");
        let mapping = Mapping::new(usize::from(count) * buffer_len as usize)?;
        Ok(Rc::new(Pool {
            mapping,
            buffer_len,
            states: (0..count).map(|_| Cell::new(BufferState::Free)).collect(),
            // In reverse, so that buffer 0 is lent first.
            free: RefCell::new((0..count).rev().collect()),
            lent_count: Cell::new(0),
            held_count: Cell::new(0),
            window: Cell::new(WINDOW_START.min(u32::from(count))),
            window_max: Cell::new(u32::from(count)),
            ran_dry: Cell::new(false),
        }))
    }

    pub(crate) fn count(&self) -> u16 {
        self.states.len() as u16
    }

    pub(crate) fn buffer_len(&self) -> u32 {
        self.buffer_len
    }

    /// Buffers that a receive could be given now or soon: free, or already with the kernel.
    pub(crate) fn available_count(&self) -> u32 {
        self.lent_count.get() + self.free.borrow().len() as u32
    }

    /// Buffers that the program holds as `RecvBuf`.
    pub(crate) fn held_count(&self) -> u32 {
        self.held_count.get()
    }

    /// Whether more than half of the buffers are held: none should be kept for a few bytes.
    pub(crate) fn is_scarce(&self) -> bool {
        self.held_count.get() * 2 > u32::from(self.count())
    }

    /// Never lends more than this many at once. For a ring that has no room for all of them.
    pub(crate) fn lend_at_most(&self, count: u16) {
        assert_eq!(self.lent_count.get(), 0, "the limit comes before the first loan");
        self.window_max.set(u32::from(count).min(u32::from(self.count())));
        self.window.set(self.window.get().min(self.window_max.get()));
    }

    /// Notes that a receive has found no buffer.
    pub(crate) fn note_dry(&self) {
        self.ran_dry.set(true);
    }

    /// Takes a free buffer to lend to the kernel, if the window has room for it.
    pub(crate) fn lend(&self) -> Option<Loan> {
        let mut free = self.free.borrow_mut();
        if self.ran_dry.take() && !free.is_empty() {
            self.window.set((self.window.get() * 2).min(self.window_max.get()));
        }
        if self.lent_count.get() >= self.window.get() {
            return None;
        }
        let id = free.pop()?;
        let state = self.states[usize::from(id)].replace(BufferState::Kernel);
        assert_eq!(state, BufferState::Free, "buffer {id} was lent while {state:?}");
        self.lent_count.set(self.lent_count.get() + 1);
        Some(Loan { id, target: self.address(id), target_len: self.buffer_len })
    }

    /// Takes buffer `id` back from the kernel, with `len` bytes in it. The caller makes the one
    /// `RecvBuf` of it.
    pub(super) fn take_filled(&self, id: u16, len: u32) {
        let Some(state) = self.states.get(usize::from(id)) else {
            panic!("the kernel filled buffer {id} of {}", self.states.len());
        };
        let state = state.replace(BufferState::User);
        assert_eq!(
            state,
            BufferState::Kernel,
            "the kernel filled buffer {id}, which was {state:?}"
        );
        assert!(len <= self.buffer_len, "{len} bytes in a buffer of {}", self.buffer_len);
        self.lent_count.set(self.lent_count.get() - 1);
        self.held_count.set(self.held_count.get() + 1);
    }

    /// Takes buffer `id` back from the program. Called by `RecvBuf::drop` only.
    pub(super) fn release(&self, id: u16) {
        let state = self.states[usize::from(id)].replace(BufferState::Free);
        assert_eq!(state, BufferState::User, "buffer {id} was released while {state:?}");
        self.held_count.set(self.held_count.get() - 1);
        self.free.borrow_mut().push(id);
    }

    /// Takes back every buffer that is with the kernel, once its ring is gone.
    ///
    /// The ring that the buffers were lent to must be gone: otherwise the next `lend` would give
    /// the same memory out twice.
    pub(crate) fn reclaim(&self) {
        for (id, state) in self.states.iter().enumerate() {
            if state.get() == BufferState::Kernel {
                state.set(BufferState::Free);
                self.free.borrow_mut().push(id as u16);
            }
        }
        self.lent_count.set(0);
    }

    /// The filled part of a buffer that a `RecvBuf` holds.
    pub(super) fn bytes(&self, id: u16, start: u32, end: u32) -> &[u8] {
        self.check_range(id, start, end);
        // SAFETY: the range lies inside buffer `id` (checked above), inside the mapping, which
        // lives as long as `self` and was zeroed by the kernel, so every byte is initialised. The
        // bytes do not change: the state is `User` (checked above), so the kernel gave the buffer
        // back, and the one `RecvBuf` that names it is borrowed for as long as this slice lives.
        unsafe {
            std::slice::from_raw_parts(self.address(id).add(start as usize), (end - start) as usize)
        }
    }

    fn check_range(&self, id: u16, start: u32, end: u32) {
        let state = self.states[usize::from(id)].get();
        assert_eq!(state, BufferState::User, "buffer {id} is read while {state:?}");
        assert!(start <= end && end <= self.buffer_len, "{start}..{end} of {}", self.buffer_len);
    }

    fn address(&self, id: u16) -> *mut u8 {
        let offset = usize::from(id) * self.buffer_len as usize;
        assert!(offset < self.mapping.len(), "buffer {id} lies outside the pool");
        // SAFETY: the offset is inside the mapping, which is one allocation.
        unsafe { self.mapping.as_ptr().add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::RecvBuf;

    fn pool() -> Rc<Pool> {
        Pool::new(4, 16).unwrap()
    }

    /// Goal: a buffer goes round: lent, filled, read, released, and lent again.
    /// Method: drain the pool, fill one, drop it. Kills: `release` forgetting the free list.
    #[test]
    fn a_buffer_goes_round() {
        let pool = pool();
        let ids: Vec<u16> = std::iter::from_fn(|| pool.lend()).map(|loan| loan.id).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        assert_eq!(pool.lend(), None);

        let buf = pool.filled(2, 5);
        assert_eq!(buf.len(), 5);
        assert_eq!((pool.held_count(), pool.available_count()), (1, 3));
        drop(buf);
        assert_eq!((pool.held_count(), pool.available_count()), (0, 4));
        assert_eq!(pool.lend().map(|loan| loan.id), Some(2));
    }

    /// Goal: the kernel naming one buffer twice can never make two owners (H56).
    /// Method: fill twice. Kills: dropping the state check in `filled`.
    #[test]
    #[should_panic(expected = "the kernel filled buffer 0, which was User")]
    fn a_buffer_delivered_twice_is_refused() {
        let pool = pool();
        pool.lend();
        let _first = pool.filled(0, 1);
        let _second = pool.filled(0, 1);
    }

    /// Goal: a large pool is lent little by little: 256 at first, twice as many once a turn has run
    /// dry, never beyond the limit, and not because the program holds the rest.
    /// Method: lend all there is, fill all, and run dry once or three times in between.
    /// Kills: no window; one that grows without need, or for each ENOBUFS of a turn, or not at all;
    /// a limit that growing ignores.
    #[test]
    fn the_window_grows_when_it_was_too_small() {
        let pool = Pool::new(2048, 16).unwrap();
        pool.lend_at_most(1024);
        let lend_all = || std::iter::from_fn(|| pool.lend()).map(|loan| loan.id).collect();
        let mut touched = 0;
        for (dry_count, lent_count) in [(0, 256), (0, 256), (1, 512), (3, 1024), (1, 1024)] {
            (0..dry_count).for_each(|_| pool.note_dry());
            let ids: Vec<u16> = lend_all();
            assert_eq!(ids.len(), lent_count);
            touched = touched.max(ids.iter().max().unwrap() + 1);
            assert_eq!(usize::from(touched), lent_count, "the same buffers again");
            ids.into_iter().for_each(|id| drop(pool.filled(id, 1)));
        }
        let pool = Pool::new(512, 16).unwrap();
        let ids: Vec<u16> = std::iter::from_fn(|| pool.lend()).map(|loan| loan.id).collect();
        let mut held: Vec<RecvBuf> = ids.into_iter().map(|id| pool.filled(id, 1)).collect();
        while let Some(loan) = pool.lend() {
            held.push(pool.filled(loan.id, 1));
        }
        pool.note_dry();
        assert_eq!((pool.lend(), held.len()), (None, 512));
        drop(held);
        assert_eq!(std::iter::from_fn(|| pool.lend()).count(), 256, "they were held, not too few");
    }

    /// Goal: an id or a length that the pool never gave out is refused (H56).
    /// Method: one of each. Kills: either bound check in `filled`.
    #[test]
    fn strange_deliveries_are_refused() {
        let pool = pool();
        pool.lend();
        let deliver = |id, len| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(pool.filled(id, len))))
        };
        assert!(deliver(4, 1).is_err(), "an id beyond the pool");
        assert!(deliver(0, 17).is_err(), "more bytes than a buffer has");
    }
}
