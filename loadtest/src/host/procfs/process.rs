//! Processor time and context switches of a process, as the difference of two readings.
//!
//! While the threads stay the same, the sum of their `schedstat` is exact. Otherwise the time of
//! ended threads is only in the process's own total, in ticks (`/proc/PID/stat`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::host::procfs::{CpuTime, read_schedstat, read_with_name};

/// Length of a tick in `/proc/PID/stat`: `USER_HZ` is 100 on every Linux architecture of Rust.
const TICK_NS: u64 = 1_000_000_000 / 100;

/// With more threads than this, reading each one would take too much time on the measured
/// processors. Then only the totals of the process are read.
const THREADS_MAX: usize = 1_024;

/// A process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// Start time since boot. It distinguishes processes with the same id.
    started_ticks: u64,
    ran_ticks: u64,
    /// Threads by id; empty if there are more than `THREADS_MAX`.
    threads: BTreeMap<u32, Thread>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    time: Option<CpuTime>,
    switches: Option<Switches>,
}

/// Number of context switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Switches {
    /// The thread blocked.
    pub(crate) voluntary: u64,
    /// The scheduler gave the processor to another thread.
    pub(crate) involuntary: u64,
}

/// Resources that a process used between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) ran_ns: u64,
    /// Of the threads that existed at the later reading.
    pub(crate) switches: Option<Switches>,
}

impl Process {
    /// Reads a process. `None` if it does not exist or is a zombie.
    pub(crate) fn read(pid: u32) -> Option<Process> {
        let mut process = parse(&read_with_name(format!("/proc/{pid}/stat"))?)?;
        process.threads = threads(pid).unwrap_or_default();
        Some(process)
    }

    /// The resources used since the earlier reading. `None` if that was another process.
    pub(crate) fn since(&self, earlier: &Process) -> Option<Used> {
        if self.started_ticks != earlier.started_ticks {
            return None;
        }
        let are_same = self.threads.keys().eq(earlier.threads.keys());
        let exact = if are_same { self.time_since(earlier) } else { None };
        let ticks = self.ran_ticks.saturating_sub(earlier.ran_ticks);
        Some(Used {
            ran_ns: exact.unwrap_or(ticks * TICK_NS),
            switches: self.switches_since(earlier),
        })
    }

    fn time_since(&self, earlier: &Process) -> Option<u64> {
        let each = self.threads.iter().map(|(id, thread)| {
            let before = earlier.threads.get(id)?.time?;
            Some(thread.time?.since(before).ran_ns)
        });
        if self.threads.is_empty() { None } else { each.sum() }
    }

    fn switches_since(&self, earlier: &Process) -> Option<Switches> {
        let each = self.threads.iter().map(|(id, thread)| {
            let before = match earlier.threads.get(id) {
                Some(thread) => thread.switches?,
                None => Switches::default(), // a new thread: all its switches count
            };
            let now = thread.switches?;
            Some(Switches {
                voluntary: now.voluntary.saturating_sub(before.voluntary),
                involuntary: now.involuntary.saturating_sub(before.involuntary),
            })
        });
        let add = |sum: Switches, one: Option<Switches>| one.map(|one| sum.plus(one));
        if self.threads.is_empty() {
            return None;
        }
        each.into_iter().try_fold(Switches::default(), add)
    }
}

impl Switches {
    pub(crate) fn plus(self, other: Switches) -> Switches {
        Switches {
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
        }
    }
}

/// Parses `PID (NAME) STATE …`. A name may contain any character, including parentheses.
fn parse(stat: &str) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_pid, name) = head.split_once(" (")?;
    // The state is the third field of `proc_pid_stat(5)`.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    // The name is printed, so control characters of terminals are replaced.
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    Some(Process {
        name: name.chars().map(printable).collect(),
        started_ticks: number(22)?,
        ran_ticks: number(14)? + number(15)?,
        threads: BTreeMap::new(),
    })
}

/// The threads of a process; `None` if there are more than `THREADS_MAX`.
fn threads(pid: u32) -> Option<BTreeMap<u32, Thread>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if threads.len() == THREADS_MAX {
            return None;
        }
        // A thread that ends between the listing and the reading is skipped.
        if let Some(thread) = Thread::read(&entry.path()) {
            threads.insert(id, thread);
        }
    }
    Some(threads)
}

impl Thread {
    fn read(directory: &Path) -> Option<Thread> {
        let status = read_with_name(directory.join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        let switches = field("voluntary_ctxt_switches:").zip(field("nonvoluntary_ctxt_switches:"));
        Some(Thread {
            time: read_schedstat(&directory.join("schedstat")),
            switches: switches.map(|(voluntary, involuntary)| Switches { voluntary, involuntary }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(ran_ns: u64, voluntary: u64, involuntary: u64) -> Thread {
        Thread {
            time: Some(CpuTime { ran_ns, waited_ns: 0 }),
            switches: Some(Switches { voluntary, involuntary }),
        }
    }

    fn process(ran_ticks: u64, threads: &[(u32, Thread)]) -> Process {
        Process {
            name: "server".to_owned(),
            started_ticks: 7,
            ran_ticks,
            threads: threads.iter().copied().collect(),
        }
    }

    /// Goal: the used time is exact while the threads stay, and complete when one ends.
    ///
    /// Method: two readings with the same threads; with one thread ended and one started; with one
    /// ended; without threads; of another process with the same id.
    ///
    /// Kills: subtracting sums of different threads; ticks where nanoseconds are known; a recycled
    /// id.
    #[test]
    fn used_time_survives_the_end_of_a_thread() {
        let before = process(100, &[(1, thread(1_000, 10, 1)), (2, thread(50_000, 20, 2))]);
        let same = process(103, &[(1, thread(1_500, 14, 1)), (2, thread(50_007, 20, 5))]);
        let switches = |voluntary, involuntary| Some(Switches { voluntary, involuntary });
        assert_eq!(same.since(&before), Some(Used { ran_ns: 507, switches: switches(4, 3) }));
        let other = process(103, &[(1, thread(1_500, 14, 1)), (3, thread(9, 6, 4))]);
        let used = Used { ran_ns: 30_000_000, switches: switches(10, 4) };
        assert_eq!(other.since(&before), Some(used));
        let fewer = process(103, &[(1, thread(1_500, 14, 1))]);
        let used = Used { ran_ns: 30_000_000, switches: switches(4, 0) };
        assert_eq!(fewer.since(&before), Some(used));
        let bare = process(105, &[]);
        assert_eq!(bare.since(&bare), Some(Used { ran_ns: 0, switches: None }));
        assert_eq!(Process { started_ticks: 8, ..same }.since(&before), None);
    }

    /// Goal: the fields are parsed correctly for any name of the process.
    ///
    /// Method: a handwritten line with a name that looks like the other fields; a zombie; a name
    /// with control characters.
    ///
    /// Kills: splitting at the first parenthesis; a field off by one; sampling a zombie; a name
    /// that clears the screen.
    #[test]
    fn fields_are_parsed_after_any_name() {
        let line = "42 (a) R (b) S 1 42 42 0 -1 4194560 1 2 3 4 150 27 5 6 20 0 3 0 98765 1 2\n";
        let parsed = parse(line).unwrap();
        assert_eq!((parsed.name.as_str(), parsed.ran_ticks), ("a) R (b", 177));
        assert_eq!(parsed.started_ticks, 98_765);
        assert_eq!(parse(&line.replace(") S ", ") Z ")), None);
        assert_eq!(parse("42 (a"), None);
        let cleaned = parse(&line.replace("a) R (b", "\u{1b}[2J\n")).unwrap();
        assert_eq!((cleaned.name.as_str(), cleaned.ran_ticks), ("\u{fffd}[2J\u{fffd}", 177));
    }

    /// Goal: a process whose name is not UTF-8 is read like any other.
    ///
    /// Method: a program with such a name that waits for the end of its input.
    ///
    /// Kills: a name that hides the process or its memory.
    #[test]
    fn a_name_may_be_any_bytes() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};

        let directory = std::env::temp_dir().join(format!("loadtest-name-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join(OsStr::from_bytes(b"c\xffat"));
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|place| place.join("cat"))
            .find(|path| path.exists());
        std::os::unix::fs::symlink(found.expect("there is a cat"), &program).unwrap();
        let mut child = Command::new(&program);
        // A multi-call binary selects its function by the first argument.
        let mut child = child.arg0("cat").stdin(Stdio::piped()).spawn().unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let process = Process::read(child.id()).unwrap();
        let memory = crate::host::procfs::resident_bytes(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(process.name, "c\u{fffd}at");
        assert!(process.threads[&child.id()].switches.is_some(), "{process:?}");
        assert!(memory.is_some());
    }

    /// Goal: a process is read with all its threads, and a missing process is `None`.
    ///
    /// Method: this process, with a parked thread; pid 0, which `/proc` never lists.
    ///
    /// Kills: reading the main thread only; unwrapping a read.
    #[test]
    fn this_process_has_threads() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let parked = std::thread::spawn(move || _ = stopped.recv());
        let process = Process::read(std::process::id()).unwrap();
        assert!(process.threads.len() >= 2, "{process:?}");
        let first = process.threads[&std::process::id()];
        assert!(first.time.unwrap().ran_ns > 0 && first.switches.is_some(), "{first:?}");
        drop(stop);
        parked.join().unwrap();
        assert_eq!(Process::read(0), None);
    }
}
