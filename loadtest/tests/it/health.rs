//! Whether the generator owns up when its figures are its own.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::{Running, assert_exit, json, kill, loadtest};
use crate::targets::{Counter, target};

/// A run of two seconds that is stopped for half a second of them, from the first message on.
fn stopped_for_a_quarter(arguments: &[&str]) -> Value {
    let counter = Counter::default();
    let (first, begun) = mpsc::channel();
    let url = target(move |stream| {
        counter.echo(stream, || _ = first.send(()));
    });
    let common = ["-d", "2s", "--warmup", "0", "--format", "json", &url];
    let run = Running::start(&[&common[..], arguments].concat());
    begun.recv().expect("a message comes");
    kill(run.pid(), "STOP");
    // The fault that is tested, not a way to wait for something.
    thread::sleep(Duration::from_millis(500));
    kill(run.pid(), "CONT");
    let (status, text) = run.end();
    assert!(status.success(), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Goal: when it was the generator that stood still, the verdict says so, and why.
///
/// Method: an open loop with places for more than it sends, so that it was late although every
/// connection was free; and a closed loop, of which every connection waits for its reply.
///
/// Kills: a verdict from processor time alone; a loop lag that counts a ring that was slept through
/// once, or not at all; lag that counts in an open loop only.
#[test]
fn a_generator_that_stood_still_says_so() {
    for (arguments, mode) in
        [(&["-c", "50", "-R", "200"][..], "open loop"), (&["-c", "2"], "closed loop (saturation)")]
    {
        let report = stopped_for_a_quarter(arguments);
        assert_eq!(report["config"]["mode"], mode);
        let generator = &report["generator"];
        assert_eq!(generator["verdict"], "saturated", "{generator}");
        let reason = generator["verdict_reason"].as_str().unwrap();
        assert!(reason.contains("its lag was"), "{reason}");
        assert!(generator["loop_lag_us"]["p99"].as_f64().unwrap() > 300e3, "{generator}");
    }
}

/// Goal: a message is late from the moment on at which any connection had a place for it, not only
/// the one that sends it in the end.
///
/// Method: the generator is stopped while nearly all of 50 connections are free, and then sends what
/// was due meanwhile, 100 messages, by these.
///
/// Kills: lag from the moment on at which the sending connection had its place; lag from the actual
/// turn of the loop instead of the due time.
#[test]
fn lag_is_since_there_was_a_place() {
    let report = stopped_for_a_quarter(&["-c", "50", "-R", "200"]);
    let lag = &report["generator"]["send_lag_us"];
    // At least 49 of 400 messages were sent by connections that were free all the time.
    assert!(lag["p99"].as_f64().unwrap() > 300e3, "{lag}");
}

/// Goal: a worker that stays awake for the next message is not busy, and says what it does.
///
/// Method: a message every 20 ms, and awake a second before each; and without.
///
/// Kills: a worker that sleeps; `--spin 0` that spins; time that is not handed in.
#[test]
fn spinning_is_no_work() {
    let url = target(|stream| Counter::default().echo(stream, || ()));
    let spin_percent = |spin: &str| {
        let arguments = ["-c", "4", "-R", "50", "-d", "1s", "--warmup", "0", "--spin", spin];
        let output = loadtest(&[&["--format", "json"][..], &arguments, &[&url]].concat());
        assert_exit(&output, 0);
        json(&output)["generator"]["spin_percent"][0].as_f64().unwrap()
    };
    assert!(spin_percent("1s") > 50.0);
    assert_eq!(spin_percent("0"), 0.0);
}
