//! Out-buffers that are kept for the next writer.

use std::cell::RefCell;

/// Buffers that are kept, and the largest that is worth keeping.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_CAPACITY_MAX: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct SpareBuffers(RefCell<Vec<Vec<u8>>>);

impl SpareBuffers {
    /// Takes an empty buffer, with the capacity of an earlier one if possible.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.0.borrow_mut();
        if buffers.len() < SPARE_BUFFERS_MAX && buffer.capacity() <= SPARE_CAPACITY_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}
