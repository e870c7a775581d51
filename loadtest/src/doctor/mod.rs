//! `loadtest doctor`: checks whether a run is possible on this machine, without running.
//!
//! The result is one value, [`Checkup`], which is rendered as text or as JSON. `host::preflight`
//! decides whether a run would be refused, and the driver is the one that a worker would use. There
//! are no separate rules here.

pub(crate) mod checkup;
pub(crate) mod killed;
pub(crate) mod machine;
pub(crate) mod text;

use std::path::Path;
use std::time::{Duration, Instant};

use ringloop::diagnosis::{Candidate, Outcome};

use crate::base::driver::{Driver, DriverUsed};
use crate::base::exit::{Error, Exit};
use crate::base::figures::grouped;
use crate::doctor::checkup::{
    CandidateFound, Checkup, DriverFound, LimitsFound, StepFound, TargetFound,
};
use crate::doctor::killed::KilledServer;
use crate::doctor::machine::Machine;
use crate::host::preflight::{self, Limits};
use crate::host::sys::FileLimit;
use crate::plan::defaults::{self, CONNECTS_IN_FLIGHT_MAX};
use crate::plan::target_url::Url;
use crate::report::model::tool::Tool;
use crate::worker::thread;

/// Limit of the wait for the target.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Workers of the planned run: one, which is the default.
const THREADS: u32 = 1;

/// Options of the doctor.
#[derive(Clone, Debug)]
pub(crate) struct DoctorOptions {
    /// Target of a test connection.
    pub(crate) url: Option<Url>,
    /// Connections of the planned run.
    pub(crate) connections: Option<u32>,
    pub(crate) driver: Driver,
}

/// Runs all checks, including the start and kill of a built-in server.
pub(crate) fn examine(options: &DoctorOptions) -> Result<Checkup, Error> {
    let mut checkup = look(options)?;
    if let (Ok(program), Some(_)) = (std::env::current_exe(), &checkup.driver.used) {
        checkup.killed_server = Some(KilledServer::measure(&program, options.driver));
    }
    Ok(checkup)
}

/// Runs all other checks. A check that cannot be made is an error.
fn look(options: &DoctorOptions) -> Result<Checkup, Error> {
    let connections = defaults::connections(options.connections, options.url.as_ref());
    let files_soft = FileLimit::read()
        .map_err(|error| Error::could_not_run(format!("no limit of open files: {error}")))?
        .soft;
    let mut limits = Limits::read()?;
    let is_unix = options.url.as_ref().is_some_and(Url::is_unix);
    if is_unix {
        limits.ports = None;
    }
    let diagnosis = thread::builder(options.driver, connections).diagnose();
    let used = diagnosis.verdict().map(|info| DriverUsed::new(info, options.driver));
    let mut checkup = Checkup {
        schema_version: 1,
        tool: Tool::this(),
        connections,
        driver: DriverFound {
            used: used.as_ref().ok().cloned(),
            error: used.as_ref().err().map(ToString::to_string),
            candidates: diagnosis.candidates().map(CandidateFound::new).into(),
        },
        limits: LimitsFound {
            files_soft,
            files_hard: limits.files.hard,
            files_needed: preflight::files_needed(&limits, connections, THREADS),
            ports: limits.ports,
            ports_available: limits.ports_available(),
            ports_needed: if is_unix { 0 } else { connections.into() },
        },
        machine: Machine::read(Path::new("/")),
        killed_server: None,
        target: options.url.as_ref().map(TargetFound::new),
        problems: Vec::new(),
        advice: Vec::new(),
        exit_code: Exit::Ok.code(),
    };
    let refusal = preflight::check(&limits, connections, THREADS, false).err();
    (checkup.problems, checkup.exit_code) = checkup.judge(refusal);
    let of_candidates = diagnosis.candidates().into_iter().filter_map(Candidate::advice);
    checkup.advice = of_candidates.map(str::to_owned).collect();
    checkup.advice.dedup();
    // The error of an explicitly selected driver contains the advice already.
    checkup.advice.retain(|line| !checkup.problems.iter().any(|problem| problem.contains(line)));
    checkup.advice.extend(checkup.hints());
    Ok(checkup)
}

impl Checkup {
    pub(crate) fn to_text(&self) -> String {
        text::render(self)
    }

    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("all keys are strings");
        text.push('\n');
        text
    }

    /// The errors of a run, and the exit code of the first one that it would meet.
    fn judge(&self, refusal: Option<Error>) -> (Vec<String>, u8) {
        let driver = self.driver.error.clone();
        let target = self.target.as_ref().and_then(|target| target.error.clone());
        let found = [
            refusal.map(|error| (error.line, error.exit)),
            driver.map(|line| (line, Exit::CouldNotRun)),
            target.map(|line| (line, Exit::Unreachable)),
        ];
        let found: Vec<(String, Exit)> = found.into_iter().flatten().collect();
        let exit = found.first().map_or(Exit::Ok, |(_, exit)| *exit);
        (found.into_iter().map(|(line, _)| line).collect(), exit.code())
    }

    fn hints(&self) -> Vec<String> {
        let machine = &self.machine;
        let connections = u64::from(self.connections);
        let mut hints = Vec::new();
        if !machine.has_procfs {
            hints.push("/proc is missing: most settings of this machine are unknown".to_owned());
        }
        let seccomp = machine.seccomp.as_ref().map(|seccomp| seccomp.mode);
        let is_refused = self.driver.candidates.iter().any(|found| found.failure.is_some());
        match (machine.number("kernel.io_uring_disabled"), is_refused) {
            (Some(2), _) => hints.push(
                "kernel.io_uring_disabled is 2: no process may use io_uring; 0 allows it"
                    .to_owned(),
            ),
            (Some(1), _) => hints.push(
                "kernel.io_uring_disabled is 1: only the group kernel.io_uring_group and \
                 CAP_SYS_ADMIN may use io_uring; 0 allows it"
                    .to_owned(),
            ),
            (Some(0), true) if seccomp == Some("filter") => hints.push(
                "kernel.io_uring_disabled is 0 and a seccomp filter is active: the filter probably \
                 refuses io_uring"
                    .to_owned(),
            ),
            _ => {}
        }
        let mut at_least = |sysctl: &str, least: u64, what: &str| {
            if let Some(value) = machine.number(sysctl).filter(|value| *value < least) {
                let (value, least) = (grouped(value), grouped(least));
                hints.push(format!("{sysctl} is {value}, {what}: set it to {least} or more"));
            }
        };
        let in_flight = u64::from(CONNECTS_IN_FLIGHT_MAX).min(connections);
        at_least("net.core.somaxconn", in_flight, "less than the connects in flight");
        at_least(
            "net.netfilter.nf_conntrack_max",
            connections,
            "less than the connections to track",
        );
        at_least(
            "fs.nr_open",
            self.limits.files_needed,
            "less than this process needs (it caps `ulimit -Hn`)",
        );
        let both_ends = self.limits.files_needed + connections;
        at_least("fs.file-max", both_ends, "less than both ends of the connections need");
        if machine.cpus == Some(1) {
            hints.push(
                "one processor: generator and server share it, so the figures describe both"
                    .to_owned(),
            );
        }
        hints
    }
}

impl CandidateFound {
    fn new(candidate: &Candidate) -> CandidateFound {
        let steps = candidate.steps().iter().map(|step| StepFound {
            name: step.name().to_owned(),
            outcome: step.outcome().word(),
            error: match step.outcome() {
                Outcome::Failed(why) => Some(why.clone()),
                _ => None,
            },
        });
        CandidateFound {
            kind: candidate.kind().to_string(),
            works: candidate.works(),
            untried: candidate.untried().map(str::to_owned),
            failure: candidate.failure().map(str::to_owned),
            steps: steps.collect(),
        }
    }
}

impl TargetFound {
    fn new(url: &Url) -> TargetFound {
        let mut found =
            TargetFound { url: url.to_string(), address: None, connect_us: None, error: None };
        match url.resolve(CONNECT_TIMEOUT) {
            Err(error) => found.error = Some(error.line),
            Ok(address) => {
                let begun = Instant::now();
                match address.try_connect(CONNECT_TIMEOUT) {
                    Ok(()) => found.connect_us = Some(begun.elapsed().as_secs_f64() * 1e6),
                    Err(error) => {
                        found.error = Some(format!("no answer from {url}: {error}"));
                    }
                }
                found.address = Some(address.to_string());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::machine::tests::Root;
    use super::*;
    use crate::base::driver::Driver;

    fn healthy(root: &Root) -> Checkup {
        let options = DoctorOptions { url: None, connections: Some(1_000), driver: Driver::Epoll };
        let mut checkup = look(&options).unwrap();
        checkup.machine = root.read();
        checkup.machine.cpus = Some(2);
        checkup
    }

    fn refusal() -> Option<Error> {
        Some(Error::new(Exit::Preflight, "too few"))
    }

    /// Goal: the exit code is that of a run, which checks its limits, then the driver, then the
    /// target; and every problem is reported.
    ///
    /// Method: no problem, then one, two and three of them.
    ///
    /// Kills: a target that hides a limit; reporting the first problem only; 0 for a broken
    /// machine.
    #[test]
    fn the_first_problem_decides_the_exit_code() {
        let mut checkup = healthy(&Root::new(&[]));
        assert_eq!(checkup.judge(None), (vec![], 0));
        checkup.target = Some(TargetFound {
            url: String::new(),
            address: None,
            connect_us: None,
            error: Some("unreachable".to_owned()),
        });
        assert_eq!(checkup.judge(None).1, 3);
        checkup.driver.error = Some("none".to_owned());
        assert_eq!(checkup.judge(None).1, 1);
        let (problems, code) = checkup.judge(refusal());
        assert_eq!((problems.len(), code), (3, 4));
    }

    /// Goal: each setting that is too low for the run has one hint, and a sufficient setting has
    /// none.
    ///
    /// Method: machines that differ in one setting, at the limit and below.
    ///
    /// Kills: an off-by-one; an unconditional hint; a hint for an unknown value.
    #[test]
    fn hints_name_the_setting() {
        let status = |seccomp| ("proc/self/status", seccomp);
        let hints = |path, text| {
            let root = Root::new(&[status("Seccomp:\t2\n"), (path, text)]);
            healthy(&root).hints()
        };
        for (path, enough, low, word) in [
            ("proc/sys/kernel/io_uring_disabled", "0", "1", "io_uring_group"),
            ("proc/sys/kernel/io_uring_disabled", "0", "2", "no process"),
            ("proc/sys/net/core/somaxconn", "256", "255", "net.core.somaxconn is 255"),
            ("proc/sys/net/netfilter/nf_conntrack_max", "1000", "999", "1 000 or more"),
            ("proc/sys/fs/nr_open", "1000000", "999", "ulimit -Hn"),
            ("proc/sys/fs/file-max", "9223372036854775807", "1999", "both ends"),
        ] {
            assert_eq!(hints(path, enough), [""; 0], "{path}");
            let lines = hints(path, low);
            assert!(lines.len() == 1 && lines[0].contains(word), "{path}: {lines:?}");
        }
    }

    /// Goal: a hint names the seccomp filter as the probable cause of a refusal if the sysctl
    /// allows io_uring.
    ///
    /// Method: a refusal with and without a filter.
    ///
    /// Kills: a hint about a missing filter.
    #[test]
    fn a_filter_is_suspected_when_there_is_one() {
        let allowed = ("proc/sys/kernel/io_uring_disabled", "0");
        for (seccomp, is_suspected) in [("Seccomp:\t2\n", true), ("Seccomp:\t0\n", false)] {
            let mut checkup = healthy(&Root::new(&[("proc/self/status", seccomp), allowed]));
            checkup.driver.candidates[0].failure = Some("refused".to_owned());
            let hints = checkup.hints().concat();
            assert_eq!(hints.contains("the filter probably"), is_suspected, "{hints}");
        }
    }

    /// Goal: without `/proc`, the table reports that and shows unknown values.
    ///
    /// Method: an empty root.
    ///
    /// Kills: zeros or blanks in place of unknown values.
    #[test]
    fn a_missing_procfs_is_reported() {
        let mut checkup = healthy(&Root::new(&[]));
        checkup.advice = checkup.hints();
        let text = checkup.to_text();
        assert!(text.contains("/proc is missing"), "{text}");
        for label in ["seccomp         ", "memory          ", "fs.nr_open                      "] {
            assert!(text.contains(&format!("{label}unknown\n")), "{label}:\n{text}");
        }
    }
}
