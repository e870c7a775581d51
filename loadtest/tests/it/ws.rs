//! WebSocket targets: our own `serve ws`, whose counters are the reference, and `tungstenite`, an
//! independent implementation.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use serde_json::{Value, json};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket};

use crate::common::{assert_exit, json, loadtest, stderr, stdout};
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

/// Stage, class, status, count and measured count of the only kind of failure.
#[track_caller]
fn only_failure(report: &Value) -> Value {
    let [row] = &report["failures"].as_array().unwrap()[..] else { panic!("{report}") };
    json!([row["stage"], row["class"], row["status"], row["count"], row["measured"]])
}

/// A target with a thread per connection.
fn ws_target(behave: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    format!("{}/some/path", target(behave).replace("tcp://", "ws://"))
}

/// The next text or binary message; `None` at the end.
fn next_message(socket: &mut WebSocket<TcpStream>) -> Option<Message> {
    loop {
        match socket.read() {
            Ok(message) if message.is_binary() || message.is_text() => return Some(message),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn fragment(payload: &[u8], data: Data, is_final: bool) -> Message {
    Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(data), is_final))
}

/// Goal: every message is echoed once, on the connections that were opened first, and the counters
/// of the target match the report. Handshakes are timed apart from connects.
///
/// Method: every kind of load on both drivers, messages of each form of length, verified, as text,
/// over reopened connections; a long drain, so that every message is answered.
///
/// Kills: a connection for each message; a message that is sent twice, or counted and not sent;
/// frames that are counted without their heads; a pipelined reply lost after another.
#[test]
fn report_and_target_count_the_same() {
    for (load, size, connections) in [
        (&["-c", "4"][..], 64, 4),
        (&["-c", "4", "-p", "16", "--verify", "-s", "125"], 125, 4),
        (&["-c", "4", "-t", "2", "-p", "16", "--driver", "epoll", "--text", "-s", "126"], 126, 4),
        (&["-c", "5", "-t", "2", "-p", "2", "-R", "2k", "--verify", "-s", "300"], 300, 5),
        (&["-c", "3", "-p", "4", "-R", "500", "--dispatch", "per-conn", "-s", "70k"], 70_000, 3),
    ] {
        for driver in ["uring", "epoll"] {
            let target = Target::start(&["ws", "--threads", "2", "--driver", driver]);
            let url = format!("ws://{}/x?y", target.addr);
            let report = run(&[&["-n", "200", "--warmup", "50ms", &url][..], load].concat(), 0);
            let figures = &report["load"];
            let completed = count(&figures["completed"]);
            let all = completed + count(&figures["warmup_completed"]);
            assert!(completed == 200 && figures["errors"]["total"] == 0, "{load:?}: {report}");
            assert_eq!(figures["in_flight"], 0, "{load:?}: the drain is long");
            let head_len = [2, 4, 10][usize::from(size > 125) + usize::from(size > 65_535)];
            assert_eq!(figures["bytes_sent"], completed * (size + head_len + 4), "{load:?}");
            assert_eq!(figures["bytes_received"], completed * (size + head_len), "{load:?}");
            assert_eq!(report["connections"]["served"], connections);
            assert_eq!(report["target"]["protocol"], "websocket echo");
            assert_eq!(report["config"]["message_bytes"], size);
            let latencies = &report["latency_us"];
            assert_eq!(latencies["connect"]["samples"], connections);
            assert_eq!(latencies["handshake"]["samples"], connections);
            let counters = target.stop();
            assert_eq!(counters["messages"], all, "{load:?}");
            assert_eq!(counters["connections"], connections, "{load:?}");
            assert_eq!(counters["bad_requests"], 0, "{load:?}");
        }
    }
}

/// Goal: each reopened connection has its own opening, and ends with a close frame.
///
/// Method: 300 messages, seven for each connection; the target, `tungstenite`, counts close frames.
///
/// Kills: closing a connection without a close frame; omitting the second opening; message numbers
/// that do not restart.
#[test]
fn reopened_connections_have_handshakes_and_closes() {
    let closed = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&closed);
    let url = ws_target(move |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        loop {
            match socket.read() {
                Ok(Message::Close(Some(frame))) => {
                    assert_eq!(u16::from(frame.code), 1_000);
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                Ok(message) => socket.send(message).unwrap(),
                Err(_) => return,
            }
        }
    });
    let churn = ["-c", "3", "-p", "3", "-r", "7", "-n", "300", "--verify", "--warmup", "0"];
    let report = run(&[&churn[..], &[&url]].concat(), 0);
    assert_eq!(report["load"]["completed"], 300, "{}", report["failures"]);
    let opened = 3 + count(&report["connections"]["reconnects"]);
    assert!(opened >= 300 / 7, "{opened}");
    assert_eq!(report["latency_us"]["handshake"]["samples"], opened);
    // The target may not have read the last close frames yet.
    assert!(closed.load(Ordering::SeqCst) >= 300 / 7 - 4, "{closed:?}");
}

/// Goal: with another implementation, fragments are joined, and each ping is answered with its
/// payload, without waiting for a message.
///
/// Method: `tungstenite` sends a ping before it answers, waits for the pong, and answers in three
/// fragments with another ping in between; messages verified, several at a time, and as text.
///
/// Kills: a ping that is answered with the next message only (a deadlock); a pong without the
/// ping's payload; a fragment read as a message.
#[test]
fn tungstenite_is_a_valid_target() {
    let url = ws_target(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        while let Some(message) = next_message(&mut socket) {
            socket.send(Message::Ping(b"here?".to_vec().into())).unwrap();
            // Messages that arrive meanwhile are answered later.
            let mut waiting = vec![message];
            loop {
                match socket.read().unwrap() {
                    Message::Pong(payload) => break assert_eq!(&payload[..], b"here?"),
                    message => waiting.push(message),
                }
            }
            for message in waiting {
                let data = if message.is_text() { Data::Text } else { Data::Binary };
                let payload = message.into_data();
                let (first, rest) = payload.split_at(1);
                socket.send(fragment(first, data, false)).unwrap();
                socket.send(fragment(b"", Data::Continue, false)).unwrap();
                socket.send(Message::Ping(b"".to_vec().into())).unwrap();
                socket.send(fragment(rest, Data::Continue, true)).unwrap();
            }
        }
    });
    for load in [
        &["-c", "2", "-n", "50", "--verify"][..],
        &["-c", "2", "-n", "50", "--text"],
        &["-c", "2", "-n", "50", "-p", "5", "--verify", "--driver", "epoll"],
        &["-c", "1", "-n", "20", "-R", "500", "--dispatch", "per-conn"],
    ] {
        let report = run(&[load, &["--warmup", "0", &url]].concat(), 0);
        assert_eq!(report["load"]["completed"], load[3].parse::<u64>().unwrap(), "{report}");
    }
}

/// Goal: a connection without messages answers pings, both an idle one and one between messages.
///
/// Method: a target that pings each of two connections, one of them idle, and answers messages only
/// after both pongs.
///
/// Kills: pongs from active connections only.
#[test]
fn silent_connections_answer_pings() {
    let both = Arc::new(Barrier::new(2));
    let url = ws_target(move |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.send(Message::Ping(b"x".to_vec().into())).unwrap();
        let mut first = None;
        loop {
            match socket.read().unwrap() {
                Message::Pong(_) => break,
                message => first = Some(message),
            }
        }
        both.wait();
        if let Some(message) = first {
            socket.send(message).unwrap();
        }
        while let Some(message) = next_message(&mut socket) {
            socket.send(message).unwrap();
        }
    });
    let report = run(&["-c", "1", "--idle", "1", "-n", "10", "--warmup", "0", &url], 0);
    assert_eq!(report["load"]["completed"], 10);
    assert_eq!(report["connections"]["idle"], json!({"asked": 1, "open": 1, "lost": 0}));
}

/// Goal: a close frame of the target is answered, outstanding messages have no reply, and the run
/// continues if connections are reopened.
///
/// Method: a target that answers three messages, closes, and waits for the answer; one connection
/// that is not reopened, then one that is.
///
/// Kills: counting the close as an error of the stream; a close that is not answered; a connection
/// that is not reopened.
#[test]
fn a_close_of_the_peer_is_answered() {
    let answered = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&answered);
    let url = ws_target(move |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        for _ in 0..3 {
            let Some(message) = next_message(&mut socket) else { return };
            socket.send(message).unwrap();
        }
        socket.close(None).unwrap();
        loop {
            match socket.read() {
                Ok(Message::Close(_)) => _ = counter.fetch_add(1, Ordering::SeqCst),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    let report = run(&["-c", "1", "-n", "10", "--warmup", "0", &url], 3);
    assert_eq!(report["load"]["completed"], 3);
    assert_eq!(only_failure(&report), json!(["recv", "closed", null, 1, 1]), "the fourth was sent");
    let again = ["-c", "1", "-n", "10", "--warmup", "0", "--reconnect", "always", &url];
    let report = run(&again, 0);
    let figures = &report["load"];
    assert_eq!(count(&figures["completed"]) + count(&figures["errors"]["total"]), 10, "{figures}");
    assert!(answered.load(Ordering::SeqCst) >= 1, "{answered:?}");
}

/// Goal: a run ends with a close frame on every connection, for each kind of end.
///
/// Method: a target that records how each connection ends. A run that ends by its number of
/// messages, one by its duration with outstanding messages, one with a schedule.
///
/// Kills: connections that end with the program; a close frame that waits for a reply.
#[test]
fn runs_end_with_a_close() {
    for load in [&["-n", "30"][..], &["-d", "200ms", "-p", "3"], &["-d", "200ms", "-R", "1k"]] {
        let (end, ends) = std::sync::mpsc::channel();
        let url = ws_target(move |stream| {
            let mut socket = tungstenite::accept(stream).unwrap();
            let has_closed = loop {
                match socket.read() {
                    Ok(Message::Close(frame)) => break frame.map(|frame| frame.code.into()),
                    Ok(message) => _ = socket.send(message),
                    Err(_) => break None,
                }
            };
            end.send(has_closed).unwrap();
        });
        run(&[&["-c", "3", "--warmup", "0", &url], load].concat(), 0);
        for _ in 0..3 {
            let code: Option<u16> = ends.recv_timeout(crate::common::HUNG).unwrap();
            assert_eq!(code, Some(1000), "{load:?}");
        }
    }
}

/// Goal: the failure of a refused opening contains the target's reply.
///
/// Method: a target that replies with a status and a reason phrase.
///
/// Kills: a status without its reply.
#[test]
fn a_refused_opening_shows_the_reply() {
    let url = ws_target(|mut stream| {
        read_opening(&mut stream);
        stream.write_all(b"HTTP/1.1 403 Not from there\r\nContent-Length: 0\r\n\r\n").unwrap();
        hold(stream);
    });
    let report = run(&["-c", "1", "-n", "1", &url], 3);
    let got = report["failures"][0]["example"]["got"].as_str().unwrap();
    assert!(got.starts_with("\"HTTP/1.1 403 Not from there"), "{got}");
}

/// Reads the head of an opening. Returns its key.
fn read_opening(stream: &mut TcpStream) -> String {
    let mut key = String::new();
    for line in
        BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty())
    {
        if let Some(found) = line.strip_prefix("Sec-WebSocket-Key: ") {
            key = found.to_owned();
        }
    }
    key
}

/// Goal: a target that does not accept the opening is a failure of the handshake, with its class,
/// and receives no message.
///
/// Method: one target for each way to refuse.
///
/// Kills: a refusal counted as a reply or as a failed connect; an accept that is not checked;
/// waiting without a limit.
#[test]
fn refused_openings_fail_in_the_handshake() {
    let answer = |text: &'static str| {
        ws_target(move |mut stream| {
            let _key = read_opening(&mut stream);
            stream.write_all(text.as_bytes()).unwrap();
            hold(stream);
        })
    };
    const WRONG: &str = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let echo = target(|mut stream| {
        let mut buffer = [0; 4_096];
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..len]).unwrap();
        }
    });
    for (url, class, status) in [
        (answer("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n"), "status", json!(404)),
        (answer(WRONG), "mismatch", Value::Null),
        (ws_target(|mut stream| _ = read_opening(&mut stream)), "eof", Value::Null),
        (echo.replace("tcp://", "ws://"), "malformed", Value::Null),
        (answer(""), "timeout", Value::Null),
    ] {
        let timeout = if class == "timeout" { "100ms" } else { "60s" };
        let report = run(&["-c", "2", "--connect-timeout", timeout, &url], 3);
        assert_eq!(only_failure(&report), json!(["handshake", class, status, 2, 0]));
        assert_eq!(report["connections"]["opened"], 0, "{class}");
    }
    let output = loadtest(&["-c", "1", &answer("HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n")]);
    assert_exit(&output, 3);
    assert!(stderr(&output).contains("(handshake status 403: 1)"), "{}", stderr(&output));
}

/// Goal: frames that violate the protocol are an error of their connection, and no reply.
///
/// Method: a target that accepts the opening and then sends a masked frame, a reserved bit, a long
/// ping, or the end in a frame.
///
/// Kills: accepting any of these.
#[test]
fn broken_frames_are_errors() {
    let answer = |bytes: Vec<u8>| {
        ws_target(move |stream| {
            let mut socket = tungstenite::accept(stream).unwrap();
            let _message = next_message(&mut socket);
            let stream = socket.get_mut();
            stream.write_all(&bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            hold(stream.try_clone().unwrap());
        })
    };
    for (bytes, class) in [
        (vec![0x82, 0x80 | 64, 0, 0, 0, 0], "mismatch"),
        (vec![0xc2, 64], "mismatch"),
        (vec![0x89, 126, 0, 126], "mismatch"),
        (vec![0x82, 64, b'!'], "short"),
        (vec![], "eof"),
    ] {
        let report = run(&["-c", "1", "--warmup", "0", &answer(bytes)], 3);
        let errors = &report["load"]["errors"];
        assert_eq!((&errors[class], &errors["total"]), (&json!(1), &json!(1)), "{errors}");
    }
}

/// Goal: the summary has the protocol and the times of the handshakes.
///
/// Method: a short run, as text.
///
/// Kills: "tcp echo"; a handshake that is counted and not shown.
#[test]
fn the_summary_names_the_protocol() {
    let target = Target::start(&["ws"]);
    let url = format!("ws://{}", target.addr);
    let output = loadtest(&["-c", "2", "-n", "20", "--warmup", "0", "-H", "X: y", &url]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("websocket echo") && text.contains("binary messages"), "{text}");
    assert!(text.contains("             handshake  p50 "), "{text}");
}
