//! Readings from `/proc` about the machine, this process and the server under test.
//!
//! Any reading may be missing (another kernel configuration, a container that hides a file): each
//! function returns `Option`, and the report shows "unknown" instead of guessing.

pub(crate) mod counters;
pub(crate) mod process;
pub(crate) mod sockets;

use std::fs;
use std::path::Path;

/// Processor time of one or more threads, from `schedstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) ran_ns: u64,
    /// Runnable, but waiting for a processor.
    pub(crate) waited_ns: u64,
}

impl CpuTime {
    /// The time used between `earlier` and this reading.
    pub(crate) fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            ran_ns: self.ran_ns.saturating_sub(earlier.ran_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }
}

/// Reads a file that contains the name of a process. A name may be any bytes: the kernel cuts it to
/// 15 bytes, possibly in the middle of a character.
fn read_with_name(path: impl AsRef<Path>) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Processor time of one thread of this process.
pub(crate) fn thread_time(thread_id: u32) -> Option<CpuTime> {
    read_schedstat(Path::new(&format!("/proc/self/task/{thread_id}/schedstat")))
}

fn read_schedstat(path: &Path) -> Option<CpuTime> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let ran_ns = fields.next()?.parse().ok()?;
    let waited_ns = fields.next()?.parse().ok()?;
    Some(CpuTime { ran_ns, waited_ns })
}

/// A numeric kernel setting.
pub(crate) fn sysctl(name: &str) -> Option<u64> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The id of the calling thread, as in `/proc/self/task`.
pub(crate) fn thread_id() -> Option<u32> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// Resident memory of the process `pid`.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = read_with_name(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Number of open descriptors of the process `pid`.
pub(crate) fn descriptors(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/fd");
    match fs::metadata(&path).ok()?.len() {
        0 => Some(fs::read_dir(&path).ok()?.count() as u64), // Linux before 6.2
        count => Some(count),
    }
}

/// Number of open descriptors of this process.
pub(crate) fn open_files() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(count.saturating_sub(1)) // the listing itself was one of them
}

/// The first and last port that `connect` may choose.
pub(crate) fn local_ports() -> Option<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut fields = text.split_ascii_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The release of the running kernel.
pub(crate) fn kernel() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(text.trim().to_owned())
}

/// The name of the processor.
pub(crate) fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    /// Goal: readings of this process are present and plausible.
    ///
    /// Method: read memory and ports of the test process, and the descriptors of a child. The child
    /// has written a byte, so it has opened all its files.
    ///
    /// Kills: reading kB as bytes; the size of a directory for the number of its entries; counting
    /// the descriptors of this process.
    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(thread_time(thread_id().unwrap()).is_some());
        assert!(resident_bytes(pid).unwrap() > 100 * 1024);
        let (low, high) = local_ports().unwrap();
        assert!(low < high);

        let mut cat = Command::new("cat");
        let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        cat.stdin.as_ref().unwrap().write_all(b"!").unwrap();
        cat.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let listed = fs::read_dir(format!("/proc/{}/fd", cat.id())).unwrap().count();
        assert!(listed >= 3);
        assert_eq!(descriptors(cat.id()), Some(listed as u64));
        drop(cat.stdin.take());
        cat.wait().unwrap();
    }

    /// Goal: a missing process is unknown, not a panic and not zero.
    ///
    /// Method: read pid 0, which `/proc` never lists.
    ///
    /// Kills: unwrapping a read; defaulting to zero.
    #[test]
    fn a_missing_process_is_unknown() {
        assert_eq!(descriptors(0), None);
        assert_eq!(resident_bytes(0), None);
    }
}
