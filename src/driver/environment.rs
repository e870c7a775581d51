//! The surroundings of this process that change how a loop behaves: namespaces, sandboxes, forks.
//!
//! Read from `/proc`; what cannot be read is unknown, never an error.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::sys::clock::NS_PER_S;
use crate::sys::fork;

/// The surroundings of this process. Part of a [`Diagnosis`](super::diagnosis::Diagnosis).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Environment {
    clock_offset_ns: Option<i64>,
    seccomp: Option<&'static str>,
    may_have_forked: bool,
}

impl Environment {
    pub(super) fn read() -> Environment {
        Environment::read_from(Path::new("/proc"), fork::may_have_happened())
    }

    fn read_from(proc: &Path, may_have_forked: bool) -> Environment {
        let text = |name| fs::read_to_string(proc.join(name)).ok();
        // The offsets are those of future children. They differ from ours between unshare(2) and
        // fork.
        let namespace = |name| fs::read_link(proc.join(name)).ok();
        let is_ours = namespace("self/ns/time") == namespace("self/ns/time_for_children");
        let offsets = text("self/timens_offsets").filter(|_| is_ours);
        Environment {
            clock_offset_ns: offsets.as_deref().and_then(monotonic_offset_ns),
            // Of the thread: a filter is usually installed for one thread.
            seccomp: text("thread-self/status").as_deref().and_then(seccomp),
            may_have_forked,
        }
    }

    /// How far the monotonic clock of this time namespace is ahead of that of the initial one.
    pub fn clock_offset_ns(&self) -> Option<i64> {
        self.clock_offset_ns
    }

    /// The mode of seccomp for the thread that was asked: `off`, `strict` or `filter`.
    pub fn seccomp(&self) -> Option<&'static str> {
        self.seccomp
    }

    /// Whether this process may have forked since its first runtime. A forked child cannot use the
    /// runtimes of its parent, and builds its own.
    pub fn may_have_forked(&self) -> bool {
        self.may_have_forked
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("environment\n")?;
        match self.clock_offset_ns {
            None => writeln!(f, "  time namespace: unknown")?,
            Some(0) => writeln!(f, "  time namespace: clocks of the machine")?,
            Some(ns) => {
                let seconds = ns as f64 / NS_PER_S as f64;
                writeln!(f, "  time namespace: monotonic clock shifted by {seconds} s")?;
            }
        }
        writeln!(f, "  sandbox: seccomp {}", self.seccomp.unwrap_or("unknown"))?;
        let has_forked = match self.may_have_forked {
            true => "this process has forked",
            false => "this process has not forked",
        };
        writeln!(f, "  fork: {has_forked}; a child cannot use its parent's runtime")?;
        writeln!(
            f,
            "  killed process: on io_uring the kernel frees its ports some milliseconds later"
        )
    }
}

fn monotonic_offset_ns(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<i64>().ok());
    let (seconds, ns) = (fields.next()??, fields.next()??);
    seconds.checked_mul(NS_PER_S as i64)?.checked_add(ns)
}

fn seccomp(status: &str) -> Option<&'static str> {
    match status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim() {
        "0" => Some("off"),
        "1" => Some("strict"),
        "2" => Some("filter"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the kernel's texts are read as it writes them, and others are unknown.
    /// Method: texts of both files. Kills: `boottime` taken for `monotonic`; a lost minus;
    /// `Seccomp_filters` taken for `Seccomp`.
    #[test]
    fn texts_of_the_kernel_are_read() {
        let offsets = |text| monotonic_offset_ns(text);
        let written = "monotonic           0         0\nboottime            7         0\n";
        assert_eq!(offsets(written), Some(0));
        assert_eq!(offsets("monotonic       86400         5\n"), Some(86_400_000_000_005));
        assert_eq!(offsets("monotonic         -30         0\n"), Some(-30_000_000_000));
        for unknown in ["", "boottime 1 1\n", "monotonic 1\n", "monotonic 9999999999999 0\n"] {
            assert_eq!(offsets(unknown), None, "{unknown:?}");
        }
        assert_eq!(seccomp("Seccomp_filters:\t3\nSeccomp:\t2\n"), Some("filter"));
        assert_eq!(seccomp("Seccomp:\t0\n"), Some("off"));
        assert_eq!(seccomp("Name:\tx\n"), None);
    }

    /// Goal: what is found is named.
    /// Method: an unknown environment and one with everything. Kills: a line that is left out.
    #[test]
    fn every_finding_is_named() {
        let unknown = Environment::read_from(Path::new("/nowhere"), false).to_string();
        assert!(unknown.contains("time namespace: unknown\n"), "{unknown}");
        assert!(unknown.contains("sandbox: seccomp unknown\n"), "{unknown}");
        assert!(unknown.contains("fork: this process has not forked"), "{unknown}");
        assert!(unknown.contains("killed process: "), "{unknown}");
        let environment = Environment {
            clock_offset_ns: Some(-1_500_000_000),
            seccomp: Some("filter"),
            may_have_forked: true,
        };
        let text = environment.to_string();
        assert!(text.contains("shifted by -1.5 s\n"), "{text}");
        assert!(text.contains("seccomp filter\n"), "{text}");
        assert!(text.contains("this process has forked; a child cannot"), "{text}");
    }
}
