//! SIGINT and SIGTERM: the first ends the run with its report, the second ends the program at once.

use std::net::TcpListener;

use serde_json::Value;

use crate::common::{Running, kill};

/// A run of an hour that prints its phases.
fn endless(arguments: &[&str]) -> Running {
    let common = ["-c", "5", "-d", "1h", "--warmup", "100ms", "--progress", "plain"];
    Running::start(&[&common[..], arguments].concat())
}

/// Goal: an interrupted run reports its results and exits with 130, or with 143 for SIGTERM.
///
/// Method: signal the process group, as a terminal does, during the measured window, which the
/// progress lines show.
///
/// Kills: ending without a report; exit code 0; losing the length of the window; a server that ends
/// first and fills the report with errors.
#[test]
fn a_signal_ends_the_run_with_its_report() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut run = endless(&[]);
        run.wait_for_line("/3600s");
        run.wait_for_line("/3600s"); // a second of it is over
        run.signal_group(signal);
        let (status, text) = run.end();
        assert_eq!(status.code(), Some(code), "{text}");
        for wanted in [
            &format!("interrupted (exit {code})"),
            "served 5/5",
            "lost 0",
            "errors 0 | timed out 0 | in flight 0",
            "p99.9",
        ] {
            assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
        }
    }
}

/// Goal: a run interrupted before the measured window has a report, too.
///
/// Method: interrupt in a ramp of an hour.
///
/// Kills: waiting for the ramp; a division by an empty window.
#[test]
fn a_signal_in_the_ramp_has_a_report() {
    let mut run = endless(&["--ramp", "1h"]);
    run.wait_for_line("ramp ");
    kill(run.pid(), "INT");
    let (status, text) = run.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("sent 0 | completed 0"), "{text}");
    assert!(text.contains("no message was sent in the measured window"), "{text}");
}

/// Goal: a run interrupted in its warm-up reports no measured messages. Its intervals have the
/// replies of the warm-up.
///
/// Method: interrupt after a second of a warm-up of an hour, in both kinds of loop. Replies after
/// the signal are in no interval, and there are at most five.
///
/// Kills: waiting for the warm-up; its replies among the measured figures; intervals of the warm-up
/// that end with the first message.
#[test]
fn a_signal_in_the_warm_up_reports_no_measured_message() {
    for (signal, code, load) in [("INT", 130, &[][..]), ("TERM", 143, &["-R", "1k"])] {
        let arguments = ["--warmup", "1h", "--interval", "10m", "--format", "json"];
        let mut run = endless(&[&arguments[..], load].concat());
        run.wait_for_line("warm-up ");
        run.wait_for_line("warm-up "); // a second of it is over
        run.signal_group(signal);
        let (status, text) = run.end();
        assert_eq!(status.code(), Some(code), "{text}");
        let report: Value = serde_json::from_str(&text).unwrap();
        let figures = &report["load"];
        assert_eq!((&figures["scheduled"], &figures["completed"]), (&0.into(), &0.into()));
        let replies = figures["warmup_completed"].as_u64().unwrap();
        assert!(replies > 0, "{figures}");
        let intervals = report["intervals"].as_array().unwrap().iter();
        let warmup = intervals.filter(|interval| interval["phase"] == "warm-up");
        let in_intervals: u64 = warmup.map(|it| it["completed"].as_u64().unwrap()).sum();
        assert!((replies.saturating_sub(5)..=replies).contains(&in_intervals), "{in_intervals}");
        assert_eq!((&report["interrupted"], &report["exit_code"]), (&true.into(), &code.into()));
        assert!(report["latency_us"]["service"].is_null());
        assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    }
}

/// Goal: the first signal in the drain ends it, and the report counts the missing replies as in
/// flight.
///
/// Method: a target that never answers holds the drain for an hour; the signal comes then.
///
/// Kills: a drain that only a second signal ends; a drain that ends with the window.
#[test]
fn a_signal_ends_the_drain() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", silent.local_addr().unwrap());
        let limits = ["--drain", "1h", "--timeout", "60s", "-d", "300ms", "--warmup", "0"];
        let mut run = endless(&[&limits[..], &["--format", "json", &url]].concat());
        run.wait_for_line("drain ");
        kill(run.pid(), signal);
        let (status, text) = run.end();
        assert_eq!(status.code(), Some(code), "{text}");
        let report: Value = serde_json::from_str(&text).unwrap();
        let load = &report["load"];
        assert_eq!((&load["in_flight"], &load["scheduled"]), (&5.into(), &5.into()), "{load}");
        assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    }
}

/// Goal: a second signal ends the program at once.
///
/// Method: a target that never answers holds the drain for an hour. Interrupt, wait for the drain,
/// and interrupt until the program ends (signals in quick succession count as one).
///
/// Kills: ignoring the second signal.
#[test]
fn the_second_signal_ends_the_program_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // the backlog accepts, none answers
    let url = format!("tcp://{}", silent.local_addr().unwrap());
    let mut run = endless(&["--drain", "1h", "--timeout", "60s", &url]);
    run.wait_for_line("/3600s");
    kill(run.pid(), "INT");
    run.wait_for_line("drain ");
    while run.is_running() {
        kill(run.pid(), "INT");
    }
    let (status, text) = run.end();
    assert_eq!(status.code(), Some(130));
    assert_eq!(text, "");
}
