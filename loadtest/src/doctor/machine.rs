//! Settings of this machine or container, from `/proc` and `/sys`.
//!
//! Any reading may be missing. That is not an error: the table shows "unknown". The root directory
//! is an argument, so that tests can simulate other machines.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::{fs, thread};

use serde::Serialize;

/// The settings that affect io_uring and many connections.
const SYSCTLS: [&str; 8] = [
    "kernel.io_uring_disabled",
    "kernel.io_uring_group",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.netfilter.nf_conntrack_max",
    "fs.file-max",
    "fs.nr_open",
];

/// Limits of control groups from this size on mean "no limit": v1 has no "max".
const NO_MEMORY_LIMIT: u64 = 1 << 60;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Without `/proc` most other fields are unknown.
    pub(crate) has_procfs: bool,
    pub(crate) kernel: Option<String>,
    /// The processors that this process may use, as the kernel lists them.
    pub(crate) cpus_allowed: Option<String>,
    /// Number of processors that it may use at a time, including quotas.
    pub(crate) cpus: Option<usize>,
    pub(crate) seccomp: Option<Seccomp>,
    pub(crate) no_new_privs: Option<bool>,
    /// Offset of the monotonic clock to the initial time namespace, as the kernel prints it:
    /// seconds and nanoseconds.
    pub(crate) monotonic_offset: Option<String>,
    pub(crate) locked_memory: Option<LockedMemory>,
    /// The lowest limit of this process's control groups.
    pub(crate) cgroup_memory_bytes: Option<u64>,
    pub(crate) sysctls: BTreeMap<&'static str, Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Seccomp {
    /// `off`, `strict` or `filter`.
    pub(crate) mode: &'static str,
    pub(crate) filters: Option<u64>,
}

/// In bytes; `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LockedMemory {
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

impl Machine {
    pub(crate) fn read(root: &Path) -> Machine {
        let status = fs::read_to_string(root.join("proc/self/status")).ok();
        let field = |name| status.as_deref().and_then(|status| field(status, name));
        Machine {
            has_procfs: status.is_some(),
            kernel: sysctl(root, "kernel.osrelease"),
            cpus_allowed: field("Cpus_allowed_list").map(str::to_owned),
            cpus: thread::available_parallelism().ok().map(usize::from),
            seccomp: field("Seccomp").and_then(|mode| seccomp(mode, field("Seccomp_filters"))),
            no_new_privs: field("NoNewPrivs").map(|value| value != "0"),
            monotonic_offset: monotonic_offset(root),
            locked_memory: locked_memory(root),
            cgroup_memory_bytes: cgroup_memory(root),
            sysctls: SYSCTLS.iter().map(|name| (*name, sysctl(root, name))).collect(),
        }
    }

    /// The value of a numeric setting.
    pub(crate) fn number(&self, sysctl: &str) -> Option<u64> {
        self.sysctls.get(sysctl)?.as_deref()?.parse().ok()
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

fn seccomp(mode: &str, filters: Option<&str>) -> Option<Seccomp> {
    let mode = match mode {
        "0" => "off",
        "1" => "strict",
        "2" => "filter",
        _ => return None,
    };
    Some(Seccomp { mode, filters: filters.and_then(|filters| filters.parse().ok()) })
}

fn monotonic_offset(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("proc/self/timens_offsets")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    Some(line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

fn sysctl(root: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(root.join("proc/sys").join(name.replace('.', "/"))).ok()?;
    // Some settings are several numbers with tabs in between.
    Some(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

fn locked_memory(root: &Path) -> Option<LockedMemory> {
    let text = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    let mut fields = line.split_ascii_whitespace();
    let mut limit = || match fields.next()? {
        "unlimited" => Some(None),
        bytes => Some(Some(bytes.parse().ok()?)),
    };
    Some(LockedMemory { soft: limit()?, hard: limit()? })
}

/// Reads the limits of this process's groups and of all parent groups, in both versions of control
/// groups. In a container the path may be one of the host, of which only some parents exist.
fn cgroup_memory(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut limits = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (_number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let (base, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let inside: Vec<_> = Path::new(path)
            .components()
            .filter(|component| matches!(component, Component::Normal(_)))
            .collect();
        for depth in 0..=inside.len() {
            let group =
                root.join(base).join(inside[..depth].iter().collect::<std::path::PathBuf>());
            let limit = fs::read_to_string(group.join(file)).ok();
            limits.extend(limit.and_then(|limit| limit.trim().parse::<u64>().ok()));
        }
    }
    limits.into_iter().filter(|limit| *limit < NO_MEMORY_LIMIT).min()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory that simulates the root of a machine. Removed on drop.
    #[derive(Debug)]
    pub(in crate::doctor) struct Root(PathBuf);

    impl Root {
        pub(in crate::doctor) fn new(files: &[(&str, &str)]) -> Root {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed); // unique, ordered with nothing
            let name = format!("loadtest-root-{}-{number}", std::process::id());
            let root = Root(std::env::temp_dir().join(name));
            fs::create_dir_all(&root.0).unwrap();
            for (path, text) in files {
                let path = root.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            root
        }

        pub(in crate::doctor) fn read(&self) -> Machine {
            Machine::read(&self.0)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Goal: every reading uses the right file and field.
    ///
    /// Method: a machine with all files, in the kernel's format.
    ///
    /// Kills: a field whose name is the prefix of another one; swapped columns of a limit; tabs in
    /// a port range.
    #[test]
    fn every_setting_of_a_container_is_read() {
        let status = "Name:\tx\nNoNewPrivs:\t1\nSeccomp_filters:\t3\nSeccomp:\t2\n\
                      Cpus_allowed:\t3\nCpus_allowed_list:\t0-1\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n\
                      Max locked memory         65536                unlimited            bytes\n";
        let root = Root::new(&[
            ("proc/self/status", status),
            ("proc/self/limits", limits),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "4096000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("proc/self/timens_offsets", "monotonic       86400        5\nboottime    1   0\n"),
            ("proc/sys/kernel/osrelease", "9.9.9\n"),
            ("proc/sys/kernel/io_uring_disabled", "2\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ]);
        let machine = root.read();
        assert!(machine.has_procfs);
        assert_eq!(machine.kernel.as_deref(), Some("9.9.9"));
        assert_eq!(machine.cpus_allowed.as_deref(), Some("0-1"));
        assert_eq!(machine.seccomp, Some(Seccomp { mode: "filter", filters: Some(3) }));
        assert_eq!(machine.no_new_privs, Some(true));
        assert_eq!(machine.monotonic_offset.as_deref(), Some("86400 5"));
        let locked = LockedMemory { soft: Some(65_536), hard: None };
        assert_eq!(machine.locked_memory, Some(locked));
        assert_eq!(machine.cgroup_memory_bytes, Some(4_096_000), "the group above");
        assert_eq!(machine.number("kernel.io_uring_disabled"), Some(2));
        let ports = machine.sysctls["net.ipv4.ip_local_port_range"].as_deref();
        assert_eq!(ports, Some("32768 60999"));
        assert_eq!(machine.sysctls["net.netfilter.nf_conntrack_max"], None);
    }

    /// Goal: control groups of version 1 are read, including their value for "no limit".
    ///
    /// Method: a container whose path exists only on the host; a group without a limit.
    ///
    /// Kills: reading the files of version 2 only; a limit of nine exabytes.
    #[test]
    fn control_groups_of_version_1_are_read() {
        let group = ("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/host/path\n0::/\n");
        let limit = |text| ("sys/fs/cgroup/memory/memory.limit_in_bytes", text);
        let limited = Root::new(&[group, limit("1000000\n")]).read();
        assert_eq!(limited.cgroup_memory_bytes, Some(1_000_000));
        let unlimited = Root::new(&[group, limit("9223372036854771712\n")]).read();
        assert_eq!(unlimited.cgroup_memory_bytes, None);
    }

    /// Goal: a machine without `/proc` is described as far as possible.
    ///
    /// Method: an empty root.
    ///
    /// Kills: an unwrapped read; zeros in place of unknown values.
    #[test]
    fn a_machine_without_procfs_is_unknown() {
        let machine = Root::new(&[]).read();
        assert!(!machine.has_procfs);
        assert_eq!((machine.kernel, machine.seccomp, machine.no_new_privs), (None, None, None));
        assert!(machine.sysctls.values().all(Option::is_none));
    }
}
