//! The checkup as a table.

use std::fmt::Write as _;

use crate::base::figures::{bytes, grouped, time_us};
use crate::doctor::checkup::{CandidateFound, Checkup, LimitsFound, TargetFound};
use crate::doctor::killed::KilledServer;
use crate::doctor::machine::{LockedMemory, Machine};

/// Width of the column of names, after that of sections.
const NAME_WIDTH: usize = 16;

pub(super) fn render(checkup: &Checkup) -> String {
    let mut sections = vec![header(checkup)];
    sections.extend(checkup.driver.candidates.iter().map(candidate));
    sections.push(limits(&checkup.limits, checkup.connections, &checkup.machine));
    sections.push(sandbox(checkup));
    sections.push(sysctls(&checkup.machine));
    sections.extend(checkup.target.as_ref().map(target));
    sections.push(verdict(checkup));
    sections.join("\n")
}

fn header(checkup: &Checkup) -> String {
    let driver = match (&checkup.driver.used, &checkup.driver.error) {
        (Some(used), _) => format!("driver {}", used.headline()),
        (None, error) => format!("no driver: {}", error.as_deref().unwrap_or("unknown")),
    };
    let mut text = format!("ringloop loadtest {}   doctor   {driver}\n", checkup.tool.version);
    if let Some(used) = &checkup.driver.used {
        let _ = writeln!(text, "{}", used.with_detail());
    }
    text
}

fn candidate(found: &CandidateFound) -> String {
    let state = match &found.untried {
        Some(why) => format!("not tried, {why}"),
        None if found.works => "works".to_owned(),
        None => "cannot be used".to_owned(),
    };
    let mut text = format!("{:<13}{state}\n", found.kind);
    for step in &found.steps {
        let _ = write!(text, "             {:<9}{}", step.outcome, step.name);
        match &step.error {
            Some(error) => writeln!(text, ": {error}"),
            None => writeln!(text),
        }
        .expect("a string takes everything");
    }
    text
}

fn limits(limits: &LimitsFound, connections: u32, machine: &Machine) -> String {
    let count = grouped(connections.into());
    let files = format!(
        "soft {}, hard {}; {count} connections need {}",
        grouped(limits.files_soft),
        grouped(limits.files_hard),
        grouped(limits.files_needed)
    );
    let ports = match (limits.ports, limits.ports_available) {
        (Some((low, high)), Some(available)) => format!(
            "{} for each source address ({low} to {high}); {count} connections need {}",
            grouped(available),
            grouped(limits.ports_needed)
        ),
        _ if limits.ports_needed == 0 => "none needed".to_owned(),
        _ => "unknown".to_owned(),
    };
    let locked = machine.locked_memory.as_ref().map(|LockedMemory { soft, hard }| {
        let shown = |limit: &Option<u64>| limit.map_or("unlimited".to_owned(), bytes);
        format!("soft {}, hard {}", shown(soft), shown(hard))
    });
    let memory = match machine.cgroup_memory_bytes {
        Some(limit) => Some(format!("at most {} in this control group", bytes(limit))),
        None if machine.has_procfs => Some("no limit of a control group found".to_owned()),
        None => None,
    };
    let processors = match (&machine.cpus_allowed, machine.cpus) {
        (Some(list), Some(count)) => Some(format!("{list} allowed, {count} at a time")),
        (Some(list), None) => Some(format!("{list} allowed")),
        (None, count) => count.map(|count| format!("{count} at a time")),
    };
    section(
        "Limits",
        &[
            ("open files", Some(files)),
            ("local ports", Some(ports)),
            ("locked memory", locked),
            ("memory", memory),
            ("processors", processors),
        ],
    )
}

fn sandbox(checkup: &Checkup) -> String {
    let machine = &checkup.machine;
    let clock = machine.monotonic_offset.as_deref().map(|offset| match offset {
        "0 0" => "clocks of the machine".to_owned(),
        offset => {
            let seconds = offset.split(' ').next().unwrap_or(offset);
            format!("monotonic clock shifted by {seconds} s; {}", timeouts(checkup))
        }
    });
    let seccomp = machine.seccomp.as_ref().map(|seccomp| match seccomp.filters {
        Some(count) if seccomp.mode == "filter" => format!("filter ({count} installed)"),
        _ => seccomp.mode.to_owned(),
    });
    let no_new_privs =
        machine.no_new_privs.map(|is_set| if is_set { "yes" } else { "no" }.to_owned());
    section(
        "Sandbox",
        &[
            ("kernel", machine.kernel.clone()),
            ("seccomp", seccomp),
            ("no_new_privs", no_new_privs),
            ("time namespace", clock),
            (
                "fork",
                Some("a child cannot use its parent's runtime, and builds its own".to_owned()),
            ),
            ("killed server", checkup.killed_server.as_ref().map(KilledServer::describe)),
        ],
    )
}

/// The form of timeouts that works in this time namespace.
fn timeouts(checkup: &Checkup) -> &'static str {
    let uring = checkup.driver.used.as_ref().filter(|used| used.kind == "io_uring");
    match uring.map(|used| used.detail.contains("relative timeouts")) {
        Some(true) => {
            "this kernel uses another clock for absolute timeouts, so relative ones are used"
        }
        Some(false) => "absolute timeouts are on time",
        None => "epoll's timeouts are not affected",
    }
}

fn sysctls(machine: &Machine) -> String {
    let mut text = String::new();
    for (index, (name, value)) in machine.sysctls.iter().enumerate() {
        let label = if index == 0 { "Sysctls" } else { "" };
        let missing = if machine.has_procfs { "not there" } else { "unknown" };
        let value = value.as_deref().unwrap_or(missing);
        let _ = writeln!(text, "{label:<13}{name:<32}{value}");
    }
    text
}

fn target(target: &TargetFound) -> String {
    let outcome = match (target.connect_us, &target.error) {
        (Some(us), _) => format!("connected in {}", time_us(us)),
        (None, error) => error.clone().unwrap_or_default(),
    };
    section("Target", &[("url", Some(target.url.clone())), ("tried", Some(outcome))])
}

fn verdict(checkup: &Checkup) -> String {
    let mut text = String::new();
    let lines = |text: &mut String, label: &str, lines: &[String]| {
        for line in lines {
            let _ = writeln!(text, "{label:<13}{line}");
        }
    };
    lines(&mut text, "Problem", &checkup.problems);
    lines(&mut text, "Advice", &checkup.advice);
    let count = grouped(checkup.connections.into());
    let _ = match checkup.exit_code {
        0 => writeln!(text, "a run with {count} connections is possible"),
        code => writeln!(text, "a run with {count} connections is not possible (exit {code})"),
    };
    text
}

fn section(title: &str, rows: &[(&str, Option<String>)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in rows.iter().enumerate() {
        let label = if index == 0 { title } else { "" };
        let value = value.as_deref().unwrap_or("unknown");
        let _ = writeln!(text, "{label:<13}{name:<NAME_WIDTH$}{value}");
    }
    text
}
