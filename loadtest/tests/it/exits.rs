//! Exit codes of runs without a report: what a script sees.

use std::process::Output;

use crate::common::{assert_exit, loadtest, loadtest_with_files, nobody, stderr, stdout};

#[track_caller]
fn assert_one_line(output: &Output, code: i32, wanted: &str) {
    assert_exit(output, code);
    let line = stderr(output);
    assert!(line.starts_with("loadtest: ") && line.lines().count() == 1, "{code}: {line}");
    assert!(line.contains(wanted), "no '{wanted}' in: {line}");
    assert_eq!(stdout(output), "", "{line}");
}

/// Goal: what could not run, could not be reached or did not fit is one line and its code, whichever
/// command found out, and also when a run of several did.
///
/// Method: a table. (`refusals` has the table of usage errors, which are 2.)
///
/// Kills: a run's own line and then another one for the whole; a row of zeros for a run that had
/// nothing; a code of one command that another one has for something else.
#[test]
fn no_report_is_one_line() {
    let nobody = nobody();
    let missing = "/nonexistent/file";
    for (code, wanted, arguments) in [
        (1, "cannot write", &["--json", missing, &nobody][..]),
        (1, "cannot read", &["--baseline", missing, &nobody]),
        (1, "cannot read", &["compare", missing, missing]),
        (1, missing, &["report", missing]),
        (1, "cannot read", &["http://127.0.0.2:1/", "-b", "@/nonexistent/file"]),
        (1, "processor 1023", &["-c", "1", "-d", "100ms", "--pin", "1023"]),
        (1, "'exit 7' ended", &["ab", "--base", "exit 7", "--new", "x", "--", "-c", "1", &nobody]),
        (3, "no answer from", &["-c", "1", &nobody]),
        (3, "no answer from", &["-c", "1", "--format", "csv", &nobody]),
        (3, "no answer from", &["-c", "1", "--reps", "3", &nobody]),
        (3, "no answer from", &["-c", "1", "--find-max", "--slo", "served>0", &nobody]),
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
