//! Check of this machine's limits before a run opens anything.
//!
//! [`Limits::read`] reads the machine's limits. [`check`] is plain arithmetic, so that tests can
//! pass limits that no test machine has.

use crate::base::exit::{Error, Exit};
use crate::base::figures::grouped;
use crate::host::procfs;
use crate::host::sys::FileLimit;

/// A worker's ring, its wake fd, and a second pair that a driver may need.
const FILES_PER_WORKER: u64 = 4;

/// The report file, files of `/proc` while they are read, and the pipes of the built-in server.
const FILES_SPARE: u64 = 8;

/// Limits of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) files: FileLimit,
    /// Descriptors that this process has open.
    pub(crate) files_open: u64,
    /// First and last port for outgoing connections, if known.
    pub(crate) ports: Option<(u16, u16)>,
    /// Number of source addresses. Each one has the whole port range.
    pub(crate) sources: u64,
}

impl Limits {
    /// Raises the soft limit of open files to the hard one, then reads all limits.
    pub(crate) fn read() -> Result<Limits, Error> {
        let files = FileLimit::raise().map_err(|error| {
            Error::could_not_run(format!("cannot raise the limit of open files: {error}"))
        })?;
        Ok(Limits {
            files,
            files_open: procfs::open_files().unwrap_or(3),
            ports: procfs::local_ports(),
            sources: 1,
        })
    }

    pub(crate) fn ports_available(&self) -> Option<u64> {
        self.ports.map(|(low, high)| u64::from(high.saturating_sub(low)) + 1)
    }
}

/// Connections of an admitted run, and its use of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) connections: u32,
    pub(crate) files_needed: u64,
    pub(crate) files_limit: u64,
    pub(crate) ports_available: Option<u64>,
}

/// Descriptors needed for `connections`, including those of the process itself.
pub(crate) fn files_needed(limits: &Limits, connections: u32, threads: u32) -> u64 {
    let of_workers = FILES_PER_WORKER * u64::from(threads);
    u64::from(connections) + limits.files_open + of_workers + FILES_SPARE
}

/// Admits a run with `requested` connections, or with as many as the limits allow if `fit` is set.
pub(crate) fn check(
    limits: &Limits,
    requested: u32,
    threads: u32,
    fit: bool,
) -> Result<Admission, Error> {
    let files_limit = limits.files.soft;
    let files_own = files_needed(limits, 0, threads);
    let by_files = files_limit.saturating_sub(files_own);
    let ports_available = limits.ports_available();
    // All connections have the same target, so each one needs its own port of a source address.
    let by_ports = ports_available.map_or(u64::MAX, |ports| ports * limits.sources);
    let most = by_files.min(by_ports);

    let admission = |connections: u32| Admission {
        connections,
        files_needed: files_needed(limits, connections, threads),
        files_limit,
        ports_available,
    };
    if u64::from(requested) <= most {
        return Ok(admission(requested));
    }
    if fit && most >= u64::from(threads) {
        return Ok(admission(u32::try_from(most).expect("less than requested")));
    }

    let mut reasons = Vec::new();
    if u64::from(requested) > by_files {
        reasons.push(format!(
            "{} connections need {} file descriptors ({} of them our own), the limit is {} \
             (hard {}; raise it with `ulimit -Hn` as root or LimitNOFILE=)",
            grouped(requested.into()),
            grouped(files_needed(limits, requested, threads)),
            files_own,
            grouped(files_limit),
            grouped(limits.files.hard),
        ));
    }
    if let (Some((low, high)), true) = (limits.ports, u64::from(requested) > by_ports) {
        reasons.push(format!(
            "{} connections need as many local ports, there are {} ({low} to {high}{}; widen \
             net.ipv4.ip_local_port_range or give more addresses with --source)",
            grouped(requested.into()),
            grouped(by_ports),
            if limits.sources > 1 {
                format!(" of {} addresses", grouped(limits.sources))
            } else {
                String::new()
            },
        ));
    }
    let remedy = match most {
        most if most < u64::from(threads) => "none fit".to_owned(),
        most => format!("{} connections fit: run with --fit or -c {most}", grouped(most)),
    };
    Err(Error::new(Exit::Preflight, format!("{}; {remedy}", reasons.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(hard: u64, ports: (u16, u16)) -> Limits {
        Limits {
            files: FileLimit { soft: hard, hard },
            files_open: 5,
            ports: Some(ports),
            sources: 1,
        }
    }

    /// Goal: an exact fit is admitted, and one more connection is refused with the exact numbers.
    ///
    /// Method: 5 open, 4 for the worker, 8 spare: 17 of 64 are not available to connections.
    ///
    /// Kills: an off-by-one in either direction; ignoring open descriptors.
    #[test]
    fn files_are_counted_exactly() {
        let limits = limits(64, (32_768, 60_999));
        let admission = check(&limits, 47, 1, false).unwrap();
        assert_eq!((admission.connections, admission.files_needed), (47, 64));
        let refused = check(&limits, 48, 1, false).unwrap_err();
        assert_eq!(refused.exit, Exit::Preflight);
        for number in
            ["48 connections", "65 file descriptors", "(17 of", "is 64", "47 connections fit"]
        {
            assert!(refused.line.contains(number), "{number}: {}", refused.line);
        }
    }

    /// Goal: ports are a separate limit.
    ///
    /// Method: a high limit of files and 100 ports; 100 and 101 connections.
    ///
    /// Kills: counting the range without its last port; checking files only.
    #[test]
    fn ports_are_counted_exactly() {
        let limits = limits(1_000_000, (50_000, 50_099));
        assert!(check(&limits, 100, 1, false).is_ok());
        let refused = check(&limits, 101, 1, false).unwrap_err();
        assert!(refused.line.contains("there are 100 (50000 to 50099;"), "{}", refused.line);
        let more = Limits { sources: 3, ..limits };
        assert!(check(&more, 300, 1, false).is_ok());
        let refused = check(&more, 301, 1, false).unwrap_err();
        assert!(
            refused.line.contains("are 300 (50000 to 50099 of 3 addresses"),
            "{}",
            refused.line
        );
    }

    /// Goal: `--fit` reduces the connections to the limits, and refuses less than one per worker.
    ///
    /// Method: a low limit of files, then a lower one.
    ///
    /// Kills: admitting the requested number; a run with no connections.
    #[test]
    fn fit_reduces_connections_to_the_limits() {
        let ports = (32_768, 60_999);
        assert_eq!(check(&limits(64, ports), 10_000, 1, true).unwrap().connections, 47);
        assert_eq!(check(&limits(1 << 20, ports), 40_000, 1, true).unwrap().connections, 28_232);
        assert!(check(&limits(17, ports), 10, 1, true).unwrap_err().line.ends_with("none fit"));
        assert_eq!(check(&limits(23, ports), 10, 2, true).unwrap().connections, 2);
        assert!(check(&limits(22, ports), 10, 2, true).is_err());
    }
}
