//! Connections that are closed and reopened, and idle connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest, stdout};
use crate::targets::{Counter, SIZE, echo_times, hold, read_message, target, target_in_order};

#[track_caller]
fn run(arguments: &[&str]) -> Value {
    let output = loadtest(&[&["--format", "json", "--warmup", "0"], arguments].concat());
    assert_exit(&output, 0);
    json(&output)
}

/// Goal: a connection is closed after its number of messages, in order or by a reset, and another
/// one replaces it. No message is lost.
///
/// Method: 60 messages, five per connection, with and without a schedule and a pipeline. The target
/// records the number of messages and the end of each connection.
///
/// Kills: one message too many or too few; closing before the last reply; a reset in place of an
/// end; counting own closes as losses.
#[test]
fn connections_end_after_their_messages() {
    for (close, load) in [
        ("fin", &[][..]),
        ("rst", &["-p", "3"]),
        ("fin", &["-R", "2k", "-p", "2"]),
        ("rst", &["-R", "2k", "--dispatch", "per-conn"]),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let url = target(move |mut stream| {
            let mut message = [0; SIZE];
            let mut messages = 0;
            let end = loop {
                match stream.read_exact(&mut message) {
                    Ok(()) => stream.write_all(&message).unwrap(),
                    Err(error) => break error.kind(),
                }
                messages += 1;
            };
            notes.lock().unwrap().push((messages, end));
        });
        let common = ["-c", "3", "-n", "60", "-r", "5", "--close", close, &url];
        let report = run(&[&common[..], load].concat());
        assert_eq!(report["load"]["completed"], 60, "{close} {load:?}");
        assert_eq!(report["connections"]["lost"], 0);
        // 60 messages need twelve connections, three of which were opened first.
        assert!(report["connections"]["reconnects"].as_u64().unwrap() >= 9, "{close} {load:?}");
        let wanted = match close {
            "fin" => std::io::ErrorKind::UnexpectedEof,
            _ => std::io::ErrorKind::ConnectionReset,
        };
        let seen = seen.lock().unwrap();
        assert!(seen.iter().all(|(messages, _)| *messages <= 5), "{seen:?}");
        // The last connections end with the program, in order or not.
        let full: Vec<_> = seen.iter().filter(|(messages, _)| *messages == 5).collect();
        assert!(full.len() >= 9, "{seen:?}");
        let matching = full.iter().filter(|(_, end)| *end == wanted).count();
        assert!(matching + 3 >= full.len() && matching >= 6, "{close}: {seen:?}");
    }
}

/// Goal: a connection is closed after its lifetime, and the load continues on others.
///
/// Method: a lifetime of 20 ms, and 400 messages with pauses.
///
/// Kills: a lifetime that is checked only at the opening; losing an outstanding message.
#[test]
fn connections_end_after_their_lifetime() {
    let counter = Counter::default();
    let received = counter.clone();
    let url = target(move |stream| counter.echo(stream, || ()));
    let arguments = ["-c", "4", "-n", "400", "--think", "1ms", "--conn-lifetime", "20ms", &url];
    let report = run(&arguments);
    assert_eq!(report["load"]["completed"], 400);
    assert_eq!(received.get(), 400);
    assert_eq!(report["connections"]["lost"], 0);
    // 100 messages with a pause of 1 ms each take at least 100 ms.
    assert!(report["connections"]["reconnects"].as_u64().unwrap() >= 4, "{report:#}");
}

/// Goal: with `--reconnect always` a failed connection is reopened, and each failure costs one
/// message.
///
/// Method: a target that closes each connection at its fourth message.
///
/// Kills: a run that ends with its first connections; a failure that is lost with its connection.
#[test]
fn failed_connections_are_reopened() {
    let url = target(|mut stream| {
        echo_times(&mut stream, 3);
        read_message(&mut stream);
    });
    let report = run(&["-c", "2", "-n", "50", "--reconnect", "always", &url]);
    let load = &report["load"];
    let (completed, errors) = (&load["completed"], &load["errors"]["eof"]);
    assert_eq!(completed.as_u64().unwrap() + errors.as_u64().unwrap(), 50, "{load}");
    assert_eq!(&load["errors"]["total"], errors);
    assert!(errors.as_u64().unwrap() >= 11, "{load}");
    assert_eq!(&report["connections"]["lost"], errors);
}

/// Goal: a worker that has sent its messages and lost its connections counts as ended once, so the
/// run waits for the other worker.
///
/// Method: two workers with a connection each that ends with the worker's last message. The target
/// answers one of them at once, and the other one only when the first has ended.
///
/// Kills: a run that ends after two ends of one worker.
#[test]
fn every_worker_sends_its_messages() {
    let (end, ended) = std::sync::mpsc::channel();
    let rest = Arc::new(Mutex::new(Some(ended)));
    let url = target(move |mut stream| {
        let must_wait = rest.lock().unwrap().take();
        echo_times(&mut stream, 1);
        if let Some(ended) = must_wait {
            ended.recv().unwrap();
        }
        echo_times(&mut stream, 1_999);
        hold(stream);
        let _ = end.send(());
    });
    let limits = ["-n", "4k", "-r", "2k", "-d", "1h", "--reconnect", "never"];
    let report = run(&[&["-t", "2", "-c", "2", &url], &limits[..]].concat());
    assert_eq!(report["load"]["completed"], 4_000);
    assert_eq!(report["connections"]["per_conn"]["min"], 2_000);
}

/// Goal: if the target is lost, the run continues for the time of `--give-up` and then ends,
/// although connections are to be reopened.
///
/// Method: a target that serves two connections once and closes its listener; a duration of an
/// hour.
///
/// Kills: retrying without an end; exit code 0.
#[test]
fn a_lost_target_ends_the_run_after_give_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut streams: Vec<_> = (0..2).map(|_| listener.accept().unwrap().0).collect();
        drop(listener);
        for stream in &mut streams {
            echo_times(stream, 1);
        }
        for stream in streams {
            stream.shutdown(Shutdown::Both).unwrap();
        }
    });
    let common = ["-c", "2", "-d", "1h", "--warmup", "0", "--reconnect", "always", &url];
    let output = loadtest(&[&common[..], &["--give-up", "300ms"]].concat());
    assert_exit(&output, 3);
    let text = stdout(&output);
    assert!(text.contains("no reply for 0.30 s (--give-up)"), "{text}");
    assert!(text.contains("connect refused ECONNREFUSED"), "{text}");
    assert!(text.contains("reconnects 0"), "{text}");
}

/// Goal: idle connections are opened and send nothing, and their loss is detected.
///
/// Method: two active and five idle connections; one connect at a time, so that the target can
/// distinguish them by number. It closes one idle connection and counts the bytes of the others.
///
/// Kills: an idle connection that sends; one that is counted as served; a loss that is not
/// detected.
#[test]
fn idle_connections_stay_silent() {
    let counter = Counter::default();
    let idle_bytes = Arc::new(AtomicU64::new(0));
    let counter_of_idle = Arc::clone(&idle_bytes);
    let url = target_in_order(move |mut stream, number| match number {
        0 | 1 => counter.echo(stream, || ()),
        2 => drop(stream),
        _ => {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            counter_of_idle.fetch_add(rest.len() as u64, Ordering::SeqCst);
        }
    });
    let idle = ["--idle", "5", "--connect-concurrency", "1"];
    let report = run(&[&["-c", "2", "-d", "300ms", &url], &idle[..]].concat());
    let connections = &report["connections"];
    assert_eq!(connections["idle"], serde_json::json!({"asked": 5, "open": 4, "lost": 1}));
    assert_eq!((&connections["opened"], &connections["served"]), (&2.into(), &2.into()));
    assert_eq!(report["latency_us"]["connect"]["samples"], 7);
    assert_eq!(idle_bytes.load(Ordering::SeqCst), 0);
    assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
}
