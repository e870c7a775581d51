//! Anonymous memory with a fixed address.
#![allow(unsafe_code)] // mmap(2), madvise(2), munmap(2)

use std::io;
use std::ptr::NonNull;

/// Zeroed, page-aligned memory that does not move.
///
/// Pages that were not touched use no memory, so a large pool is cheap until it is used.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(crate) fn new(len: usize) -> io::Result<Mapping> {
        assert!(len > 0, "a mapping must have at least one byte");
        // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap returns no null page");
        Ok(Mapping { start, len })
    }

    /// Maps memory that the kernel pins and that a forked child does not have (H13).
    ///
    /// Otherwise the first write after a fork would go to a copy that the kernel does not use. A
    /// child must not drop the value, as another mapping may be at its address there.
    pub(crate) fn hidden_from_children(len: usize) -> io::Result<Mapping> {
        let mapping = Mapping::new(len)?;
        // SAFETY: exactly the range that was mapped above. The advice changes what fork copies
        // and nothing in this process. A kernel that refuses it leaves the default.
        let _ = unsafe { libc::madvise(mapping.as_ptr().cast(), len, libc::MADV_DONTFORK) };
        Ok(mapping)
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range this value mapped, unmapped once; the owner that lent the memory to the
        // kernel has taken it back or leaked the mapping (`Pool`'s documentation).
        let status = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(status, 0, "munmap: {}", io::Error::last_os_error());
    }
}
