//! `--abort-on`: runs that a gate ends early, and runs that it does not.
//!
//! The runs last an hour unless their gate ends them.

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest, scratch_file, stderr, stdout, unused_url};
use crate::serve::Target;
use crate::targets::{hold, target};

/// A target that resets connections at their third message, and its URL.
fn resetting() -> (Target, String) {
    let target = Target::start(&["lossy", "--fault", "reset:3"]);
    let url = format!("tcp://{}", target.addr);
    (target, url)
}

const ENDLESS: [&str; 10] =
    ["-c", "4", "-d", "1h", "--warmup", "0", "--interval", "50ms", "--reconnect", "always"];

fn endless<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&ENDLESS[..], arguments].concat()
}

/// Goal: the first broken gate ends the run, with its report, one line, and exit code 99.
///
/// Method: errors from the first moment, in a closed and an open loop, under a gate that holds and
/// one that does not, and a threshold, which is not checked then. As JSON and as text.
///
/// Kills: waiting for the end of the hour; naming the wrong gate; the exit code of an interrupted
/// or a good run; a report without figures; checking thresholds on an aborted run.
#[test]
fn a_broken_gate_ends_the_run() {
    let (_target, url) = resetting();
    let gates = ["--abort-on", "errors rate<=100%", "--abort-on", "errors count<3"];
    let more = ["--threshold", "errors count<1", &url];
    for load in [&[][..], &["-R", "500"], &["-R", "500", "-t", "2"]] {
        let arguments = [&endless(&gates)[..], &more, load, &["--format", "json"]].concat();
        let output = loadtest(&arguments);
        assert_exit(&output, 99);
        let report = json(&output);
        let aborted = &report["aborted"];
        assert_eq!(
            (&aborted["expr"], &aborted["unit"]),
            (&"errors count<3".into(), &"messages".into())
        );
        let (value, at_s) = (aborted["value"].as_f64().unwrap(), aborted["at_s"].as_f64().unwrap());
        let load = &report["load"];
        assert!(value >= 3.0 && value <= load["errors"]["total"].as_f64().unwrap(), "{report:#}");
        let measured = report["phases"].as_array().unwrap();
        let measured = measured.iter().find(|phase| phase["name"] == "measured").unwrap();
        assert!(at_s > 0.0 && at_s <= measured["seconds"].as_f64().unwrap(), "{aborted}");
        assert_eq!((&report["interrupted"], &report["exit_code"]), (&false.into(), &99.into()));
        assert_eq!(report["thresholds"], Value::Array(Vec::new()));
        assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
        let outcomes = ["completed", "timed_out", "in_flight", "never_sent"];
        let outcomes: u64 = outcomes.iter().map(|outcome| load[outcome].as_u64().unwrap()).sum();
        let all = outcomes + load["errors"]["total"].as_u64().unwrap();
        assert_eq!(load["scheduled"], all);
        assert!(load["completed"].as_u64().unwrap() > 0);
        let line = stderr(&output);
        assert!(
            line.starts_with("loadtest: aborted after ") && line.lines().count() == 1,
            "{line}"
        );
        assert!(line.contains(": errors count<3 does not hold: "), "{line}");
    }
    let output = loadtest(&[&endless(&gates)[..], &more].concat());
    assert_exit(&output, 99);
    let text = stdout(&output);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("aborted after ") && last.ends_with(" (exit 99)"), "{text}");
    assert!(!text.contains("Thresholds"), "{text}");
}

/// Goal: the counters of a run that ends early without a drain add up.
///
/// Method: a broken gate and no drain, so that the workers receive the requests to stop and to
/// return results at once; one worker and two, several times each, because it is a race.
///
/// Kills: a worker that handles the second request only, and counts messages due after the end as
/// never sent.
#[test]
fn an_early_end_without_a_drain_adds_up() {
    let gate = ["--abort-on", "rate>1m", "--drain", "0"];
    for threads in ["1", "2"].repeat(5) {
        let arguments = [&gate[..], &["-R", "500", "-t", threads, "--format", "json"]].concat();
        let output = loadtest(&endless(&arguments));
        assert_exit(&output, 99);
        let report = json(&output);
        assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    }
}

/// Goal: gates that hold end no run, and neither do broken ones before their delay, in the warm-up
/// or after the window.
///
/// Method: runs that end by their number of messages, with constant errors: a gate that holds; a
/// broken one with a delay of an hour; a broken one with the whole run in the first interval.
///
/// Kills: aborting on a gate that holds; a delay that is ignored; checking unmeasured messages.
#[test]
fn gates_end_no_run_before_their_time() {
    let (_target, url) = resetting();
    for gates in [
        &["--abort-on", "errors rate<=100%", "--abort-on", "rate>=0"][..],
        &["--abort-on", "errors count<1", "--abort-delay", "1h"],
        &["--abort-on", "errors count<1", "--interval", "1h"],
    ] {
        let common = ["-c", "4", "-n", "300", "--interval", "10ms", "--reconnect", "always"];
        let common = [&common[..], &["--warmup", "50ms", "--format", "json", &url]].concat();
        let output = loadtest(&[&common[..], gates].concat());
        assert_exit(&output, 0);
        let report = json(&output);
        assert!(report["aborted"].is_null(), "{report:#}");
        assert_eq!(report["load"]["scheduled"], 300);
        assert!(report["load"]["errors"]["total"].as_u64().unwrap() > 0);
        assert_eq!(stderr(&output), "");
    }
}

/// Goal: a gate on served connections ends a run whose target accepts and never answers, and the
/// target is not reported as unreachable.
///
/// Method: a silent target, and no timeout; a target without a listener, which is exit code 3 as
/// without the gate; and a target that serves all, which breaks the opposite gate.
///
/// Kills: a served count that is not updated during the run; exit code 3 in place of 99, and the
/// reverse.
#[test]
fn the_served_gate_is_checked_during_the_run() {
    let url = target(hold);
    let arguments = ["--timeout", "60s", "--drain", "0", "--abort-on", "served==connections"];
    let output = loadtest(&endless(&[&arguments[..], &["--format", "json", &url]].concat()));
    assert_exit(&output, 99);
    let report = json(&output);
    assert_eq!(report["aborted"]["value"], 0.0);
    assert_eq!(report["load"]["in_flight"], 4);
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert_exit(&loadtest(&endless(&["--abort-on", "served>0", &unused_url()])), 3);

    let output = loadtest(&endless(&["--abort-on", "served<4", "--format", "json"]));
    assert_exit(&output, 99);
    assert_eq!(json(&output)["aborted"]["value"], 4.0);
}

/// Goal: a broken gate ends its run and the series. A rate at which it breaks does not pass in
/// `--find-max`. The report of an aborted run can be rendered again.
///
/// Method: a series against a target with errors; a search in which every rate would pass.
///
/// Kills: four more runs; a search that ends without its result; a gate that is lost on the way.
#[test]
fn a_broken_gate_ends_a_series() {
    let (_target, url) = resetting();
    let path = scratch_file("aborted.json");
    let name = path.to_str().unwrap();
    let gate = ["--abort-on", "errors count<1", "--json", name, &url];
    let output = loadtest(&endless(&[&["--reps", "5"], &gate[..]].concat()));
    assert_exit(&output, 99);
    let lines: Vec<&str> = stderr(&output).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("run 1 of 5: ") && lines[1].contains("aborted after "),
        "{lines:?}"
    );
    let shown = loadtest(&["report", name]);
    assert_exit(&shown, 0);
    assert!(stdout(&shown).ends_with(" (exit 99)\n"), "{}", stdout(&shown));

    let search = ["--find-max", "--slo", "served>=0", "--find-range", "50:100"];
    let more = ["--find-step", "1h", "-c", "2", "--warmup", "0", "--interval", "50ms"];
    // Without the gate, this rate would pass.
    let gate = ["--abort-on", "served<2", "--drain", "60s", "--json", name];
    let output = loadtest(&[&search[..], &more, &gate].concat());
    assert_exit(&output, 99);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let steps = report["find_max"]["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["ok"]), (1, &false.into()), "{report:#}");
}
