//! Servers that close connections, or reply, before they have read the request.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest, scratch_file, stdout};
use crate::targets::{hold, target};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";

fn http_target(behave: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    target(behave).replace("tcp://", "http://") + "/"
}

/// Reads the head of a request, byte by byte, so that no byte of the body is read.
fn read_head(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(())
}

fn count(report: &Value, place: &str) -> u64 {
    report.pointer(place).and_then(Value::as_u64).unwrap_or_else(|| panic!("{place}: {report:#}"))
}

/// Goal: the sent bytes are those that the kernel has accepted, and a reply before the end of its
/// request is counted.
///
/// Method: a body larger than the buffers of any socket. A target that replies after the head and
/// closes; one that replies so and reads the rest; one that reads everything first.
///
/// Kills: the length of a message as its sent bytes; early replies that are not counted apart; a
/// complete request that lacks a piece; on a busy machine, a receiver that is always polled first.
#[test]
fn early_replies_are_counted() {
    const BODY: usize = 16 << 20;
    let body = scratch_file("large-body");
    fs::write(&body, vec![b'x'; BODY]).unwrap();
    let argument = format!("@{}", body.display());
    let run = |url: &str| {
        let common = ["-c", "2", "-n", "6", "--warmup", "0", "--format", "json"];
        let output = loadtest(&[&common[..], &["-b", &argument, url]].concat());
        assert_exit(&output, 0);
        json(&output)
    };
    let closing = http_target(|mut stream| {
        if read_head(&mut stream).is_some() {
            stream.write_all(format!("{OK}Connection: close\r\n\r\n").as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
    });
    let report = run(&closing);
    assert_eq!((count(&report, "/load/completed"), count(&report, "/load/answered_early")), (6, 6));
    let sent = count(&report, "/load/bytes_sent");
    assert!(sent < 6 * BODY as u64 * 3 / 4, "{sent}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("6 messages got a reply before they were fully sent"), "{notes}");

    for (is_early, wanted) in [(true, 6), (false, 0)] {
        let reading = http_target(move |mut stream| {
            let mut body = vec![0; BODY];
            while read_head(&mut stream).is_some() {
                let answer = format!("{OK}\r\n");
                if is_early {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                stream.read_exact(&mut body).unwrap();
                if !is_early {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        let report = run(&reading);
        assert_eq!(count(&report, "/load/completed"), 6);
        assert_eq!(count(&report, "/load/answered_early"), wanted, "{report:#}");
        let sent = count(&report, "/load/bytes_sent");
        let whole = 6 * count(&report, "/config/message_bytes");
        match is_early {
            // The last body may still be in flight when all requests have been answered.
            true => assert!(sent <= whole && sent > whole / 2, "{sent} of {whole}"),
            false => assert_eq!(sent, whole),
        }
    }
    fs::remove_file(body).unwrap();
}

/// Goal: the failure of a malformed reply has the reason, and that of an unexpected one has the
/// beginning of the reply.
///
/// Method: a table of replies, whole and byte by byte; the reason and the beginning in the JSON and
/// in the text.
///
/// Kills: a class without a reason; the last piece in place of the beginning; the beginning of an
/// earlier reply.
#[test]
fn a_wrong_reply_is_shown_with_its_reason() {
    for (reply, class, reason, got) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "malformed", "does not begin with HTTP/1.", "SSH-2.0"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "malformed", "the status line is wrong", "HTTP/1.1 2x0"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "malformed",
            "Content-Length is no number",
            "HTTP/1.1 200 OK\\r\\nContent-Length: -1",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "malformed",
            "a chunk of the body",
            "",
        ),
        (
            "HTTP/1.1 503 Gone fishing\r\nContent-Length: 4\r\n\r\nbusy",
            "status",
            "",
            "HTTP/1.1 503 Gone fishing",
        ),
    ] {
        for is_whole in [true, false] {
            if !is_whole && !reply.starts_with("HTTP") {
                continue; // the first byte alone is refused
            }
            let url = http_target(move |mut stream| {
                while read_head(&mut stream).is_some() {
                    let pieces = reply.as_bytes().chunks(if is_whole { reply.len() } else { 1 });
                    for piece in pieces {
                        if stream.write_all(piece).is_err() {
                            return;
                        }
                    }
                }
            });
            let common = ["-c", "1", "-n", "2", "--warmup", "0"];
            let output = loadtest(&[&common[..], &["--format", "json", &url]].concat());
            assert_exit(&output, 3);
            let report = json(&output);
            let row = &report["failures"][0];
            assert_eq!(row["class"], class, "{report:#}");
            assert!(row["reason"].as_str().unwrap_or_default().contains(reason), "{row}");
            let found = row["example"]["got"].as_str().unwrap_or_else(|| panic!("{row}"));
            assert!(found.starts_with(&format!("\"{got}")), "{is_whole}: {row}");
            let text = loadtest(&[&common[..], &[&url]].concat());
            let text = stdout(&text);
            assert!(text.contains(reason) && text.contains(got), "{reason} {got}: {text}");
        }
    }
}

/// Goal: a server that closes after each reply, with requests waiting, causes no internal error.
///
/// Method: three requests at a time to a server that announces the close, to one that resets, and
/// to Python's, if it is installed.
///
/// Kills: a cut connection counted as a panic.
#[test]
fn a_close_after_each_reply_is_no_internal_error() {
    let announcing = http_target(|mut stream| {
        if read_head(&mut stream).is_some() {
            let _ = stream.write_all(format!("{OK}Connection: close\r\n\r\n").as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            hold(stream);
        }
    });
    let resetting = http_target(|mut stream| {
        if read_head(&mut stream).is_some() {
            let _ = stream.write_all(format!("{OK}\r\n").as_bytes()); // and unread bytes: a reset
        }
    });
    let python = Python::start();
    let urls =
        [Some(announcing), Some(resetting), python.as_ref().map(|python| python.url.clone())];
    for url in urls.into_iter().flatten() {
        let load = ["-c", "5", "-p", "3", "-n", "200", "--warmup", "0", "--format", "json"];
        let output = loadtest(&[&load[..], &[&url]].concat());
        assert_exit(&output, 0);
        let report = json(&output);
        assert_eq!(report["internal_errors"], Value::Array(Vec::new()), "{url}");
        assert!(count(&report, "/load/completed") > 0);
        assert!(count(&report, "/load/errors/total") > 0, "two wait behind each: {report:#}");
    }
}

/// `python3 -m http.server`, a server of HTTP/1.0, which closes after each reply.
struct Python {
    child: Child,
    url: String,
}

impl Python {
    fn start() -> Option<Python> {
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut seen = String::new();
        let mut stdout = child.stdout.take().unwrap();
        // `Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ...`
        while !seen.ends_with('\n') {
            let mut byte = [0];
            if stdout.read(&mut byte).ok()? == 0 {
                return None;
            }
            seen.push(byte[0].into());
        }
        let url = seen.split(['(', ')']).nth(1)?.to_owned();
        Some(Python { child, url })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
