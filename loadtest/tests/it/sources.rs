//! Source addresses of connections, and processors of workers.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common::{assert_exit, json, loadtest, stdout};
use crate::targets::Counter;

/// Goal: the addresses are used in turn over all workers, and a reopened connection keeps its own.
///
/// Method: six connections on two workers from four addresses, then two messages per connection.
/// The target counts connections by address.
///
/// Kills: one address for all; one address per worker; an address chosen by the kernel after a
/// reconnect.
#[test]
fn sources_take_turns() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let peers: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let seen = Arc::clone(&peers);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().unwrap().ip().to_string();
            *seen.lock().unwrap().entry(peer).or_default() += 1;
            thread::spawn(move || Counter::default().echo(stream, || ()));
        }
    });
    let sources = ["--source", "127.0.0.5-127.0.0.6", "--source", "127.0.0.9-127.0.0.10"];
    let common = ["-c", "6", "-t", "2", "-n", "600", "--warmup", "0", "--format", "json", &url];
    let report = json(&loadtest(&[&common[..], &sources].concat()));
    assert_eq!(report["load"]["completed"], 600, "{}", report["failures"]);
    assert_eq!(
        report["config"]["sources"],
        serde_json::json!(["127.0.0.5-127.0.0.6", "127.0.0.9-127.0.0.10"])
    );
    let peers_now = std::mem::take(&mut *peers.lock().unwrap());
    // Six connections over four addresses: the first two get one more.
    let shares = [("127.0.0.5", 2), ("127.0.0.6", 2), ("127.0.0.9", 1), ("127.0.0.10", 1)];
    let shares: BTreeMap<String, u32> =
        shares.map(|(address, count)| (address.to_owned(), count)).into();
    assert_eq!(peers_now, shares);

    let churn = [&common[..], &sources, &["-r", "2"]].concat();
    let report = json(&loadtest(&churn));
    assert_eq!(report["load"]["completed"], 600, "{}", report["failures"]);
    let peers_now = peers.lock().unwrap();
    assert!(peers_now.keys().eq(shares.keys()), "{peers_now:?}");
    assert!(peers_now.values().sum::<u32>() >= 300);
}

/// Goal: a source address that this machine does not have is an error of the connect, with its
/// errno.
///
/// Method: connect from an address of a network that is reserved for documentation.
///
/// Kills: silently using another address.
#[test]
fn a_foreign_source_fails_the_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let output = loadtest(&["-c", "2", "--source", "192.0.2.1", "--format", "json", &url]);
    assert_exit(&output, 3);
    let row = &json(&output)["failures"][0];
    assert_eq!((&row["stage"], &row["errno"]), (&"connect".into(), &"EADDRNOTAVAIL".into()));
}

/// Goal: workers run on the given processors, and a processor that does not exist is an error.
///
/// Method: pin to a processor that exists, and to one that does not on most machines.
///
/// Kills: an option that is parsed and not used.
#[test]
fn workers_are_pinned_to_processors() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
    let list = line.split_ascii_whitespace().nth(1).unwrap();
    let cpu = list.split([',', '-']).next().unwrap();
    let output = loadtest(&["-c", "2", "-n", "10", "--warmup", "0", "--pin", cpu]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("completed 10"));
    let output = loadtest(&["-c", "2", "-n", "10", "--pin", "1023"]);
    assert_exit(&output, 1);
    assert!(crate::common::stderr(&output).contains("processor 1023"));
}
