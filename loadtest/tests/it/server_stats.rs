//! What a run finds out about its target: the process behind the socket, and what the kernel counted.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Output};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::common::{Running, Server, assert_exit, json, kill, loadtest, stderr, stdout};
use crate::targets::{echo_times, target};

const CONNECTIONS: u64 = 10;

/// A short run that reports as JSON.
fn run(arguments: &[&str]) -> Output {
    let connections = CONNECTIONS.to_string();
    let common = ["-c", &connections, "-d", "500ms", "--warmup", "100ms", "--format", "json"];
    loadtest(&[&common[..], arguments].concat())
}

fn notes(report: &Value) -> Vec<&str> {
    report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect()
}

/// Goal: the process that listens at the target's address is found, and what it used is reported in
/// every form.
///
/// Method: `loadtest serve` as another process; the figures of JSON, then the text's lines.
///
/// Kills: sampling our own process; figures of the wrong end of the window; a search among sockets
/// that are connected.
#[test]
fn the_server_is_found() {
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
    assert!(switches > 0.0, "half a second, and it never waited: {found}");

    let output = loadtest(&["-c", "10", "-d", "300ms", "--warmup", "0", &server.url]);
    let text = stdout(&output);
    let line = format!("Server       pid {} loadtest   cpu ", server.child.id());
    for wanted in [&line, " % of one core = ", " µs/msg   rss ", "   fds ", "listen overflow "] {
        assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
    }
}

/// Goal: `--sample-server` decides whose figures are reported.
///
/// Method: our own server, and instead of it this test's process; nobody; a server that is told.
///
/// Kills: an id that is ignored; figures of the own server although nobody wants them.
#[test]
fn somebody_else_is_sampled() {
    let this = std::process::id();
    let output = run(&["--sample-server", &this.to_string()]);
    assert_exit(&output, 0);
    assert_eq!(json(&output)["server"]["pids"], Value::from(vec![this]));
    let output = run(&["--sample-server", "none"]);
    assert_exit(&output, 0);
    let report = json(&output);
    assert!(report["server"].is_null());
    assert!(report["network"]["listen_overflows"].is_u64(), "the own server's queue is known");
}

/// Goal: a process that does not exist is one line and exit code 1, before anything is sent; what is
/// no process id is a usage error.
///
/// Method: an id that no kernel gives, and a target that would fail the test if it were reached.
///
/// Kills: a report without a server, as if there were none; running first.
#[test]
fn nobody_has_that_id() {
    let url = target(|_stream| panic!("nothing was to be sent"));
    let output = run(&["--sample-server", "4294967295", &url]);
    assert_exit(&output, 1);
    let line = "loadtest: --sample-server 4294967295: no process has this id\n";
    assert_eq!((stdout(&output), stderr(&output)), ("", line));
    let output = run(&["--sample-server", "nginx", &url]);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("is not auto, none or the id"), "{}", stderr(&output));
}

/// Goal: of several processes behind one socket all are sampled, and the reader is told.
///
/// Method: a listener of this process, and a child that has inherited it.
///
/// Kills: the first one's figures as if they were all; a sum that nobody knows to be one.
#[test]
fn a_socket_that_is_shared() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let inherited = OwnedFd::from(listener.try_clone().unwrap());
    let mut child = Command::new("sleep").arg("1000").stdin(inherited).spawn().unwrap();
    let output = run(&["--timeout", "100ms", &url]); // nobody accepts
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

/// Goal: connections that find the accept queue full are seen where it happened: in the kernel's
/// counters, in a note, and as connects that failed.
///
/// Method: a listener that holds one connection and accepts none, and more connects than that.
///
/// Kills: counters read only at the end, or after the ramp; the wrong counter.
#[test]
fn a_full_accept_queue() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let url = format!("tcp://{}", socket.local_addr().unwrap().as_socket().unwrap());
    let patience = ["--connect-timeout", "1500ms", "--timeout", "100ms", "--drain", "0"];
    let output = run(&[&patience[..], &[&url]].concat());
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

/// Goal: connects that had to wait for a SYN to be sent again are told from slow ones.
///
/// Method: an accept queue for two connections, which is emptied only when the run has waited for a
/// second and still has no more than these two: the others come in with their second SYN, or later.
/// Then a run whose connects find a place at once.
///
/// Kills: a threshold in another unit, or above the first repetition; a count that is in the note
/// alone.
#[test]
fn connects_that_were_repeated() {
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

/// Goal: a server that ends during the run costs its figures and nothing else.
///
/// Method: kill it in the measured window, collect it, then end the run. Its connections come back
/// for as long as that takes, so the run goes on without it.
///
/// Kills: a panic about a missing process; figures that stand for a process that is gone.
#[test]
fn a_server_that_ends_is_told() {
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
