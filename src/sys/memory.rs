//! Anonymous memory with a fixed address.
#![allow(unsafe_code)] // mmap(2), madvise(2), munmap(2)

use std::io;
use std::ptr::NonNull;

/// Zeroed, page-aligned memory that never moves and that a forked child does not see (H13).
///
/// Pages that nobody touched cost nothing, so a large pool is cheap until it is used.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(crate) fn new(len: usize) -> io::Result<Mapping> {
        assert!(len > 0, "an empty mapping");
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
        // SAFETY: exactly the range that was mapped above. The advice changes what fork copies
        // and nothing in this process; a kernel that refuses it leaves the default, which is safe
        // for us and only wasteful for a child.
        let _ = unsafe { libc::madvise(start, len, libc::MADV_DONTFORK) };
        let start = NonNull::new(start.cast()).expect("mmap returns no null page");
        Ok(Mapping { start, len })
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
        // SAFETY: the range this value mapped, unmapped once; whoever lent the memory to the
        // kernel has taken it back or leaked the mapping (`Pool`'s documentation).
        let status = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(status, 0, "munmap: {}", io::Error::last_os_error());
    }
}
