//! The process's descriptors: as many as it may have, none at all, or a certain number.
#![allow(unsafe_code)] // setrlimit(2)

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram; // a descriptor that needs no file system

/// Raises the soft limit as far as this process may, up to what the largest trial needs.
pub(crate) fn raise_limit() {
    const WANTED: libc::rlim_t = 8192;
    let mut limit = limit();
    if limit.rlim_cur < WANTED {
        limit.rlim_cur = WANTED.min(limit.rlim_max);
        set_limit(&limit);
    }
}

/// How many descriptors this process may have.
pub(crate) fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`, which outlives the call.
    let status = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(status, 0, "a known resource");
    limit
}

fn set_limit(limit: &libc::rlimit) {
    // SAFETY: the kernel reads one `rlimit`; lowering the soft limit closes nothing.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
    assert_eq!(status, 0, "a soft limit up to the hard one");
}

/// All descriptors that this process may open, taken. Gives them back when dropped.
pub(crate) struct NoDescriptors {
    former: libc::rlimit,
    taken: Vec<UnixDatagram>,
}

impl NoDescriptors {
    pub(crate) fn take_all() -> NoDescriptors {
        let highest = UnixDatagram::unbound().unwrap().as_raw_fd() as libc::rlim_t;
        let former = limit();
        let rlim_cur = (highest + 16).min(former.rlim_cur);
        set_limit(&libc::rlimit { rlim_cur, rlim_max: former.rlim_max });
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

    /// Whether `count` descriptors, and no more, are free.
    pub(crate) fn has_left(&self, count: usize) -> bool {
        let free: Vec<_> = std::iter::from_fn(|| UnixDatagram::unbound().ok()).collect();
        free.len() == count
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        set_limit(&self.former);
    }
}
