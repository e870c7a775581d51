//! Targets with faults. Each failure affects one connection, has a class, and is counted once.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use serde_json::Value;

use crate::common::{HUNG, Running, assert_exit, json, kill, loadtest, stderr, stdout, unused_url};
use crate::targets::{SIZE, echo_times, hold, read_message, target};

const CONNECTIONS: u64 = 5;

/// Echoes, and reads one more message before it closes. A close with unread data would be a reset.
fn echo_times_and_close(mut stream: TcpStream, times: usize) {
    echo_times(&mut stream, times);
    read_message(&mut stream);
}

/// Tests the target without a warm-up, so that every message counts.
fn run(url: &str, arguments: &[&str]) -> std::process::Output {
    let connections = CONNECTIONS.to_string();
    let common = ["-c", &connections, "--warmup", "0", "-d", "1h", "--format", "json", url];
    loadtest(&[&common[..], arguments].concat())
}

/// The classes that are not zero, with their counts, as `load.errors` has them.
fn classes(report: &Value) -> Vec<(String, u64)> {
    let errors = report["load"]["errors"].as_object().unwrap();
    let counts = errors.iter().map(|(class, count)| (class.clone(), count.as_u64().unwrap()));
    counts.filter(|(class, count)| class != "total" && *count > 0).collect()
}

/// Goal: each fault is an error of its own class, at its stage, with its errno. A run without a
/// served connection is exit code 3.
///
/// Method: one target per fault, which breaks the first reply of each connection. The run is to
/// last an hour, and ends at once because no connection is left.
///
/// Kills: a class that includes another; counting a failure twice; waiting for the end of the hour
/// without a connection.
#[test]
fn each_fault_has_its_class() {
    let eof = target(|mut stream| {
        read_message(&mut stream);
    });
    let half_closed = target(|mut stream| {
        read_message(&mut stream);
        stream.shutdown(Shutdown::Write).unwrap();
        hold(stream);
    });
    // Closing with unread data is a reset.
    let reset = target(|stream| {
        stream.peek(&mut [0; 1]).unwrap();
    });
    let short = target(|mut stream| {
        let message = read_message(&mut stream);
        stream.write_all(&message[..SIZE - 1]).unwrap();
    });
    let wrong = target(|mut stream| {
        let mut message = read_message(&mut stream);
        message[SIZE - 1] ^= 1;
        stream.write_all(&message).unwrap();
        hold(stream);
    });
    let surplus = target(|mut stream| {
        let message = read_message(&mut stream);
        stream.write_all(&[&message[..], b"!"].concat()).unwrap();
        hold(stream);
    });
    for (url, class, errno) in [
        (eof, "eof", Value::Null),
        (half_closed, "eof", Value::Null),
        (reset, "reset", "ECONNRESET".into()),
        (short, "short", Value::Null),
        (wrong, "mismatch", Value::Null),
        (surplus, "mismatch", Value::Null),
    ] {
        let output = run(&url, &[]);
        assert_exit(&output, 3);
        let report = json(&output);
        assert_eq!(classes(&report), [(class.to_owned(), CONNECTIONS)]);
        assert_eq!(report["load"]["errors"]["total"], CONNECTIONS);
        assert_eq!(report["load"]["sent"], CONNECTIONS);
        assert_eq!(report["connections"]["opened"], CONNECTIONS);
        assert_eq!(report["connections"]["lost"], CONNECTIONS);
        let row = &report["failures"][0];
        assert_eq!((&row["stage"], &row["class"]), (&"recv".into(), &class.into()));
        assert_eq!(row["errno"], errno, "{class}");
    }
}

/// Goal: a target that never answers is a timeout, recorded with its length and not as an error.
///
/// Method: a silent target and a short timeout.
///
/// Kills: leaving timeouts out of the histogram; counting them as errors, too.
#[test]
fn a_silent_target_times_out() {
    let output = run(&target(hold), &["--timeout", "100ms"]);
    assert_exit(&output, 3);
    let report = json(&output);
    assert_eq!(report["load"]["timed_out"], CONNECTIONS);
    assert_eq!(report["load"]["errors"]["total"], 0);
    assert_eq!(classes(&report), []);
    let service = &report["latency_us"]["service"];
    assert_eq!((&service["samples"], &service["censored"]), (&5.into(), &5.into()));
    assert!(service["min"].as_f64().unwrap() >= 99_900.0, "{service}");
}

/// Goal: one bad connection among good ones costs one message and affects no other.
///
/// Method: a target that answers each connection fifty times, except its third, which it closes
/// after two replies. The run ends when all are closed.
///
/// Kills: a failure that ends the run, other connections or the worker.
#[test]
fn one_bad_connection_costs_one_message() {
    let accepted = Arc::new(AtomicU64::new(0));
    let url = target(move |stream| {
        let is_bad = accepted.fetch_add(1, Ordering::Relaxed) == 2;
        echo_times_and_close(stream, if is_bad { 2 } else { 50 });
    });
    let output = run(&url, &[]);
    assert_exit(&output, 3);
    let report = json(&output);
    assert_eq!(report["connections"]["served"], CONNECTIONS);
    assert_eq!(report["connections"]["per_conn"]["min"], 2);
    assert_eq!(report["connections"]["per_conn"]["p50"], 50);
    assert_eq!(report["load"]["completed"], (CONNECTIONS - 1) * 50 + 2);
    assert_eq!(classes(&report), [("eof".to_owned(), CONNECTIONS)]);
}

/// Goal: messages without a reply at the end are counted and recorded in the histogram.
///
/// Method: three replies per connection, then silence; interrupted when the target has received the
/// fourth message of every connection. No drain.
///
/// Kills: dropping messages in flight at the end, which hides a stall completely.
#[test]
fn unanswered_messages_are_in_the_histogram() {
    let (stalled, all_stalled) = mpsc::channel();
    let url = target(move |mut stream| {
        echo_times(&mut stream, 3);
        read_message(&mut stream);
        stalled.send(()).unwrap();
        hold(stream);
    });
    let connections = CONNECTIONS.to_string();
    let arguments = ["-c", &connections, "--warmup", "0", "-d", "1h", "--drain", "0"];
    let run =
        Running::start(&[&arguments[..], &["--timeout", "60s", "--json", "-", &url]].concat());
    for _ in 0..CONNECTIONS {
        all_stalled.recv_timeout(HUNG).unwrap();
    }
    kill(run.pid(), "INT");
    let (status, text) = run.end();
    assert_eq!(status.code(), Some(130), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["load"]["completed"], CONNECTIONS * 3);
    assert_eq!(report["load"]["in_flight"], CONNECTIONS);
    assert_eq!(report["load"]["sent"], CONNECTIONS * 4);
    assert_eq!(report["latency_us"]["service"]["censored"], CONNECTIONS);
    assert_eq!(report["latency_us"]["service"]["samples"], CONNECTIONS * 4);
}

/// Goal: a run whose connections are all lost ends and reports the reason.
///
/// Method: a target that closes each connection after five replies; as text, for an hour.
///
/// Kills: waiting for the end of the hour; an exit code or a summary that hides the loss.
#[test]
fn a_run_without_connections_ends() {
    let url = target(|stream| echo_times_and_close(stream, 5));
    let gate = ["--threshold", "errors rate<100%"];
    let output = loadtest(&[&["-c", "4", "--warmup", "0", "-d", "1h", &url], &gate[..]].concat());
    assert_exit(&output, 3);
    let text = stdout(&output);
    assert!(!text.contains("\nThresholds"), "{text}");
    assert!(stderr(&output).starts_with("loadtest: gave up at 0."), "{}", stderr(&output));
    for wanted in [
        "every connection was lost before the end",
        " of 3600 s: no connection was left, and --reconnect is never; no gate was checked",
        "gave up (exit 3)",
        "served 4/4   lost 4",
        "completed 20 | errors 4",
        "Errors       recv eof 4",
    ] {
        assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
    }
}

/// Goal: each kind of failure has its first and last time, and an example with the connection, the
/// local address and the received bytes.
///
/// Method: a target that changes the last byte of each third reply, a silent target, and a target
/// without a listener. The target's peer addresses are compared with the report's.
///
/// Kills: an address that is queried after the close; the bytes before the wrong one; times from
/// another start; an example that a later connection overwrites; a text without these.
#[test]
fn failures_have_times_and_an_example() {
    let (seen, addresses) = mpsc::channel();
    let url = target(move |mut stream| {
        seen.send(stream.peer_addr().unwrap().to_string()).unwrap();
        echo_times(&mut stream, 2);
        let mut message = read_message(&mut stream);
        message[SIZE - 1] = 7;
        stream.write_all(&message).unwrap();
        hold(stream);
    });
    let report = json(&run(&url, &[]));
    let addresses: Vec<String> = addresses.try_iter().collect();
    let row = &report["failures"][0];
    assert_eq!((&row["class"], &row["count"]), (&"mismatch".into(), &CONNECTIONS.into()));
    let [first, last] = ["first_s", "last_s"].map(|name| row[name].as_f64().unwrap());
    assert!(0.0 <= first && first <= last && last < 3_600.0, "{row}");
    let example = &row["example"];
    assert!(example["connection"].as_u64().unwrap() < CONNECTIONS, "{example}");
    assert_eq!(example["got"], "\"\\x07\" at byte 63");
    let local = example["local"].as_str().unwrap().to_owned();
    assert!(addresses.contains(&local), "{local} is not among {addresses:?}");

    let silent = json(&run(&target(hold), &["--timeout", "100ms"]));
    let row = &silent["failures"][0];
    assert_eq!((&row["class"], &row["example"]["got"]), (&"timeout".into(), &Value::Null));
    assert!(row["first_s"].as_f64().unwrap() >= 0.09, "{row}");

    let absent = json(&run(&unused_url(), &["--source", "127.0.0.7"]));
    let row = &absent["failures"][0];
    assert_eq!((&row["class"], &row["first_s"]), (&"refused".into(), &Value::Null));
    assert_eq!(row["example"]["local"], "127.0.0.7");

    let output = loadtest(&["-c", "1", "--warmup", "0", "-d", "1h", &url]);
    let text = stdout(&output);
    let (_, details) = text.split_once("Errors       recv mismatch 1\n").expect(text);
    for wanted in ["at ", " s: connection 0 from 127.0.0.1:", " got \"\\x07\" at byte 63\n"] {
        assert!(details.contains(wanted), "no '{wanted}' in:\n{text}");
    }
}
