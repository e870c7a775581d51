//! Ctrl-C: the report of what was measured, and no trap for whoever insists.

use std::net::TcpListener;

use crate::common::{Running, kill};

/// A run that would last an hour, and shows its phases.
fn endless(arguments: &[&str]) -> Running {
    let common = ["-c", "5", "-d", "1h", "--warmup", "100ms", "--progress", "plain"];
    Running::start(&[&common[..], arguments].concat())
}

/// Goal: an interrupted run reports what it measured and exits with 130, or 143 for SIGTERM.
///
/// Method: signal the process group, as a terminal does, during the measured window, which the
/// progress lines show.
///
/// Kills: dying without a report; exit code 0; losing the window's length; a server that dies first
/// and fills the report with errors.
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

/// Goal: a run interrupted before anything was measured has a report too.
///
/// Method: interrupt in a ramp that would take an hour.
///
/// Kills: waiting for the ramp; dividing by an empty window.
#[test]
fn a_signal_in_the_ramp() {
    let mut run = endless(&["--ramp", "1h"]);
    run.wait_for_line("ramp ");
    kill(run.pid(), "INT");
    let (status, text) = run.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("sent 0 | completed 0"), "{text}");
    assert!(text.contains("no message was sent in the measured window"), "{text}");
}

/// Goal: whoever insists ends the program at once.
///
/// Method: a target that never answers holds the drain for an hour; interrupt, see the drain begin,
/// and go on interrupting until it ends (signals in quick succession count as one).
///
/// Kills: ignoring the second signal.
#[test]
fn the_second_signal_does_not_wait() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // its backlog accepts, nobody answers
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
