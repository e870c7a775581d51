//! Gates and comparisons, and their exit codes.

use std::net::TcpListener;

use serde_json::Value;

use crate::common::{
    Running, assert_exit, json, loadtest, scratch_file, stderr, stdout, unused_url,
};

/// A short run that starts its own server.
const SHORT: [&str; 8] = ["-c", "5", "-d", "1s", "--warmup", "100ms", "--drain", "60s"];

fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], arguments].concat()
}

/// Goal: gates that are met change nothing but the report.
///
/// Method: two gates that any run meets; their rows in the JSON, in order, with values.
///
/// Kills: only the last of several gates counting, as for other options; an exit code for a gate
/// that is met.
#[test]
fn met_gates_are_reported() {
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

/// Goal: one missed gate is exit code 99, with the report and a row for every gate.
///
/// Method: a gate that no run meets and one that any run meets.
///
/// Kills: exit code 0; stopping at the first missed gate; losing the report.
#[test]
fn a_missed_gate_is_exit_99() {
    let output = loadtest(&short(&["--threshold", "max<0s", "--threshold", "served>=5"]));
    assert_exit(&output, 99);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(text.contains("\nThresholds   FAIL  max<0s "), "{text}");
    assert!(text.contains("\n             ok    served>=5   5 connections\n"), "{text}");
    assert!(text.ends_with("1 of 2 thresholds failed (exit 99)\n"), "{text}");
}

/// Goal: a target without a listener is exit code 3 with gates, too.
///
/// Method: a gate that fails, and a target without a listener.
///
/// Kills: hiding the cause with 99.
#[test]
fn an_unreachable_target_precedes_gates() {
    let output = loadtest(&["-c", "2", "--threshold", "served==connections", &unused_url()]);
    assert_exit(&output, 3);
}

/// Goal: the gates of an interrupted run are not checked.
///
/// Method: a target that never answers, a gate that is not met yet, and a signal.
///
/// Kills: exit code 99 for an interrupted run.
#[test]
fn an_interrupted_run_skips_its_gates() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // the backlog accepts, none answers
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

/// Goal: a run compared with itself shows no difference, and a breached limit is exit code 99.
///
/// Method: one run of ten intervals, compared with itself; then with a copy with another kernel,
/// under a limit, which only comparable runs can meet.
///
/// Kills: a difference from random draws; exit code 0 if the limit could not be checked.
#[test]
fn a_comparison_can_fail_a_script() {
    let base = scratch_file("base.json");
    let base_name = base.to_str().unwrap();
    let arguments = ["--interval", "100ms", "--json", base_name, "--format", "quiet"];
    assert_exit(&loadtest(&short(&arguments)), 0);
    let text = std::fs::read_to_string(&base).unwrap();

    let output = loadtest(&["compare", base_name, base_name, "--max-regression", "p99=0%"]);
    let shown = stdout(&output);
    if text.contains("\"verdict\": \"saturated\"") {
        // The machine was busy. The comparison reports only that.
        assert_exit(&output, 99);
        assert!(shown.contains("generator saturated"), "{shown}");
    } else {
        assert_exit(&output, 0);
        assert!(shown.contains("from 10 and 10 blocks of one run each"), "{shown}");
        for metric in ["rate", "p50", "p90", "p99"] {
            let row = shown.lines().find(|line| line.starts_with(&format!("{metric} "))).unwrap();
            assert!(row.ends_with("not significant") && row.contains("+0.0 % ["), "{row}");
        }
    }

    let mut edited: Value = serde_json::from_str(&text).unwrap();
    edited["env"]["kernel"] = "2.4.0".into();
    let new = scratch_file("new.json");
    let new_name = new.to_str().unwrap();
    std::fs::write(&new, edited.to_string()).unwrap();
    assert_exit(&loadtest(&["compare", base_name, new_name]), 0);
    let output =
        loadtest(&["compare", base_name, base_name, new_name, "--max-regression", "p99=9%"]);
    assert_exit(&output, 99);
    let shown = stdout(&output);
    assert!(shown.contains("incomparable: different kernel: "), "{shown}");
    assert!(shown.contains("FAIL  p99 cannot be compared: the runs are incomparable\n(exit 99)"));
    for path in [base, new] {
        std::fs::remove_file(path).unwrap();
    }
}

/// Goal: files that are no reports are exit code 2 with one line, and files that cannot be read are
/// exit code 1.
///
/// Method: a missing file; other JSON; a report of a later schema; one without a field.
///
/// Kills: a panic; a comparison with an incomplete report.
#[test]
fn other_files_cannot_be_compared() {
    let output = loadtest(&["compare", "/nonexistent/base.json", "/nonexistent/new.json"]);
    assert_exit(&output, 1);
    assert!(
        stderr(&output).contains("cannot read /nonexistent/base.json: "),
        "{}",
        stderr(&output)
    );
    for (text, wanted) in [
        ("", "is not JSON"),
        ("{}", "has no schema_version"),
        ("[1, 2]", "has no schema_version"),
        ("{\"schema_version\": 2}", "has schema_version 2, but this program reads 1"),
        ("{\"schema_version\": 1}", "is not a report: missing field `tool`"),
    ] {
        let path = scratch_file("other.json");
        std::fs::write(&path, text).unwrap();
        let name = path.to_str().unwrap();
        let output = loadtest(&["compare", name, name]);
        std::fs::remove_file(&path).unwrap();
        assert_exit(&output, 2);
        let line = stderr(&output);
        assert!(line.lines().count() == 1 && line.contains(wanted), "{line}");
        assert_eq!(stdout(&output), "");
    }
}

/// Goal: a comparison as JSON and as an HTML page has all runs.
///
/// Method: one run and two copies, one of them with another kernel, under a limit; the JSON and the
/// page.
///
/// Kills: only the first or the last of the runs; an exit code in the JSON that differs from the
/// program's; a table in place of JSON.
#[test]
fn a_comparison_of_three_runs_has_all_formats() {
    let [base, other, page] = ["c-base.json", "c-other.json", "c.html"].map(scratch_file);
    let [base_name, other_name, page_name] = [&base, &other, &page].map(|p| p.to_str().unwrap());
    assert_exit(&loadtest(&short(&["--json", base_name, "--format", "quiet"])), 0);
    let text = std::fs::read_to_string(&base).unwrap();
    let mut edited: Value = serde_json::from_str(&text).unwrap();
    edited["env"]["kernel"] = "2.4.0".into();
    std::fs::write(&other, edited.to_string()).unwrap();

    let arguments = ["compare", base_name, base_name, other_name, "--format", "json"];
    let output = loadtest(&arguments);
    assert_exit(&output, 0);
    assert_eq!(json(&output)["exit_code"], 0);
    let more = ["--max-regression", "p99=9%", "--html", page_name];
    let output = loadtest(&[&arguments[..], &more].concat());
    assert_exit(&output, 99);
    let found = json(&output);
    assert_eq!((&found["exit_code"], &found["schema_version"]), (&99.into(), &1.into()));
    assert_eq!(found["base"], base_name);
    let compared = found["compared"].as_array().unwrap();
    assert_eq!(compared.len(), 2);
    assert_eq!([&compared[0]["new"], &compared[1]["new"]], [base_name, other_name]);
    let last = &compared[1];
    assert_eq!(last["comparison"]["rows"][0]["metric"], "rate");
    assert_eq!(last["comparison"]["rows"][0]["verdict"], "incomparable");
    assert_eq!(last["breaches"][0], "p99 cannot be compared: the runs are incomparable");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<title>loadtest: 3 runs</title>"));
    let output = loadtest(&["compare", base_name, base_name, "--html", "/nonexistent/page"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("cannot write /nonexistent/page"), "{}", stderr(&output));
    assert_eq!((stdout(&output), stderr(&output).lines().count()), ("", 1));
    for path in [base, other, page] {
        std::fs::remove_file(path).unwrap();
    }
}
