//! Exit codes of runs without a report.

use std::process::Output;

use crate::common::{assert_exit, loadtest, loadtest_with_files, stderr, stdout, unused_url};

#[track_caller]
fn assert_one_line(output: &Output, code: i32, wanted: &str) {
    assert_exit(output, code);
    let line = stderr(output);
    assert!(line.starts_with("loadtest: ") && line.lines().count() == 1, "{code}: {line}");
    assert!(line.contains(wanted), "no '{wanted}' in: {line}");
    assert_eq!(stdout(output), "", "{line}");
}

/// Goal: every command prints one line and exits with its code if a run cannot start, reach the
/// target or fit into the limits, also if one run of a series does.
///
/// Method: a table. (`refusals` has the table of usage errors, which exit with 2.)
///
/// Kills: a second line for the whole series; a row of zeros for a run without results; one code
/// with two meanings.
#[test]
fn a_run_without_a_report_prints_one_line() {
    let url = unused_url();
    let missing = "/nonexistent/file";
    for (code, wanted, arguments) in [
        (1, "cannot write", &["--json", missing, &url][..]),
        (1, "cannot read", &["--baseline", missing, &url]),
        (1, "cannot read", &["compare", missing, missing]),
        (1, missing, &["report", missing]),
        (1, "cannot read", &["http://127.0.0.2:1/", "-b", "@/nonexistent/file"]),
        (1, "processor 1023", &["-c", "1", "-d", "100ms", "--pin", "1023"]),
        (1, "'exit 7' ended", &["ab", "--base", "exit 7", "--new", "x", "--", "-c", "1", &url]),
        (3, "no answer from", &["-c", "1", &url]),
        (3, "no answer from", &["-c", "1", "--format", "csv", &url]),
        (3, "no answer from", &["-c", "1", "--reps", "3", &url]),
        (3, "no answer from", &["-c", "1", "--find-max", "--slo", "served>0", &url]),
        (3, "cannot resolve", &["tcp://no..where:1"]),
        (3, "cannot resolve", &["--reps", "3", "tcp://no..where:1"]),
        (3, "cannot resolve", &["ab", "--base", "x", "--new", "y", "--", "tcp://no..where:1"]),
    ] {
        assert_one_line(&loadtest(arguments), code, wanted);
    }
    for arguments in [
        &["-c", "100"][..],
        &["-c", "100", "--reps", "3"],
        &["-c", "100", "--find-max", "--slo", "served>0"],
        &["-c", "2", "--idle", "100", "--fit"],
    ] {
        assert_one_line(&loadtest_with_files(64, arguments), 4, "connections");
    }
}
