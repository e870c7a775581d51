//! Targets that are killed during a run, with and without a restart.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::{PROGRAM, Running};

/// A `loadtest serve` that can be restarted at the same address.
struct Target {
    child: Child,
    addr: String,
}

impl Target {
    fn start(kind: &str) -> Target {
        Target::at(kind, "127.0.0.1:0")
    }

    fn at(kind: &str, addr: &str) -> Target {
        let mut child = Command::new(PROGRAM)
            .args(["serve", kind, "--listen", addr])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("listening on ").expect("the address").to_owned();
        Target { child, addr }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs against a target that is killed at the first progress line, and restarted when the run
/// reports the outage.
fn with_restart(kind: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut target = Target::start(kind);
    let scheme = if kind == "http" { "http" } else { "tcp" };
    let url = format!("{scheme}://{}", target.addr);
    let common = ["--warmup", "0", "--progress", "plain", "--format", "json", &url];
    let mut run = Running::start(&[&common[..], arguments].concat());
    run.wait_for_line("  p50 ");
    target.kill();
    run.wait_for_line("  DOWN ");
    let _again = Target::at(kind, &target.addr);
    let (status, text) = run.end();
    (status.code(), serde_json::from_str(&text).unwrap())
}

/// Like [`with_restart`], but the target is not restarted.
fn without_restart(arguments: &[&str]) -> (Option<i32>, Value) {
    let mut target = Target::start("http");
    let url = format!("http://{}", target.addr);
    let common = ["--warmup", "0", "--progress", "plain", "--format", "json", &url];
    let mut run = Running::start(&[&common[..], arguments].concat());
    run.wait_for_line("  p50 ");
    target.kill();
    let (status, text) = run.end();
    (status.code(), serde_json::from_str(&text).unwrap())
}

fn number(report: &Value, place: &str) -> f64 {
    report.pointer(place).and_then(Value::as_f64).unwrap_or_else(|| panic!("{place}: {report:#}"))
}

/// Goal: after a restart of the target the run continues, for every kind of load, and the outage is
/// in the report.
///
/// Method: our own servers, killed and restarted at the same address: a closed loop, a schedule
/// with each kind of dispatch, and an echo with `--reconnect always`. The runs end when their
/// messages are done.
///
/// Kills: giving up after some failed connects; a shortened schedule; an outage with wrong times;
/// an outage for each connection.
#[test]
fn a_restarted_target_is_found_again() {
    let paced = ["-c", "20", "-R", "1k", "-n", "6k"];
    let per_conn = [&paced[..], &["--dispatch", "per-conn", "-t", "2"]].concat();
    let closed = ["-c", "4", "--think", "5ms", "-n", "4k"];
    let always = [&closed[..], &["--reconnect", "always"]].concat();
    for (kind, load, count) in [
        ("http", &paced[..], 6_000.0),
        ("http", &per_conn, 6_000.0),
        ("http", &closed, 4_000.0),
        ("echo", &always, 4_000.0),
    ] {
        let (code, report) = with_restart(kind, load);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(number(&report, "/load/scheduled"), count);
        assert_eq!(number(&report, "/load/never_sent"), 0.0);
        let failed = number(&report, "/load/errors/total");
        assert_eq!(number(&report, "/load/completed") + failed, count, "{load:?}");
        assert!(report["gave_up"].is_null() && report["target_lost"] == false, "{report:#}");
        let outages = report["outages"].as_array().unwrap();
        assert_eq!(outages.len(), 1, "{outages:?}");
        let [from, failure, recovered, length] =
            ["from_s", "first_failure_s", "recovered_s", "length_s"]
                .map(|name| outages[0][name].as_f64().unwrap());
        assert!(0.0 < from && from <= failure && failure < recovered, "{outages:?}");
        assert!((recovered - from - length).abs() < 1e-6, "{outages:?}");
        let measured = number(&report, "/phases/2/seconds");
        assert!(recovered < measured, "{recovered} of {measured}");
    }
}

/// Goal: the run retries a lost target to its end with a backoff. The schedule is complete and the
/// exit code is 3.
///
/// Method: our own server, killed after a second of three. Then the same with `--give-up`, with and
/// without a schedule, and a duration of an hour.
///
/// Kills: a run that ends early without a reason; messages without an outcome; exit code 0; gates
/// that are checked on a part of the run; connects as fast as they fail.
#[test]
fn a_lost_target_fails_the_run() {
    let load = ["-c", "20", "-R", "1k", "-t", "2"];
    let gate = ["--threshold", "errors rate<1%"];
    let (code, report) = without_restart(&[&load[..], &["-d", "3s"], &gate].concat());
    assert_eq!(code, Some(3), "{report:#}");
    assert!(number(&report, "/phases/2/seconds") >= 3.0);
    assert_eq!(number(&report, "/load/scheduled"), 3_000.0);
    assert!(number(&report, "/load/never_sent") > 0.0);
    assert_eq!((&report["target_lost"], &report["gave_up"]), (&true.into(), &Value::Null));
    assert!(report["outages"][0]["recovered_s"].is_null(), "{report:#}");
    let tried = report["failures"].as_array().unwrap().iter();
    let refused = tried.filter(|row| row["class"] == "refused");
    let refused: u64 = refused.map(|row| row["count"].as_u64().unwrap()).sum();
    // Each of twenty waits for 50, 100, 200 and then 250 ms at the least: 14 times in 3 s.
    assert!((20..=20 * 14).contains(&refused), "{refused}");

    let limits = ["-d", "1h", "--give-up", "500ms"];
    let (code, report) = without_restart(&[&load[..], &limits, &gate].concat());
    assert_eq!(code, Some(3), "{report:#}");
    assert_eq!(number(&report, "/load/scheduled"), 3_600_000.0);
    assert!(number(&report, "/load/never_sent") > 3_500_000.0);
    let samples = number(&report, "/latency_us/response/samples");
    let failed = number(&report, "/load/errors/total");
    assert_eq!(samples + failed, 3_600_000.0, "errors have no response time");
    let reason = report["gave_up"]["reason"].as_str().unwrap();
    assert!(reason.contains("0.50 s (--give-up)"), "{reason}");
    assert!(number(&report, "/gave_up/at_s") < 3_600.0);
    assert_eq!(report["thresholds"], Value::Array(Vec::new()));
    let rows = report["intervals"].as_array().unwrap();
    let rest: Vec<&Value> = rows.iter().filter(|row| row["phase"] == "given-up").collect();
    assert_eq!(rest.len(), 1);
    let sum: u64 = rows.iter().map(|row| row["scheduled"].as_u64().unwrap()).sum();
    assert_eq!(sum, 3_600_000);

    let closed = ["-c", "4", "--think", "1ms", "-d", "1h", "--give-up", "500ms"];
    let (code, report) = without_restart(&closed);
    assert_eq!(code, Some(3), "{report:#}");
    assert_eq!(number(&report, "/load/never_sent"), 0.0, "a closed loop has no schedule");
}
