//! Gates, comparisons, and what a script learns from them.

use std::net::TcpListener;

use serde_json::Value;

use crate::common::{Running, assert_exit, json, loadtest, nobody, stderr, stdout};

/// A run that is over soon, on a server of its own.
const SHORT: [&str; 8] = ["-c", "5", "-d", "1s", "--warmup", "100ms", "--drain", "60s"];

fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], arguments].concat()
}

/// Goal: gates that are met change nothing but the report.
///
/// Method: two that any run meets; the rows in JSON, their order, their values.
///
/// Kills: the last of several gates winning, as it does for other options; an exit code for a gate
/// that is met.
#[test]
fn gates_that_are_met() {
    let output = loadtest(&short(&[
        "--threshold",
        "p(99)<60s",
        "--threshold",
        "served==connections",
        "--format",
        "json",
    ]));
    assert_exit(&output, 0);
    let report = json(&output);
    let rows = report["thresholds"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["expr"], "p(99)<60s");
    assert_eq!(rows[0]["value"], report["latency_us"]["service"]["percentiles"]["p99"]);
    assert_eq!(rows[0]["ok"], true);
    assert_eq!(rows[1]["value"], 5.0);
}

/// Goal: one gate that is not met is exit 99, with the report, and every gate is shown.
///
/// Method: one that no run meets beside one that any does.
///
/// Kills: exit 0; stopping at the first that fails; losing the report.
#[test]
fn a_gate_that_is_not_met() {
    let output = loadtest(&short(&["--threshold", "max<0s", "--threshold", "served>=5"]));
    assert_exit(&output, 99);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(text.contains("\nThresholds   FAIL  max<0s "), "{text}");
    assert!(text.contains("\n             ok    served>=5   5 connections\n"), "{text}");
    assert!(text.ends_with("1 of 2 thresholds failed (exit 99)\n"), "{text}");
}

/// Goal: nobody there is exit 3 also with gates.
///
/// Method: a gate that fails, at a target where nobody listens.
///
/// Kills: hiding the cause behind 99.
#[test]
fn unreachable_comes_before_gates() {
    let output = loadtest(&["-c", "2", "--threshold", "served==connections", &nobody()]);
    assert_exit(&output, 3);
}

/// Goal: an interrupted run is not judged.
///
/// Method: a target that never answers, a gate that cannot be met by then, and a signal.
///
/// Kills: exit 99 for a run that somebody ended.
#[test]
fn an_interrupted_run_is_not_judged() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // its backlog accepts, nobody answers
    let url = format!("tcp://{}", silent.local_addr().unwrap());
    let mut run = Running::start(&[
        "-c",
        "2",
        "-d",
        "1h",
        "--drain",
        "0",
        "--progress",
        "plain",
        "--threshold",
        "served==connections",
        "--format",
        "json",
        &url,
    ]);
    run.wait_for_line("/3600s");
    run.signal_group("INT");
    let (status, text) = run.end();
    assert_eq!(status.code(), Some(130), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["thresholds"].as_array().unwrap().len(), 0);
}
