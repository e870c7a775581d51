//! The progress of a soak, and its memory at the start and at the end.

use std::fs;

/// Runs of fewer rounds print their last line only.
const LONG_RUN: u64 = 100_000;

/// How much resident memory may grow between the first tenth of the rounds and the end. A leak of
/// five bytes per round is more, after a million rounds.
const GROWTH_KIB_MAX: u64 = 4096;

/// Counts rounds.
pub(crate) struct Progress {
    title: String,
    rounds: u64,
    done: u64,
    /// After a tenth of the rounds: caches and queues have grown by then.
    start_kib: u64,
}

impl Progress {
    pub(crate) fn new(title: String, rounds: u64) -> Progress {
        Progress { title, rounds, done: 0, start_kib: resident_kib() }
    }

    /// Counts one round. Returns whether there is another one.
    pub(crate) fn next(&mut self) -> bool {
        self.done += 1;
        let Progress { title, rounds, done, .. } = self;
        let tenth = (*rounds / 10).max(1);
        if *done == tenth {
            self.start_kib = resident_kib();
        }
        if *rounds >= LONG_RUN && done.is_multiple_of(tenth) {
            println!("{title}: {done} of {rounds} rounds, {} KiB", resident_kib());
        }
        *done < *rounds
    }

    /// Compares the resident memory with that of the start. The runtime has been dropped.
    pub(crate) fn finish(self) {
        let Progress { title, rounds, done, start_kib } = self;
        let end_kib = resident_kib();
        println!("{title}: {done} rounds, {start_kib} KiB at the start, {end_kib} KiB at the end");
        assert!(done >= rounds, "{title}: {done} of {rounds} rounds");
        assert!(end_kib <= start_kib + GROWTH_KIB_MAX, "{title}: the memory has grown");
    }
}

/// The resident memory of this process.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}
