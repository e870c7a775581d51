//! The generator's verdict about itself.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::{Running, assert_exit, json, kill, loadtest};
use crate::targets::{Counter, target};

/// Runs for two seconds, and stops the process for half a second after the first message.
fn stopped_for_a_quarter(arguments: &[&str]) -> Value {
    let counter = Counter::default();
    let (first, begun) = mpsc::channel();
    let url = target(move |stream| {
        counter.echo(stream, || _ = first.send(()));
    });
    let common = ["-d", "2s", "--warmup", "0", "--format", "json", &url];
    let run = Running::start(&[&common[..], arguments].concat());
    begun.recv().expect("a message arrives");
    kill(run.pid(), "STOP");
    // The fault that is tested, not a way to wait for something.
    thread::sleep(Duration::from_millis(500));
    kill(run.pid(), "CONT");
    let (status, text) = run.end();
    assert!(status.success(), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Goal: if the generator was stopped, the verdict is "saturated" with the reason.
///
/// Method: an open loop with more free connections than it needs, so it was late although
/// connections were free; and a closed loop, in which every connection waits for its reply.
///
/// Kills: a verdict from processor time alone; a loop lag that counts one long sleep once, or not
/// at all; lag in an open loop only.
#[test]
fn a_stopped_generator_is_reported() {
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

/// Goal: a message is late from the time at which any connection could have sent it, not only the
/// one that does.
///
/// Method: stop the generator while nearly all of 50 connections are free. Then these send the 100
/// messages that were due meanwhile.
///
/// Kills: lag from the time at which the sending connection was free; lag from the turn of the loop
/// instead of the due time.
#[test]
fn lag_starts_when_any_connection_is_free() {
    let report = stopped_for_a_quarter(&["-c", "50", "-R", "200"]);
    let lag = &report["generator"]["send_lag_us"];
    // At least 49 of 400 messages were sent by connections that were free all the time.
    assert!(lag["p99"].as_f64().unwrap() > 300e3, "{lag}");
}

/// Goal: a worker that spins until the next message is not busy, and its spin time is reported.
///
/// Method: a message every 20 ms, with a spin of a second before each, and without.
///
/// Kills: a worker that sleeps; `--spin 0` that spins; spin time that is not reported.
#[test]
fn spinning_is_not_busy_time() {
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
