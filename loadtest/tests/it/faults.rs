//! Targets that misbehave. A failure is that connection's, has a class, and is counted once.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use serde_json::Value;

use crate::common::{HUNG, Running, assert_exit, json, kill, loadtest, nobody, stderr, stdout};
use crate::targets::{SIZE, echo_times, hold, read_message, target};

const CONNECTIONS: u64 = 5;

/// Reads one message more before it closes: closing with unread data would be a reset.
fn echo_times_and_close(mut stream: TcpStream, times: usize) {
    echo_times(&mut stream, times);
    read_message(&mut stream);
}

/// Tests the target with no warm-up, so that every message counts.
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

/// Goal: each way to spoil a reply is an error of its own class, at its own stage, with its errno;
/// nothing else happens, and a run in which nobody was served is exit code 3.
///
/// Method: one target per fault; it spoils the first reply of each connection. The run is to last an
/// hour, and ends at once because no connection is left.
///
/// Kills: a class that swallows another; counting a failure twice; waiting out the duration with
/// nobody left.
#[test]
fn faults_have_classes() {
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

/// Goal: a target that never answers is a timeout, recorded at its length and not as an error.
///
/// Method: a silent target and a short patience.
///
/// Kills: leaving timeouts out of the histogram; counting them as errors too.
#[test]
fn silence_is_a_timeout() {
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

/// Goal: one bad connection among good ones costs one message and nothing else.
///
/// Method: a target that answers each connection fifty times, except its third, which it closes after
/// two replies. The run ends when all are closed.
///
/// Kills: a failure that ends the run, its neighbours or the worker.
#[test]
fn one_bad_connection() {
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

/// Goal: messages without an answer at the end are counted and enter the histogram.
///
/// Method: three replies per connection, then silence; interrupted when the target has every
/// connection's fourth message. No drain.
///
/// Kills: dropping what is in flight at the end, which hides a stall completely.
#[test]
fn nothing_vanishes_at_the_end() {
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

/// Goal: a run whose connections are all lost ends, and says so.
///
/// Method: a target that closes each connection after five replies; as text, for an hour.
///
/// Kills: waiting out the hour; an exit code or a summary that hides the loss.
#[test]
fn all_connections_lost() {
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

/// Goal: of each kind of failure one learns when it was first and last noticed, and where one can look
/// for it: the connection, our address, and what came instead.
///
/// Method: a target that spoils the third reply of each connection in its last byte, a silent target,
/// one that is not there; the addresses that the target has seen are compared with the report's.
///
/// Kills: an address asked for when the socket is gone; the bytes before the wrong one; times from
/// another zero; an example that the second connection overwrites; a text that leaves all this out.
#[test]
fn failures_can_be_looked_for() {
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

    let absent = json(&run(&nobody(), &["--source", "127.0.0.7"]));
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
