//! Trials without free descriptors: takes all descriptors of this process, or all but some.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram; // a descriptor that needs no file system

use crate::limits;

/// Holds all descriptors that this process may open. Dropping it frees them.
pub(crate) struct NoDescriptors {
    former: libc::rlimit,
    taken: Vec<UnixDatagram>,
}

impl NoDescriptors {
    pub(crate) fn take_all() -> NoDescriptors {
        let highest = UnixDatagram::unbound().unwrap().as_raw_fd() as libc::rlim_t;
        let former = limits::limit();
        let rlim_cur = (highest + 16).min(former.rlim_cur);
        limits::set(&libc::rlimit { rlim_cur, rlim_max: former.rlim_max });
        let mut full = NoDescriptors { former, taken: Vec::new() };
        full.take_again();
        full
    }

    pub(crate) fn take_again(&mut self) {
        self.taken.extend(std::iter::from_fn(|| UnixDatagram::unbound().ok()));
    }

    pub(crate) fn give_back(&mut self, count: usize) {
        self.taken.truncate(self.taken.len() - count);
    }

    /// Whether exactly `count` descriptors are free.
    pub(crate) fn has_left(&self, count: usize) -> bool {
        let free: Vec<_> = std::iter::from_fn(|| UnixDatagram::unbound().ok()).collect();
        free.len() == count
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        limits::set(&self.former);
    }
}
