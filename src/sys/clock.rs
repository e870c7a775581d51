//! The monotonic clock, which the kernel's timeouts use too.
#![allow(unsafe_code)] // clock_gettime(2)

/// Nanoseconds of `CLOCK_MONOTONIC`. The clock stops while the machine is suspended (H41).
pub(crate) fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Processor time of this thread, in nanoseconds.
#[cfg(test)]
pub(crate) fn thread_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to write to.
    let status = unsafe { libc::clock_gettime(clock, &mut now) };
    assert_eq!(status, 0, "clock {clock} exists on every Linux");
    now.tv_sec as u64 * NS_PER_S + now.tv_nsec as u64
}

pub(crate) const NS_PER_S: u64 = 1_000_000_000;

/// Converts nanoseconds, of a duration or a time of the clock.
pub(crate) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / NS_PER_S) as i64, tv_nsec: (ns % NS_PER_S) as i64 }
}
