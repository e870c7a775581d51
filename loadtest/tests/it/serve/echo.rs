//! `serve echo`.

use std::io::{Read, Write};

use serde_json::json;

use super::{DRIVERS, Target, pattern};

/// Goal: the echo returns all bytes unchanged on every thread, and its counters are exact: complete
/// messages, independent of the pieces, summed over all threads.
///
/// Method: 40 connections to three threads, on both drivers. Each sends 1 000 bytes in two pieces,
/// which are ten messages of 96 bytes and a rest, and reads them back.
///
/// Kills: a thread with another address or without a listener (its share of the connections is
/// refused); the counters of one thread in place of the sum; pieces counted as messages.
#[test]
fn every_byte_comes_back_and_is_counted() {
    for driver in DRIVERS {
        let target = Target::start(&["echo", "--threads", "3", "--size", "96", "--driver", driver]);
        let mut streams: Vec<_> = (0..40).map(|_| target.connect()).collect();
        let bytes = pattern(1_000);
        for stream in &mut streams {
            stream.write_all(&bytes[..100]).unwrap();
            let mut reply = vec![0; 1_000];
            stream.read_exact(&mut reply[..100]).unwrap();
            stream.write_all(&bytes[100..]).unwrap();
            stream.read_exact(&mut reply[100..]).unwrap();
            assert!(reply == bytes, "{driver}");
        }
        drop(streams);
        let wanted = json!({
            "kind": "echo", "connections": 40, "messages": 400, "bad_requests": 0,
            "bytes_in": 40_000, "bytes_out": 40_000, "faults": {},
        });
        assert_eq!(target.stop(), wanted, "{driver}");
    }
}

/// Goal: each thread has its own listener, so the kernel distributes the connections.
///
/// Method: the listening sockets on the port, in `/proc/net/tcp`.
///
/// Kills: `--threads` that starts one; threads that share one listener.
#[test]
fn each_thread_has_a_listener() {
    let target = Target::start(&["echo", "--threads", "3"]);
    let port = format!(":{:04X} ", target.addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = |line: &&str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1).unwrap();
        format!("{local} ").ends_with(&port) && words.nth(1) == Some("0A")
    };
    assert_eq!(table.lines().filter(listening).count(), 3);
}

/// Goal: a signal stops the server in order: counters, exit code 0.
///
/// Method: SIGTERM and SIGINT to a server with a served connection that stays open.
///
/// Kills: ending by the signal itself; waiting for the peer to close; printing the counters only at
/// the end of stdin.
#[test]
fn a_signal_stops_the_server() {
    for signal in ["TERM", "INT"] {
        let target = Target::start(&["echo", "--size", "5"]);
        let mut stream = target.connect();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        target.signal(signal);
        let (status, counters) = target.end();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert_eq!((&counters["connections"], &counters["messages"]), (&json!(1), &json!(1)));
        assert_eq!(stream.read(&mut [0; 5]).unwrap(), 0, "the server closes its connections");
    }
}
