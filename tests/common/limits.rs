//! The limit on this process's descriptors.
#![allow(unsafe_code)] // setrlimit(2)
#![allow(dead_code)] // each test binary uses its own part
#![allow(unreachable_pub)] // a module of each test binary, shared by all

/// Raises the soft limit to `wanted`, or to the hard limit if that is lower. Never lowers it.
pub fn raise(wanted: u64) {
    let mut limit = limit();
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        set(&limit);
    }
}

/// The number of descriptors that this process may have.
pub fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`, which outlives the call.
    let status = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(status, 0, "a known resource");
    limit
}

/// Sets both limits.
pub fn set(limit: &libc::rlimit) {
    // SAFETY: the kernel reads one `rlimit`; lowering the soft limit closes nothing.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
    assert_eq!(status, 0, "a soft limit up to the hard one");
}
