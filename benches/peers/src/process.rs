//! CPU time and memory of another process, from `/proc`.

use std::fs;
use std::io;

/// The CPU time of all threads of `pid`, in nanoseconds.
///
/// The scheduler updates the figure of a thread when it switches it out and on the timer tick, so
/// the figure of a running thread is up to one tick too low. Threads that have ended are not in the
/// sum: measure servers that keep theirs. The kernel's workers of a ring are threads too.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum_ns = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ends between the listing and the read is not in the sum.
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

    /// Goal: the sum has the work of every thread.
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
