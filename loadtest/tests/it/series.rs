//! Series: repeated runs, searches for the highest rate, and comparisons of servers.

use serde_json::Value;

use crate::common::{
    PROGRAM, Running, assert_exit, json, kill, loadtest, scratch_file, stderr, stdout, unused_url,
    within,
};

const SHORT: [&str; 10] =
    ["-c", "3", "-d", "500ms", "--warmup", "50ms", "--drain", "60s", "--interval", "50ms"];

fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], arguments].concat()
}

/// Goal: repeated runs become one report, whose gates are checked once, and which can be a
/// baseline.
///
/// Method: three runs under a gate that none meets, written as JSON; then two more compared with
/// it, with limits that no run breaches.
///
/// Kills: stopping at the first run that misses a gate; the command of one run in place of the
/// series'; a baseline that is read after it was overwritten.
#[test]
fn runs_are_repeated_and_compared() {
    let path = scratch_file("reps.json");
    let name = path.to_str().unwrap();
    let output = loadtest(&short(&["--reps", "3", "--threshold", "max<0s", "--json", name]));
    assert_exit(&output, 99);
    assert_eq!(stderr(&output).lines().filter(|line| line.starts_with("run ")).count(), 3);
    let text = stdout(&output);
    assert!(text.contains("mean and 95 % CI from run to run: p50 "), "{text}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let reps = report["reps"].as_array().unwrap();
    assert_eq!(reps.len(), 3);
    assert!(reps.iter().any(|rep| rep["completed"] == report["load"]["completed"]));
    assert_eq!(report["thresholds"].as_array().unwrap().len(), 1);
    assert_eq!(report["exit_code"], 99);
    let command = report["command"].as_array().unwrap();
    assert!(command.iter().all(|word| word != "--as-part"), "{command:?}");

    let arguments = ["--reps", "2", "--baseline", name, "--max-regression", "p99=1000000%"];
    let output = loadtest(&short(&[&arguments[..], &["--json", name]].concat()));
    let text = stdout(&output);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let compared = &report["baseline"]["comparison"];
    assert_eq!(compared["basis"], "95 % CI from 3 and 2 runs");
    assert_eq!(report["baseline"]["file"], name);
    // A busy machine saturates the generator, and then the runs are not comparable.
    let is_comparable = compared["incomparable"].as_array().unwrap().is_empty();
    assert_exit(&output, if is_comparable { 0 } else { 99 });
    assert!(text.contains(&format!("base  {name}\nnew   this run\n")), "{text}");
}

/// Goal: a series whose target is unreachable ends with its first run and reports it like one run.
///
/// Method: five runs to a target without a listener. The report has a row per run only if there are
/// several.
///
/// Kills: four more runs; exit code 0.
#[test]
fn a_series_ends_with_an_unreachable_target() {
    let output = loadtest(&["-c", "1", "--reps", "5", "--format", "json", &unused_url()]);
    assert_exit(&output, 3);
    assert_eq!(json(&output)["reps"], Value::Array(Vec::new()));
    let line = stderr(&output);
    assert!(line.contains("no answer from ") && line.lines().count() == 1, "{line}");
}

/// Goal: a signal ends a series with the report of its runs, and the current run receives it
/// although only the parent was signalled.
///
/// Method: signal the parent alone during its first run, of an hour.
///
/// Kills: a run that continues alone; another run after it; an exit code other than the signal's.
#[test]
fn a_signal_ends_a_series() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let common = ["-c", "2", "-d", "1h", "--warmup", "0", "--reps", "5"];
        let shown = ["--progress", "plain", "--format", "json"];
        let mut run = Running::start(&[&common[..], &shown].concat());
        run.wait_for_line("/3600s");
        kill(run.pid(), signal);
        let (status, text) = run.end();
        assert_eq!(status.code(), Some(code), "{text}");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["interrupted"], true);
        assert_eq!(report["exit_code"], code);
    }
}

/// Goal: a signal ends a search with its result so far.
///
/// Method: signal it in its second step, of a rate that takes an hour; the first step was one that
/// any target passes. Then in the first step of another search.
///
/// Kills: losing the completed steps; counting the interrupted one; exit code 0 or 99.
#[test]
fn a_signal_ends_a_search() {
    let search = |arguments: &[&str]| {
        let common = ["--find-max", "--slo", "served>=0", "-c", "2", "--warmup", "0"];
        let shown = ["--progress", "plain", "--format", "json", "--drain", "60s"];
        Running::start(&[&common[..], &shown, arguments].concat())
    };
    let interrupted = |run: Running| {
        kill(run.pid(), "INT");
        let (status, text) = run.end();
        assert_eq!(status.code(), Some(130), "{text}");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&report["interrupted"], &report["exit_code"]), (&true.into(), &130.into()));
        assert_eq!(report["find_max"]["limited_by"], "interrupted");
        report["find_max"].clone()
    };
    let mut run = search(&["--find-range", "20:40", "--find-step", "3s"]);
    run.wait_for_line("20/s  ok ");
    run.wait_for_line("/3.0s");
    let found = interrupted(run);
    assert_eq!((&found["rate"], found["steps"].as_array().unwrap().len()), (&20.0.into(), 1));

    let mut run = search(&["--find-range", "20:40", "--find-step", "1h"]);
    run.wait_for_line("/3600s");
    let found = interrupted(run);
    assert_eq!((&found["rate"], &found["steps"]), (&Value::Null, &Value::Array(Vec::new())));
}

/// Goal: the search tries rates in its range, from the lowest, and reports the result of each.
///
/// Method: a level that every rate meets, and one that none does, in a range that even a slow
/// machine serves.
///
/// Kills: a rate out of the range; exit code 0 without a result.
#[test]
fn the_highest_rate_is_found() {
    let search = |slo: &str| {
        let arguments = ["--find-max", "--slo", slo, "--find-range", "20:50", "--find-step"];
        let more = ["200ms", "-c", "3", "--warmup", "50ms", "--drain", "60s", "--format", "json"];
        loadtest(&[&arguments[..], &more].concat())
    };
    let output = search("served>=0");
    let found = &json(&output)["find_max"];
    let rates: Vec<f64> = found["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["rate"].as_f64().unwrap())
        .collect();
    assert_exit(&output, 0);
    assert_eq!((found["rate"].as_f64(), rates), (Some(50.0), vec![20.0, 40.0, 50.0]));
    assert_eq!(found["limited_by"], "range");

    let output = search("response max<0s");
    assert_exit(&output, 99);
    let found = &json(&output)["find_max"];
    assert!(found["rate"].is_null());
    assert_eq!(found["steps"].as_array().unwrap().len(), 1);
}

/// A free address, on which two servers can listen one after the other.
fn free_address() -> String {
    unused_url().strip_prefix("tcp://").unwrap().to_owned()
}

/// Goal: two servers are started in turns, never both, and compared, and each is stopped.
///
/// Method: two of our own servers, in the order ABBA, each behind a shell that records its start
/// and runs more than the server.
///
/// Kills: testing one server twice; a server that outlives its turn (the next could not listen);
/// the wrong order.
#[test]
fn two_servers_are_compared_in_turns() {
    let addr = free_address();
    let starts = scratch_file("starts");
    let server = |name: &str| {
        let note = format!("echo {name} >> {}", starts.display());
        format!("{note}; {PROGRAM} serve echo --driver epoll --listen {addr}; true")
    };
    let (base, new) = (server("base"), server("new"));
    let url = format!("tcp://{addr}");
    let arguments = ["ab", "--reps", "2", "--base", &base, "--new", &new, "--"];
    let output = loadtest(&[&arguments[..], &short(&[&url])].concat());
    assert_exit(&output, 0);
    let turns: Vec<&str> = stderr(&output)
        .lines()
        .filter(|line| line.starts_with("run "))
        .filter_map(|line| line.split_whitespace().nth(4))
        .collect();
    assert_eq!(turns, ["base", "new", "new", "base"], "{}", stderr(&output));
    let started = std::fs::read_to_string(&starts).unwrap();
    std::fs::remove_file(&starts).unwrap();
    assert_eq!(started.lines().collect::<Vec<_>>(), turns);
    let text = stdout(&output);
    assert!(text.starts_with(&format!("base  {base}\nnew   {new}\n")), "{text}");
    assert!(text.contains("95 % CI from 2 and 2 runs"), "{text}");
    assert!(std::net::TcpStream::connect(&addr).is_err(), "a server was left behind");
}

/// Goal: a signal ends a comparison of servers with the comparison so far, and stops the server.
///
/// Method: a signal in the third of many runs, and in the first one.
///
/// Kills: losing the results; a comparison with an interrupted run; exit code 0.
#[test]
fn a_signal_ends_a_comparison() {
    for (turn, wanted) in [(3, "\ninterrupted (exit 130)\n"), (1, "")] {
        let addr = free_address();
        let server = format!("{PROGRAM} serve echo --listen {addr}; true");
        let url = format!("tcp://{addr}");
        let ab = ["ab", "--reps", "1k", "--base", &server, "--new", &server, "--"];
        let mut run = Running::start(&[&ab[..], &short(&["--progress", "plain", &url])].concat());
        if turn > 1 {
            run.wait_for_line(&format!("run {} of 2000: ", turn - 1));
        }
        run.wait_for_line("ramp ");
        kill(run.pid(), "INT");
        let (status, text) = run.end();
        assert_eq!(status.code(), Some(130), "{text}");
        assert!(text.ends_with(wanted) && text.is_empty() == wanted.is_empty(), "{text}");
        assert!(std::net::TcpStream::connect(&addr).is_err(), "a server was left behind");
    }
}

/// Goal: a second signal ends a comparison at once, with its server.
///
/// Method: a server that never answers holds the drain of the run for an hour. Interrupt until the
/// program ends. Then no process has its stderr open or listens.
///
/// Kills: a server, in its own process group, that outlives the program.
#[test]
fn the_second_signal_kills_the_server() {
    let addr = free_address();
    let server = format!("{PROGRAM} serve sink --listen {addr}; true");
    let url = format!("tcp://{addr}");
    let ab = ["ab", "--base", &server, "--new", "x", "--", "-c", "2", "-d", "1h", "--warmup", "0"];
    let limits = ["--drain", "1h", "--timeout", "60s", "--progress", "plain", &url];
    let mut run = Running::start(&[&ab[..], &limits].concat());
    run.wait_for_line("/3600s");
    kill(run.pid(), "INT");
    run.wait_for_line("drain ");
    while run.is_running() {
        kill(run.pid(), "INT");
    }
    run.kill_and_wait_for_stderr();
    // The kernel closes the sockets of a killed program after its stderr.
    let is_gone = move || while std::net::TcpStream::connect(&addr).is_ok() {};
    within("a server was left behind", is_gone, || ());
}

/// Goal: a second signal ends a series at once, with its current run.
///
/// Method: a target that never answers holds the drain of the run. Interrupt until the program
/// ends. A run that continues would print its drain once a second, for the minute of its timeout.
///
/// Kills: a run that outlives the program.
#[test]
fn the_second_signal_kills_the_run() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // its backlog accepts
    let url = format!("tcp://{}", silent.local_addr().unwrap());
    let common = ["-c", "2", "-d", "1h", "--warmup", "0", "--reps", "2", "--progress", "plain"];
    let limits = ["--drain", "1h", "--timeout", "60s", &url];
    let mut run = Running::start(&[&common[..], &limits].concat());
    run.wait_for_line("/3600s");
    kill(run.pid(), "INT");
    run.wait_for_line("drain ");
    while run.is_running() {
        kill(run.pid(), "INT");
    }
    let rest = run.kill_and_wait_for_stderr();
    assert!(!rest.iter().any(|line| line.starts_with("drain 40s/")), "the run continued: {rest:?}");
}

/// Goal: a comparison of two servers can be printed as JSON.
///
/// Method: one run of each, with a limit that only incomparable runs breach.
///
/// Kills: a table in place of JSON; exchanged commands.
#[test]
fn a_comparison_of_servers_has_a_json_report() {
    let addr = free_address();
    let server = |driver: &str| format!("exec {PROGRAM} serve echo --listen {addr} {driver}");
    let (base, new) = (server("--driver epoll"), server("--driver auto"));
    let url = format!("tcp://{addr}");
    let limit = ["--max-regression", "p99=1000000%", "--format", "json"];
    let arguments = ["ab", "--reps", "1", "--base", &base, "--new", &new];
    let output = loadtest(&[&arguments[..], &limit, &["--"], &short(&[&url])].concat());
    let found = json(&output);
    assert_eq!(found["base"], base.as_str());
    let compared = found["compared"].as_array().unwrap();
    assert_eq!((compared.len(), &compared[0]["new"]), (1, &new.as_str().into()));
    // A busy machine saturates the generator, and then the runs are not comparable.
    let is_comparable = compared[0]["comparison"]["incomparable"].as_array().unwrap().is_empty();
    assert_exit(&output, if is_comparable { 0 } else { 99 });
    assert_eq!(found["exit_code"], if is_comparable { 0 } else { 99 });
}

/// Goal: a server that does not start, or whose address is in use, is exit code 1 with one line.
///
/// Method: a command that fails, and an address with another listener.
///
/// Kills: waiting for a server that has ended; measuring the wrong one.
#[test]
fn servers_that_cannot_start_are_refused() {
    let url = unused_url();
    let output = loadtest(&["ab", "--base", "exit 7", "--new", "true", "--", "-c", "1", &url]);
    assert_exit(&output, 1);
    let line = stderr(&output);
    assert!(line.contains("'exit 7' ended before it listened at tcp://"), "{line}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    let output = loadtest(&["ab", "--base", "true", "--new", "true", "--", "-c", "1", &url]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("is in use"), "{}", stderr(&output));
}
