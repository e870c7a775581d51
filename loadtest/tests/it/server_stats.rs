//! Server stats: the process behind the target's socket, and the counters of the kernel.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Output};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::common::{Running, Server, assert_exit, json, kill, loadtest, stderr, stdout};
use crate::targets::{echo_times, target};

const CONNECTIONS: u64 = 10;

/// A short run with a JSON report.
fn run(arguments: &[&str]) -> Output {
    let connections = CONNECTIONS.to_string();
    let common = ["-c", &connections, "-d", "500ms", "--warmup", "100ms", "--format", "json"];
    loadtest(&[&common[..], arguments].concat())
}

fn notes(report: &Value) -> Vec<&str> {
    report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect()
}

/// Goal: the process that listens at the target's address is found, and its figures are in every
/// form of the report.
///
/// Method: `loadtest serve` as another process; the figures in the JSON, then the lines of the
/// text.
///
/// Kills: sampling the load tester itself; figures from outside the window; a search among
/// connected sockets.
#[test]
fn the_listening_process_is_sampled() {
    let server = Server::start();
    let output = run(&[&server.url]);
    assert_exit(&output, 0);
    let report = json(&output);
    let found = &report["server"];
    assert_eq!(found["pid"], server.child.id());
    assert_eq!(found["pids"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&found["kind"], &found["driver"]), (&"loadtest".into(), &Value::Null));
    let figure =
        |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("no {name} in {found}"));
    assert!(figure("cpu_percent") > 0.0 && figure("cpu_us_per_message") > 0.0, "{found}");
    assert!(figure("rss_bytes") > 100_000.0, "{found}");
    assert!(figure("fds") >= CONNECTIONS as f64, "{found}");
    for name in ["listen_overflows", "listen_drops", "retransmits"] {
        assert_eq!(found[name], report["network"][name], "{name}");
        figure(name);
    }
    let switches = figure("voluntary_switches") + figure("involuntary_switches");
    assert!(switches > 0.0, "no context switch in half a second: {found}");

    let output = loadtest(&["-c", "10", "-d", "300ms", "--warmup", "0", &server.url]);
    let text = stdout(&output);
    let line = format!("Server       pid {} loadtest   cpu ", server.child.id());
    for wanted in [&line, " % of one core = ", " µs/msg   rss ", "   fds ", "listen overflow "] {
        assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
    }
}

/// Goal: `--sample-server` selects the process whose figures are reported.
///
/// Method: a run with its own server: this test's process in its place, and none.
///
/// Kills: an id that is ignored; figures of the own server in spite of `none`.
#[test]
fn sample_server_selects_the_process() {
    let this = std::process::id();
    let output = run(&["--sample-server", &this.to_string()]);
    assert_exit(&output, 0);
    assert_eq!(json(&output)["server"]["pids"], Value::from(vec![this]));
    let output = run(&["--sample-server", "none"]);
    assert_exit(&output, 0);
    let report = json(&output);
    assert!(report["server"].is_null());
    assert!(report["network"]["listen_overflows"].is_u64(), "the counters need no process");
}

/// Goal: a process that does not exist is one line and exit code 1, before a message is sent. A
/// value that is no process id is a usage error.
///
/// Method: an id that no kernel assigns, and a target that fails the test if it is reached.
///
/// Kills: a report without server stats; running first.
#[test]
fn a_missing_process_prevents_the_run() {
    let url = target(|_stream| panic!("the run has started"));
    let output = run(&["--sample-server", "4294967295", &url]);
    assert_exit(&output, 1);
    let line = "loadtest: --sample-server 4294967295: no process has this id\n";
    assert_eq!((stdout(&output), stderr(&output)), ("", line));
    let output = run(&["--sample-server", "nginx", &url]);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("is not auto, none or the id"), "{}", stderr(&output));
}

/// Goal: if several processes share the socket, all are sampled, and a note reports it.
///
/// Method: a listener of this process, and a child that has inherited it.
///
/// Kills: the figures of the first process only; a sum without the note.
#[test]
fn all_processes_of_a_shared_socket_are_sampled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let inherited = OwnedFd::from(listener.try_clone().unwrap());
    let mut child = Command::new("sleep").arg("1000").stdin(inherited).spawn().unwrap();
    let output = run(&["--timeout", "100ms", &url]); // the listener never accepts
    child.kill().unwrap();
    child.wait().unwrap();
    let report = json(&output);
    let pids = report["server"]["pids"].as_array().unwrap();
    for pid in [std::process::id(), child.id()] {
        assert!(pids.contains(&pid.into()), "{pid} is not among {pids:?}");
    }
    let note = notes(&report).into_iter().find(|note| note.contains("share the socket"));
    let note = note.unwrap_or_else(|| panic!("{report}"));
    assert!(note.contains(&format!("{} sleep", child.id())) && note.contains("sums"), "{note}");
}

/// Goal: an overflow of the accept queue is visible in the counters of the kernel, in a note, and
/// as failed connects.
///
/// Method: a listener whose queue holds one connection, which accepts none, and more connects.
///
/// Kills: counters read only at the end, or after the ramp; the wrong counter.
#[test]
fn a_full_accept_queue_is_reported() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let url = format!("tcp://{}", socket.local_addr().unwrap().as_socket().unwrap());
    let timeouts = ["--connect-timeout", "1500ms", "--timeout", "100ms", "--drain", "0"];
    let output = run(&[&timeouts[..], &[&url]].concat());
    assert_exit(&output, 3);
    let report = json(&output);
    assert!(report["connections"]["opened"].as_u64().unwrap() < CONNECTIONS, "{report}");
    let network = &report["network"];
    for name in ["listen_overflows", "listen_drops", "syn_retransmits", "retransmits"] {
        assert!(network[name].as_u64().unwrap() > 0, "{name}: {network}");
    }
    assert_eq!(report["server"]["listen_overflows"], network["listen_overflows"]);
    assert!(
        notes(&report).iter().any(|note| note.contains("an accept queue was full")),
        "{report}"
    );
}

/// Goal: connects that needed a second SYN are counted apart from other slow ones.
///
/// Method: an accept queue for two connections, which is emptied only when the run has waited a
/// second and still has only these two. The others connect with their second SYN or later. Then a
/// run whose connects find room at once.
///
/// Kills: a threshold in another unit, or above the first retransmission; a count in the note only.
#[test]
fn connects_with_a_repeated_syn_are_counted() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let fixed = ["-c", "6", "-n", "6", "--warmup", "0", "--connect-timeout", "60s"];
    let shown = ["--progress", "plain", "--json", "-"];
    let mut run = Running::start(&[&fixed[..], &shown, &[&url]].concat());
    run.wait_for_line("ramp 2/6");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo_times(&mut stream, 1));
        }
    });
    let (status, text) = run.end();
    assert_eq!(status.code(), Some(0), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let slow = report["connections"]["slow_connects"].as_u64().unwrap();
    assert!((1..=4).contains(&slow), "{slow} of 6: {text}");
    assert!(report["latency_us"]["connect"]["max"].as_f64().unwrap() >= 990_000.0, "{text}");
    let wanted = format!("{slow} connects took 1 s or more: SYNs were lost");
    assert!(notes(&report).iter().any(|note| note.contains(&wanted)), "{text}");

    let server = Server::start();
    assert_eq!(json(&self::run(&[&server.url]))["connections"]["slow_connects"], 0);
}

/// Goal: a server that ends during the run has no figures, and the rest of the report is complete.
///
/// Method: kill the server in the measured window, reap it, then end the run. The run reconnects
/// until then, so it continues without the server.
///
/// Kills: a panic about a missing process; figures of a process that has ended.
#[test]
fn a_server_that_ends_is_noted() {
    let mut server = Server::start();
    let fixed = ["-c", "1", "-d", "1h", "--warmup", "0", "--reconnect", "always", "--json", "-"];
    let mut run = Running::start(&[&fixed[..], &["--progress", "plain", &server.url]].concat());
    run.wait_for_line("/3600s");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    kill(run.pid(), "INT");
    let (_status, text) = run.end();
    let report: Value = serde_json::from_str(&text).unwrap();
    let found = &report["server"];
    assert_eq!(found["pid"], server.child.id());
    assert_eq!((&found["cpu_percent"], &found["rss_bytes"]), (&Value::Null, &Value::Null));
    let wanted = format!("process {} loadtest ended", server.child.id());
    assert!(notes(&report).iter().any(|note| note.contains(&wanted)), "{report}");
}
