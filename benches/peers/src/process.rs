//! What `/proc` says about another process.

use std::fs;
use std::io;

/// The time that all threads of `pid` have been running, in nanoseconds.
///
/// The scheduler brings a thread's figure up to date when it is switched out and on the timer
/// tick, so a thread that runs right now reads up to one tick too low. Threads that ended are not
/// in the sum: measure servers that keep theirs. Workers of a ring count, they are threads too.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum_ns = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the read; it is then simply not in the sum.
        let Ok(text) = fs::read_to_string(entry?.path().join("schedstat")) else {
            continue;
        };
        let run_time = text
            .split_ascii_whitespace()
            .next()
            .and_then(|field| field.parse().ok());
        sum_ns += run_time.unwrap_or(0);
    }
    Ok(sum_ns)
}

/// The resident memory of `pid`, in KiB.
pub fn rss_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("process {pid} has no VmRSS")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: work of any thread shows in the sum.
    ///
    /// Method: a second thread spins until the sum has moved by 10 ms; it must.
    ///
    /// Kills: reading `/proc/PID/schedstat`, which is the main thread alone.
    #[test]
    fn cpu_time_grows_with_work_of_any_thread() {
        let pid = std::process::id();
        let before = cpu_ns(pid).unwrap();
        std::thread::spawn(move || while cpu_ns(pid).unwrap() < before + 10_000_000 {})
            .join()
            .unwrap();
        assert!(rss_kib(pid).unwrap() > 0);
    }
}
