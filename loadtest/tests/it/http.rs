//! HTTP targets: our own `serve http`, whose counters are the reference, and threads with fixed
//! replies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest, scratch_file, stdout};
use crate::serve::Target;
use crate::targets::{hold, target};

#[track_caller]
fn run(arguments: &[&str], exit: i32) -> Value {
    let output = loadtest(&[&["--format", "json", "--drain", "60s"], arguments].concat());
    assert_exit(&output, exit);
    let report = json(&output);
    assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    report
}

#[track_caller]
fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

/// The classes that are not zero, with their counts.
fn classes(report: &Value) -> Vec<(String, u64)> {
    let errors = report["load"]["errors"].as_object().unwrap();
    let counts = errors.iter().map(|(class, number)| (class.clone(), count(number)));
    counts.filter(|(class, number)| class != "total" && *number > 0).collect()
}

/// Fetches the counters of the target.
fn count_of(target: &Target) -> Value {
    let mut stream = target.connect();
    stream.write_all(b"GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A target with a thread per connection.
fn http_target(behave: impl Fn(Peer) + Clone + Send + 'static) -> String {
    let url = target(move |stream| behave(Peer(BufReader::new(stream))));
    url.replace("tcp://", "http://")
}

/// One connection of a target.
struct Peer(BufReader<TcpStream>);

impl Peer {
    /// Reads a request without a body. Returns false at the end of the stream.
    fn read_request(&mut self) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            match self.0.read_line(&mut line) {
                Ok(0) | Err(_) => return false,
                Ok(_) if line == "\r\n" => return true,
                Ok(_) => {}
            }
        }
    }

    fn write(&mut self, reply: &str) {
        let _ = self.0.get_mut().write_all(reply.as_bytes());
    }

    /// Ends the stream and waits for the peer to close. A close with unread requests would be a
    /// reset.
    fn end(self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
        self.hold();
    }

    fn hold(self) {
        hold(self.0.into_inner());
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Goal: every request is answered once, on the connections that were opened first. The counters of
/// the target match the report, and so do the bytes.
///
/// Method: every kind of load on both drivers; a long drain, so that every request is answered.
/// Requests and replies have one length each.
///
/// Kills: a connection for each request; a request that is sent twice, or counted and not sent; a
/// reply that is counted twice; bytes of the warm-up, or of bodies only, in the figures.
#[test]
fn report_and_target_count_the_same() {
    for (load, connections) in [
        (&["-c", "4"][..], 4),
        (&["-c", "4", "-p", "16"], 4),
        (&["-c", "4", "-t", "2", "-p", "16", "--driver", "epoll"], 4),
        (&["-c", "5", "-t", "2", "-p", "2", "-R", "2k"], 5),
        (&["-c", "3", "-p", "16", "-R", "2k", "--dispatch", "per-conn", "--driver", "epoll"], 3),
    ] {
        let target = Target::start(&["http"]);
        let url = format!("http://{}/bytes/1000?x", target.addr);
        let report = run(&[&["-d", "300ms", "--warmup", "100ms", &url][..], load].concat(), 0);
        let figures = &report["load"];
        let completed = count(&figures["completed"]);
        let all = completed + count(&figures["warmup_completed"]) + count(&figures["in_flight"]);
        assert!(completed > 0 && figures["errors"]["total"] == 0, "{load:?}: {figures}");
        assert_eq!(figures["in_flight"], 0, "{load:?}: the drain is long");
        assert_eq!(count_of(&target)["messages"], all, "{load:?}");
        let request = format!("GET /bytes/1000?x HTTP/1.1\r\nHost: {}\r\n\r\n", target.addr);
        let head = "HTTP/1.1 200 OK\r\nServer: loadtest\r\nContent-Length: 1000\r\n\r\n";
        let (request_len, reply_len) = (request.len() as u64, head.len() as u64 + 1_000);
        assert_eq!(figures["bytes_sent"], completed * request_len, "{load:?}");
        assert_eq!(figures["bytes_received"], completed * reply_len, "{load:?}");
        assert_eq!(report["connections"]["served"], connections);
        assert_eq!(report["target"]["protocol"], "http/1.1");
        assert_eq!(report["config"]["message_bytes"], request_len);
        let counters = target.stop();
        assert_eq!(counters["connections"], connections + 1, "{load:?}: one for the counters");
        assert_eq!(counters["bad_requests"], 0);
    }
}

/// Goal: the end of a body is found in every form and size, also with pipelined replies, and bodies
/// of requests arrive complete.
///
/// Method: forty requests, ten per connection, four at a time, for each form. A reply with a wrong
/// end spoils the next one.
///
/// Kills: expecting a body of HEAD or 204; a chunk that is left over; a body that is sent without
/// its length (its bytes would be bad requests); a deadlock if both sides send much.
#[test]
fn bodies_have_an_exact_end() {
    let file = scratch_file("body");
    std::fs::write(&file, [b'x'; 300_000]).unwrap();
    let from_file = format!("@{}", file.display());
    for (path, arguments) in [
        ("/", &[][..]),
        ("/bytes/0", &[]),
        ("/bytes/300000", &[]),
        ("/chunked/0", &[]),
        ("/chunked/300000", &[]),
        ("/status/204", &[]),
        ("/bytes/300000", &["-X", "HEAD"]),
        ("/chunked/300000", &["-X", "HEAD"]),
        ("/bytes/9", &["-b", "GET / HTTP/1.1\r\n\r\n", "-H", "X-Field: x"]),
        ("/chunked/300000", &["-b", &from_file]),
    ] {
        let target = Target::start(&["http"]);
        let url = format!("http://{}{path}", target.addr);
        let common = ["-c", "4", "-n", "40", "-p", "4", "--warmup", "0", &url];
        let report = run(&[&common[..], arguments].concat(), 0);
        assert_eq!(report["load"]["completed"], 40, "{path} {arguments:?}");
        let counters = target.stop();
        assert_eq!(counters["messages"], 40, "{path} {arguments:?}");
        assert_eq!((&counters["bad_requests"], &counters["connections"]), (&0.into(), &4.into()));
        assert_eq!(counters["bytes_in"], report["load"]["bytes_sent"], "{path} {arguments:?}");
        assert_eq!(counters["bytes_out"], report["load"]["bytes_received"], "{path}");
    }
    std::fs::remove_file(file).unwrap();
}

/// Goal: an unexpected status is an error of its message, with the status and without a latency,
/// and the connection is kept. `--expect-status` selects the expected ones.
///
/// Method: our own target for a status, expected and not; and a target that answers every other
/// request with an error, over all connections.
///
/// Kills: counting errors as replies; losing a connection with its error; latencies of errors among
/// the others; a pipeline that assigns replies wrongly after an error.
#[test]
fn unexpected_statuses_are_errors() {
    let run_at = |path: &str, arguments: &[&str], exit| {
        let target = Target::start(&["http"]);
        let url = format!("http://{}{path}", target.addr);
        let common = ["-c", "2", "-n", "40", "-p", "3", "--warmup", "0", &url];
        let report = run(&[&common[..], arguments].concat(), exit);
        let counters = target.stop();
        assert_eq!((&counters["messages"], &counters["connections"]), (&40.into(), &2.into()));
        assert_eq!(report["connections"]["lost"], 0);
        assert_eq!(report["load"]["bytes_received"], counters["bytes_out"]);
        report
    };
    let report = run_at("/status/503", &[], 3);
    assert_eq!(classes(&report), [("status".to_owned(), 40)]);
    assert_eq!((&report["load"]["completed"], &report["load"]["sent"]), (&0.into(), &40.into()));
    let row = &report["failures"][0];
    assert_eq!((&row["status"], &row["measured"]), (&503.into(), &40.into()), "{row}");
    assert!(report["latency_us"]["service"].is_null());
    assert_eq!(run_at("/bytes/9", &["--expect-status", "404"], 3)["load"]["errors"]["status"], 40);
    for expected in ["404", "2xx,404", "4xx"] {
        let report = run_at("/nowhere", &["--expect-status", expected], 0);
        assert_eq!(report["load"]["completed"], 40, "{expected}");
        assert_eq!(report["config"]["http"]["expect_status"], expected);
    }

    let requests = Arc::new(AtomicU64::new(0));
    let url = http_target(move |mut peer| {
        while peer.read_request() {
            match requests.fetch_add(1, Ordering::SeqCst) % 2 {
                0 => peer.write(OK),
                _ => peer.write("HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nnever"),
            }
        }
    });
    for load in [&[][..], &["-p", "5"], &["-R", "1k", "-p", "2"]] {
        let common = ["-c", "3", "-n", "60", "--warmup", "0", &url];
        let report = run(&[&common[..], load].concat(), 0);
        assert_eq!(report["load"]["completed"], 30, "{load:?}");
        assert_eq!(classes(&report), [("status".to_owned(), 30)], "{load:?}");
        assert_eq!(report["latency_us"]["service"]["samples"], 30, "{load:?}");
        assert_eq!(report["connections"]["lost"], 0, "{load:?}");
    }
    let output = loadtest(&["-c", "3", "-n", "60", "--warmup", "0", &url]);
    assert!(stdout(&output).contains("recv status 500: 30"), "{}", stdout(&output));
}

/// Goal: each kind of broken reply is an error of its own class, once per connection.
///
/// Method: one target per fault, which breaks the first reply. Connections are not reopened, so the
/// run ends when all are lost.
///
/// Kills: a class that includes another; counting a reply without its end; waiting for an end that
/// cannot come.
#[test]
fn broken_replies_have_classes() {
    const CONNECTIONS: u64 = 5;
    for (reply, class) in [
        ("", "eof"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "eof"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "short"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "short"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "short"),
        ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "malformed"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok", "malformed"),
        ("SSH-2.0-OpenSSH", "malformed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok", "mismatch"),
    ] {
        let url = http_target(move |mut peer| {
            peer.read_request();
            peer.write(reply);
            match class {
                "eof" | "short" => peer.end(),
                _ => peer.hold(),
            }
        });
        let connections = CONNECTIONS.to_string();
        let common = ["-c", &connections, "--warmup", "0", "-d", "1h", &url];
        let report = run(&[&common[..], &["--reconnect", "never"]].concat(), 3);
        assert_eq!(classes(&report), [(class.to_owned(), CONNECTIONS)], "{reply:?}");
        assert_eq!(report["load"]["sent"], CONNECTIONS, "{reply:?}");
        assert_eq!(report["connections"]["lost"], CONNECTIONS, "{reply:?}");
    }
}

/// Goal: a connection that the target closes after a reply, with an announcement or with a reply
/// that ends with the stream, is no error and is reopened. Requests sent after that one are errors.
///
/// Method: every fifth reply of a connection is its last, in several forms. 60 requests need at
/// least twelve connections; without reopening there are three, and 15 replies.
///
/// Kills: sending on a connection that is about to close; counting an orderly end as a loss;
/// waiting for replies that cannot come; reading a reply that ends with the stream as a short one.
#[test]
fn connections_closed_after_a_reply_are_reopened() {
    for last in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let url = http_target(move |mut peer| {
            for number in 1..=5 {
                if !peer.read_request() {
                    return;
                }
                peer.write(if number < 5 { OK } else { last });
            }
            peer.end();
        });
        let common = ["-c", "3", "-n", "60", "--warmup", "0", &url];
        for close in ["fin", "rst"] {
            let report = run(&[&common[..], &["--close", close]].concat(), 0);
            assert_eq!(report["load"]["completed"], 60, "{last:?}");
            let connections = &report["connections"];
            assert_eq!(connections["lost"], 0, "{last:?}");
            assert!(count(&connections["reconnects"]) >= 9, "{last:?}: {connections}");
            let row = &report["failures"][0];
            assert_eq!((&row["class"], &row["measured"]), (&"closed".into(), &0.into()), "{row}");
        }

        let report = run(&[&common[..], &["-p", "4"]].concat(), 0);
        let (completed, errors) = (&report["load"]["completed"], &report["load"]["errors"]);
        assert_eq!(count(completed) + count(&errors["closed"]), 60, "{last:?}: {errors}");
        assert_eq!(errors["closed"], errors["total"], "{last:?}");
        assert!(count(&errors["total"]) > 0, "three requests follow each that is answered last");

        let report = run(&[&common[..], &["--reconnect", "never"]].concat(), 3);
        assert_eq!(report["load"]["completed"], 15, "{last:?}");
        assert_eq!(report["connections"]["lost"], 3, "{last:?}");
    }
}

/// Goal: with `Connection: close`, each request has its own connection.
///
/// Method: that header field to our own target, which counts connections.
///
/// Kills: a second request on a connection that will be closed.
#[test]
fn connection_close_sends_one_request_each() {
    let target = Target::start(&["http"]);
    let url = format!("http://{}/bytes/9", target.addr);
    let close = ["-c", "3", "-n", "60", "--warmup", "0", "-H", "Connection: close", &url];
    let report = run(&close, 0);
    assert_eq!(report["load"]["completed"], 60);
    assert_eq!(report["load"]["errors"]["total"], 0);
    let opened = 3 + count(&report["connections"]["reconnects"]);
    // The last connections may be opened without a request.
    assert!((60..=63).contains(&opened), "{opened}");
    let counters = target.stop();
    assert_eq!((&counters["messages"], &counters["bad_requests"]), (&60.into(), &0.into()));
    assert_eq!(counters["connections"], opened);
}

/// Goal: the paths of a file are requested in turn, unchanged.
///
/// Method: three paths among comments and empty lines; a target that stores the first line of each
/// request; pipelined, on one connection.
///
/// Kills: one path for all requests; a comment as a path; an omitted path.
#[test]
fn several_urls_take_turns() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeper = Arc::clone(&lines);
    let url = http_target(move |mut peer| {
        loop {
            let mut line = String::new();
            match peer.0.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => keeper.lock().unwrap().push(line.trim_end().to_owned()),
            }
            if !peer.read_request() {
                return;
            }
            peer.write(OK);
        }
    });
    let file = scratch_file("urls");
    std::fs::write(&file, "# three\n/a?b=c\n\n  /d/e#f\n/bytes/1000\n").unwrap();
    let arguments = ["-c", "1", "-p", "4", "-n", "10", "--warmup", "0", "--urls"];
    let output = loadtest(&[&arguments[..], &[file.to_str().unwrap(), &url]].concat());
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("GET of 3 URLs in turn, "), "{}", stdout(&output));
    let targets = ["/a?b=c", "/d/e", "/bytes/1000"].into_iter().cycle().take(10);
    let wanted: Vec<String> = targets.map(|target| format!("GET {target} HTTP/1.1")).collect();
    assert_eq!(*lines.lock().unwrap(), wanted);
}
