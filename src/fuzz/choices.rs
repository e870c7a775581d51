//! Where decisions come from: a string of bytes.
//!
//! A string that has ended gives zeros, and a zero means the harmless choice everywhere: the kernel
//! obeys, nothing fails. So every prefix of an input is an input, which makes shrinking simple.

use std::cell::Cell;

pub(super) struct Choices {
    bytes: Vec<u8>,
    next: Cell<usize>,
}

impl Choices {
    pub(super) fn new(bytes: &[u8]) -> Choices {
        Choices { bytes: bytes.to_vec(), next: Cell::new(0) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next.get() >= self.bytes.len()
    }

    pub(super) fn byte(&self) -> u8 {
        let at = self.next.get();
        self.next.set(at + 1);
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// A number below `count`; 0 once the bytes have ended.
    pub(super) fn below(&self, count: usize) -> usize {
        match count {
            0 => panic!("no choice"),
            1 => 0, // costs no byte
            _ => usize::from(self.byte()) % count,
        }
    }

    /// True once in `count` times, and never once the bytes have ended.
    pub(super) fn one_in(&self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// One of a few values; the first once the bytes have ended.
    pub(super) fn of<T: Copy>(&self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// SplitMix64: every seed, neighbours included, gives a sequence of its own.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}
