//! Runs that are refused, and their messages.

use crate::common::{
    assert_exit, json, loadtest, loadtest_with_files, number_after, stderr, stdout, unused_url,
};

/// Arguments that are mistakes, each with a word of its error.
const MISTAKES: &[(&[&str], &str)] = &[
    (&["-c", "0"], "at least 1"),
    (&["-c", "-5"], "-5"),
    (&["-c", "many"], "many"),
    (&["-c", "99999999999999999999"], "-c"),
    (&["-d", "10"], "did you mean 10s?"),
    (&["-d", "0"], "more than 0"),
    (&["-s", "1G"], "1G"),
    (&["-s", "17MiB"], "16MiB"),
    (&["-s", "5..4"], "5 is more than 4"),
    (&["-s", "0..4"], "at least 1"),
    (&["-s", "4.."], "--size"),
    (&["--payload", ""], "--payload is empty"),
    (&["--payload", "x", "-s", "5"], "cannot be used with"),
    (&["--payload", "x", "--verify"], "cannot be used with"),
    (&["ws://a", "--text", "--payload", "@/bin/true"], "not UTF-8"),
    (&["http://a", "--payload", "x"], "--payload is for an echo"),
    (&["tcp://a:1", "--urls", "x"], "--urls"),
    (&["http://a/b", "--urls", "Cargo.toml"], "end the URL with /"),
    (&["http://a", "--urls", "Cargo.toml"], "line 1: '[package]' does not begin with /"),
    (&["http://a", "--urls", "/dev/null"], "contains no path"),
    (&["--timeout", "2m"], "60s"),
    (&["--ramp", "1s", "--connect-rate", "5"], "cannot be used with"),
    (&["-t", "3", "-c", "2"], "--threads 3"),
    (&["-t", "all"], "all"),
    (&["-t", "3", "--connect-concurrency", "2"], "--connect-concurrency 2"),
    (&["-R", "0"], "more than 0"),
    (&["-R", "fast"], "fast"),
    (&["-R", "10:"], "not a number"),
    (&["-R", "10:20", "-n", "5"], "--duration"),
    (&["--stages", "10s"], "TIME:RATE"),
    (&["--stages", "10s:5", "-d", "5s"], "cannot be used with"),
    (&["--arrivals", "poisson"], "--rate"),
    (&["--dispatch", "per-conn"], "--rate"),
    (&["--deadline", "50ms"], "--rate"),
    (&["--deadline", "0", "-R", "5"], "more than 0"),
    (&["--deadline", "5", "-R", "5"], "did you mean 5s?"),
    (&["--think", "1s", "-R", "5"], "cannot be used with"),
    (&["--think", "2s..1s"], "more than"),
    (&["-p", "0"], "at least 1"),
    (&["-p", "70000"], "65535"),
    (&["-n", "0"], "at least 1"),
    (&["-r", "0"], "at least 1"),
    (&["--source", "here"], "not an IP address"),
    (&["--source", "10.0.0.0/8"], "65536"),
    (&["--source", "::1"], "address families"),
    (&["--pin", "x"], "processor"),
    (&["--rcvbuf", "0"], "at least 1"),
    (&["unix:/a", "--rcvbuf", "9"], "--rcvbuf is for TCP"),
    (&["unix:/a", "--no-nodelay"], "--no-nodelay is for TCP"),
    (&["--sndbuf", "17MiB"], "16MiB"),
    (&["--no-nodelay=1"], "--no-nodelay"),
    (&["--close", "gently"], "gently"),
    (&["--reconnect", "maybe"], "maybe"),
    (&["-n", "1", "-t", "2"], "--requests"),
    (&["--interval", "1us"], "--interval"),
    (&["--format", "xml"], "xml"),
    (&["--driver", "kqueue"], "kqueue"),
    (&["--threshold", "p(99)<5"], "did you mean 5ms?"),
    (&["--threshold", "p99<5ms"], "did you mean p(99)?"),
    (&["--threshold", ""], "no comparison"),
    (&["ftp://127.0.0.1:80"], "https://"),
    (&["tls://127.0.0.1"], "port"),
    (&["tcp://a:1", "-k"], "--insecure needs a target that speaks TLS"),
    (&["unix:/a:http", "--sni", "b"], "--sni needs a target that speaks TLS"),
    (&["--cacert", "x"], "--cacert needs a target that speaks TLS"),
    (&["https://a", "-k", "--cacert", "x"], "cannot be used with"),
    (&["https://a", "--sni", "a b"], "'a b' cannot be the name"),
    (&["http://127.0.0.1:80/a b"], "%XX"),
    (&["http://a", "-X", "GET /"], "not a method"),
    (&["http://a", "-X", "CONNECT"], "CONNECT"),
    (&["http://a", "-H", "name"], "Name: value"),
    (&["http://a", "-H", "a: b\r\nc: d"], "line break"),
    (&["http://a", "-H", "Content-Length: 5"], "--body"),
    (&["http://a", "-H", "Connection: close", "-p", "2"], "--pipeline 2"),
    (&["http://a", "--expect-status", "20x"], "20x"),
    (&["http://a", "-s", "5"], "--size"),
    (&["http://a", "--verify"], "--verify"),
    (&["wss://127.0.0.1:0"], "port"),
    (&["ws://127.0.0.1:0"], "port"),
    (&["ws://a/b c"], "%XX"),
    (&["ws://a", "-X", "GET"], "--method"),
    (&["ws://a", "-b", "x"], "--body"),
    (&["ws://a", "--expect-status", "200"], "--expect-status"),
    (&["ws://a", "-H", "Upgrade: h2c"], "--header upgrade"),
    (&["ws://a", "--text", "--verify"], "cannot be used with"),
    (&["tcp://a:1", "--text"], "ws://"),
    (&["http://a", "--text"], "ws://"),
    (&["tcp://a:1", "-X", "GET"], "--method"),
    (&["tcp://a:1", "-H", "a: b"], "--header"),
    (&["-b", "x"], "--body"),
    (&["--expect-status", "200"], "--expect-status"),
    (&["tcp://127.0.0.1"], "port"),
    (&["tcp://127.0.0.1:0"], "port"),
    (&["tcp://a:1", "tcp://b:1"], "tcp://b:1"),
    (&["unix:"], "the path is missing"),
    (&["unix:@"], "the path is missing"),
    (&["unix::http"], "the path is missing"),
    (&["unix:/a:ftp"], "'ftp' is not supported"),
    (&["unix:/a", "--source", "127.0.0.1"], "--source"),
    (&["unix:/a", "--close", "rst"], "--close rst"),
    (&["unix:/a:http", "--verify"], "--verify"),
    (&["--percentiles", "50,0"], "percentile"),
    (&["--percentiles", "101"], "percentile"),
    (&["--label", "=x"], "key=value"),
    (&["--timeseries", "x.txt"], ".ndjson or .csv"),
    (&["--hlog", "x", "--hgrm", "x"], "two outputs use the same file: x"),
    (&["report"], "RUN.json"),
    (&["compare"], "BASE.json"),
    (&["compare", "a.json"], "NEW.json"),
    (&["compare", "a", "b", "--max-regression", "p9=1%"], "'p9' is not compared"),
    (&["compare", "a", "b", "--max-regression", "p99=1%,rate=5"], "did you mean 5%?"),
    (&["compare", "Cargo.toml", "b"], "Cargo.toml is not JSON"),
    (&["--threshold", "response max<1s"], "closed loop has no response times"),
    (&["--abort-on", "p(99)<5"], "did you mean 5ms?"),
    (&["--abort-on", "connect max<1s"], "at the end of the run"),
    (&["--abort-on", "service max<1s", "-R", "5"], "use response"),
    (&["--abort-on", "response max<1s"], "use service"),
    (&["--abort-delay", "1s"], "--abort-on"),
    (&["--abort-on", "rate>1", "--abort-delay", "1"], "did you mean 1s?"),
    (&["--reps", "0"], "at least 1"),
    (&["--max-regression", "p99=1%"], "--baseline"),
    (&["--baseline", "Cargo.toml"], "Cargo.toml is not JSON"),
    (&["--find-max"], "--slo"),
    (&["--slo", "p(99)<1ms"], "--find-max"),
    (&["--find-max", "--slo", "p99<1ms"], "did you mean p(99)?"),
    (&["--find-max", "--slo", "max<1s", "--rate", "5"], "chooses the rates itself"),
    (&["--find-max", "--slo", "max<1s", "--reps", "2"], "combined with --reps"),
    (&["--find-max", "--slo", "max<1s", "--find-range", "5"], "as in 1k:100k"),
    (&["--find-max", "--slo", "max<1s", "--find-range", "9:5"], "as in 1k:100k"),
    (&["ab", "--base", "x"], "--new"),
    (&["ab", "--base", "x", "--new", "y"], "RUN OPTIONS"),
    (&["ab", "--base", "x", "--new", "y", "--", "-c", "5"], "the URL where both"),
    (&["ab", "--base", "x", "--new", "y", "--", "-c", "0"], "after --: "),
    (&["ab", "--base", "x", "--new", "y", "--", "doctor"], "not a command"),
    (&["ab", "--base", "x", "--new", "y", "--", "--reps", "2"], "--reps, --baseline"),
    (&["ab", "--base", "x", "--new", "y", "--", "--threshold", "max<1s"], "--threshold does not"),
    (&["ab", "--base", "x", "--new", "y", "--format", "csv", "--", "tcp://a:1"], "csv"),
    (&["ab", "--base", "x", "--new", "y", "--reps", "0", "--", "tcp://a:1"], "at least 1"),
    (&["compare", "a", "b", "--format", "csv"], "csv"),
    (&["report", "a", "--format", "xml"], "xml"),
    (&["--warmup", "1"], "did you mean 1s?"),
    (&["--drain", "soon"], "soon"),
    (&["--connect-rate", "0"], "at least 1"),
    (&["--connect-timeout", "0"], "--connect-timeout"),
    (&["--timeout", "0"], "more than 0"),
    (&["--conn-lifetime", "0"], "more than 0"),
    (&["--idle", "-1"], "-1"),
    (&["--seed", "many"], "many"),
    (&["--progress", "loud"], "loud"),
    (&["-t", "0"], "at least 1"),
    (&["--find-step", "0"], "more than 0"),
    (&["--wat"], "--wat"),
    (&["-c"], "--connections"),
    (&["doctor", "--format", "csv"], "csv"),
    (&["doctor", "ftp://a:1"], "tcp://"),
    (&["doctor", "-c", "0"], "at least 1"),
    (&["doctor", "-d", "1s"], "-d"),
];

/// Goal: a bad command line is one clear line and exit code 2.
///
/// Method: a table of mistakes, each with a word that the line must contain.
///
/// Kills: a panic on absurd numbers; clap's usage text; another exit code.
#[test]
fn bad_arguments_are_one_line() {
    for (arguments, wanted) in MISTAKES {
        let output = loadtest(arguments);
        assert_exit(&output, 2);
        let line = stderr(&output);
        assert!(line.starts_with("loadtest: ") && line.lines().count() == 1, "{line}");
        assert!(line.contains(wanted), "no '{wanted}' in: {line}");
        assert_eq!(stdout(&output), "");
    }
}

/// Goal: help and version are no errors.
///
/// Method: each of the options.
///
/// Kills: exit code 2 for `--help`; help on stderr.
#[test]
fn help_is_not_an_error() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["doctor", "--help"]]
    {
        let output = loadtest(arguments);
        assert_exit(&output, 0);
        assert!(stdout(&output).contains("loadtest"));
        assert_eq!(stderr(&output), "");
    }
}

/// Goal: a target without a listener is one clear line and exit code 3, soon and for any number of
/// connections.
///
/// Method: a free port, and more connections than are tried before the run gives up.
///
/// Kills: a summary of zeros; exit code 0; thousands of failing connects.
#[test]
fn a_target_without_a_listener_is_one_line() {
    let url = unused_url();
    let output = loadtest(&["-c", "5k", "--connect-concurrency", "1", &url]);
    assert_exit(&output, 3);
    assert_eq!(stdout(&output), "");
    let line = stderr(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(&format!("no answer from {url}: 64 of 64 connects failed")), "{line}");
    assert!(line.contains("connect refused ECONNREFUSED 64"), "{line}");
}

/// Goal: the JSON report shows that the target has no listener.
///
/// Method: a run against a free port, with JSON.
///
/// Kills: no JSON if nothing was measured; a different exit code in it.
#[test]
fn a_target_without_a_listener_has_a_json_report() {
    let output = loadtest(&["-c", "3", "--format", "json", &unused_url()]);
    assert_exit(&output, 3);
    let report = json(&output);
    assert_eq!(report["exit_code"], 3);
    assert_eq!(report["connections"]["opened"], 0);
    assert_eq!(report["connections"]["failed"], 3);
    assert_eq!(report["failures"][0]["errno"], "ECONNREFUSED");
    assert!(report["latency_us"]["service"].is_null());
}

/// Goal: a host name without an address is exit code 3.
///
/// Method: a name with an empty label, which needs no resolver.
///
/// Kills: a panic; exit code 1.
#[test]
fn an_unknown_host_is_unreachable() {
    let output = loadtest(&["tcp://no..where:7000"]);
    assert_exit(&output, 3);
    assert!(stderr(&output).contains("cannot resolve no..where"), "{}", stderr(&output));
}

/// Goal: too low a limit of open files is refused with exact numbers and exit code 4, and the
/// offered number of connections fits.
///
/// Method: 100 connections under a limit of 64; check the arithmetic of the message; then run with
/// the offered number, and with `--fit`, which must choose the same number.
///
/// Kills: an estimate instead of a count; a failure with EMFILE during the run; `--fit` with too
/// many connections.
#[test]
fn a_run_needs_enough_files() {
    let output = loadtest_with_files(64, &["-c", "100"]);
    assert_exit(&output, 4);
    assert_eq!(stdout(&output), "");
    let line = stderr(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_eq!(number_after(line, "loadtest: "), 100);
    let needed = number_after(line, "connections need ");
    let own = number_after(line, "descriptors (");
    assert_eq!(number_after(line, "the limit is "), 64, "{line}");
    assert_eq!(number_after(line, "(hard "), 64, "{line}");
    assert_eq!(needed, 100 + own, "{line}");
    let fit = number_after(line, "or -c ");
    assert_eq!(fit, 64 - own, "{line}");

    let short = ["-d", "1s", "--drain", "60s", "--format", "json"];
    for choice in [&["-c", &fit.to_string()][..], &["-c", "100", "--fit"][..]] {
        let output = loadtest_with_files(64, &[&short[..], choice].concat());
        assert_exit(&output, 0);
        let report = json(&output);
        assert_eq!(report["config"]["connections"], fit);
        assert_eq!(report["connections"]["served"], fit);
        assert_eq!(report["env"]["limits"]["files_limit"], 64);
    }
}

/// Goal: `--fit` reports the reduced number of connections.
///
/// Method: a run that does not fit, as text.
///
/// Kills: silently using fewer connections.
#[test]
fn fewer_connections_are_reported() {
    let output = loadtest_with_files(64, &["-c", "1k", "--fit", "-d", "100ms", "--warmup", "0"]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("connections instead of 1 000"), "{}", stdout(&output));
}

/// Goal: a report that cannot be written is detected before the run, with exit code 1.
///
/// Method: a directory that does not exist, and a target without a listener, which alone would be
/// exit code 3.
///
/// Kills: running first and losing the result.
#[test]
fn an_unwritable_report_prevents_the_run() {
    let output = loadtest(&["--json", "/nonexistent/report.json", &unused_url()]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("cannot write /nonexistent/report.json"));
}

/// Goal: a body or payload that cannot be read is detected before the run, with exit code 1.
///
/// Method: a file that does not exist, and a target without a listener, which alone would be exit
/// code 3.
///
/// Kills: sending the name of the file; an empty body.
#[test]
fn an_unreadable_body_prevents_the_run() {
    let output = loadtest(&["http://127.0.0.2:1/", "-b", "@/nonexistent/body"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("cannot read /nonexistent/body"), "{}", stderr(&output));
    let output = loadtest(&[&unused_url(), "--payload", "@/nonexistent/payload"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("cannot read /nonexistent/payload"), "{}", stderr(&output));
}
