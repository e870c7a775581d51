//! `serve http`, with a client that checks every byte of every reply.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use super::{DRIVERS, Target, pattern};
use crate::common::HUNG;

/// A connection that is read by lines and by lengths.
struct Client(BufReader<TcpStream>);

#[derive(Debug)]
struct Reply {
    status: u16,
    /// Names in lower case.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice in {self:?}");
        value
    }
}

impl Client {
    fn connect(target: &Target) -> Client {
        Client(BufReader::new(target.connect()))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let ended = line.strip_suffix("\r\n");
        ended.unwrap_or_else(|| panic!("an incomplete line: {line:?}")).to_owned()
    }

    /// Reads a reply to a request of this method.
    fn reply(&mut self, method: &str) -> Reply {
        let status = self.line();
        let status = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
        let status = status.unwrap().parse().unwrap();
        let mut reply = Reply { status, fields: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            reply.fields.push((name.to_lowercase(), value.to_owned()));
        }
        let length = reply.field("content-length").map(|text| text.parse().unwrap());
        let is_chunked = reply.field("transfer-encoding") == Some("chunked");
        assert!(length.is_none() || !is_chunked, "two lengths in {reply:?}");
        if method == "HEAD" || matches!(status, 100 | 204 | 304) {
            return reply;
        }
        if is_chunked {
            self.chunks(&mut reply.body);
        } else if let Some(length) = length {
            reply.body.resize(length, 0);
            self.0.read_exact(&mut reply.body).unwrap();
        } else {
            assert_eq!(reply.field("connection"), Some("close"));
            self.0.read_to_end(&mut reply.body).unwrap();
        }
        reply
    }

    fn chunks(&mut self, body: &mut Vec<u8>) {
        loop {
            let len = usize::from_str_radix(&self.line(), 16).unwrap();
            let begin = body.len();
            body.resize(begin + len, 0);
            self.0.read_exact(&mut body[begin..]).unwrap();
            assert_eq!(self.line(), "", "after a chunk");
            if len == 0 {
                return;
            }
        }
    }

    /// Sends a request without a body and reads the reply.
    fn exchange(&mut self, method: &str, path: &str) -> Reply {
        self.send(request(method, path, ""));
        self.reply(method)
    }

    /// Fetches the counters of the server.
    fn count(&mut self) -> Value {
        serde_json::from_slice(&self.exchange("GET", "/count").body).unwrap()
    }

    #[track_caller]
    fn assert_at_end(mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// Goal: each route has its status, its framing and its exact bytes, over one connection. A reply
/// to `HEAD` is the head of that to `GET` without a body. Other methods and paths are refused
/// without ending the connection.
///
/// Method: a table, on both drivers; bodies from nothing to more than a socket's buffer.
///
/// Kills: a length that differs from the body; a body after `HEAD`, 204 or 304 (it would be read as
/// the next head); a piece that is lost, doubled or displaced; an empty chunk in the middle.
#[test]
fn every_route_has_its_exact_reply() {
    for driver in DRIVERS {
        let target = Target::start(&["http", "--size", "100", "--driver", driver]);
        let mut client = Client::connect(&target);
        let mut count = 0;
        for (path, status, body) in [
            ("/", 200, vec![b'x'; 100]),
            ("/?query", 200, vec![b'x'; 100]),
            ("/bytes/0", 200, pattern(0)),
            ("/bytes/1", 200, pattern(1)),
            ("/bytes/16384", 200, pattern(16_384)),
            ("/bytes/3000001", 200, pattern(3_000_001)),
            ("/chunked/0", 200, pattern(0)),
            ("/chunked/16384", 200, pattern(16_384)),
            ("/chunked/3000001", 200, pattern(3_000_001)),
            ("/status/503", 503, b"503 \n".to_vec()),
            ("/status/204", 204, vec![]),
            ("/status/205", 205, vec![]),
            ("/status/304", 304, vec![]),
            ("/nowhere", 404, b"404 Not Found\n".to_vec()),
        ] {
            let reply = client.exchange("GET", path);
            assert_eq!(reply.status, status, "{path}");
            assert!(reply.body == body, "{path}: wrong body of {} bytes", reply.body.len());
            assert_eq!(
                reply.fields.len(),
                if body.is_empty() && status % 100 == 4 { 1 } else { 2 }
            );
            let head = client.exchange("HEAD", path);
            assert_eq!((head.status, &head.fields), (status, &reply.fields), "{path}");
            count += 2;
        }
        let reply = client.exchange("DELETE", "/");
        assert_eq!((reply.status, reply.field("allow")), (405, Some("GET, HEAD, POST")));
        drop(client);
        let counters = target.stop();
        assert_eq!(counters["messages"], count + 1, "{driver}");
        assert_eq!((&counters["connections"], &counters["bad_requests"]), (&json!(1), &json!(0)));
    }
}

/// Goal: pipelined requests are all answered, in order, at any size.
///
/// Method: 2 000 requests, each for a different number of bytes, written while the replies are
/// read.
///
/// Kills: replies in another order; a reply lost when a receive splits a head; a buffer of replies
/// that is sent only when full.
#[test]
fn pipelined_requests_are_answered_in_order() {
    for driver in DRIVERS {
        let target = Target::start(&["http", "--driver", driver]);
        let mut client = Client::connect(&target);
        let mut writer = client.0.get_ref().try_clone().unwrap();
        let write = std::thread::spawn(move || {
            for number in 0..2_000 {
                writer
                    .write_all(request("GET", &format!("/bytes/{number}"), "").as_bytes())
                    .unwrap();
            }
        });
        for number in 0..2_000 {
            let reply = client.reply("GET");
            assert!(reply.body == pattern(number), "reply {number} has {}", reply.body.len());
        }
        write.join().unwrap();
        assert_eq!(target.stop()["messages"], 2_000);
    }
}

/// Goal: the server reads bodies of requests to their end, by length and by chunks, and the next
/// request starts there. A client that expects `100 Continue` receives it before it sends the body.
///
/// Method: three posts and a get. The bodies contain requests. The second body is sent after the
/// `100`.
///
/// Kills: a reply before the end of the body; a body read as requests; an expectation without an
/// answer, which hangs.
#[test]
fn bodies_of_requests_are_skipped() {
    let target = Target::start(&["http"]);
    let mut client = Client::connect(&target);
    let body = request("GET", "/status/500", "").repeat(5_000);
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut bytes_in = 0;
    let mut send = |client: &mut Client, text: &str| {
        client.send(text);
        bytes_in += text.len();
    };
    send(&mut client, &request("POST", "/bytes/1", &length));
    send(&mut client, &body);
    assert_eq!(client.reply("POST").body, pattern(1));
    send(&mut client, &request("POST", "/bytes/2", &format!("{length}Expect: 100-continue\r\n")));
    assert_eq!(client.reply("POST").status, 100);
    send(&mut client, &body);
    assert_eq!(client.reply("POST").body, pattern(2));
    send(&mut client, &request("POST", "/bytes/3", "Transfer-Encoding: chunked\r\n"));
    let chunk = format!("{:x};name=value\r\n{body}\r\n", body.len());
    send(&mut client, &format!("{chunk}{chunk}0\r\nTrailer: x\r\n\r\n"));
    send(&mut client, &request("GET", "/bytes/4", ""));
    assert_eq!(client.reply("POST").body, pattern(3));
    assert_eq!(client.reply("GET").body, pattern(4));
    let counters = target.stop();
    assert_eq!(counters["messages"], 4);
    assert_eq!(counters["bytes_in"], bytes_in);
}

/// Goal: the connection ends if the client or the server announces it, and for a client of HTTP/1.0
/// unless it requests to keep it. Requests that were pipelined after the last one are not answered.
///
/// Method: a table of requests, each followed by a second one.
///
/// Kills: a connection kept or ended against the rules; chunks for an HTTP/1.0 client; an end that
/// is not announced.
#[test]
fn connections_are_kept_by_the_rules_of_http() {
    let target = Target::start(&["http"]);
    for (first, is_kept, announced) in [
        (request("GET", "/bytes/9", ""), true, None),
        (request("GET", "/bytes/9", "Connection: close\r\n"), false, Some("close")),
        ("GET /bytes/9 HTTP/1.0\r\n\r\n".to_owned(), false, Some("close")),
        (
            "GET /bytes/9 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
            true,
            Some("keep-alive"),
        ),
        (
            "GET /chunked/9 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
            false,
            Some("close"),
        ),
    ] {
        let mut client = Client::connect(&target);
        client.send(first.clone() + &request("GET", "/bytes/5", ""));
        let reply = client.reply("GET");
        assert_eq!(reply.body, pattern(9), "{first}");
        assert_eq!(reply.field("connection"), announced, "{first}");
        if is_kept {
            assert_eq!(client.reply("GET").body, pattern(5), "{first}");
            client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        }
        client.assert_at_end();
    }
}

/// Goal: an invalid request and a head that is too large are answered with their status, after the
/// earlier replies, and end the connection in order. The server reads the remaining bytes of the
/// peer, because a close with unread bytes would be a reset.
///
/// Method: a valid request, an invalid one, and 900 000 bytes after it. `/count` is polled until
/// the server has read every byte sent.
///
/// Kills: an end without a reply; replies to the rest; counting the refused request as a message;
/// closing at once.
#[test]
fn refused_requests_end_the_connection() {
    let too_large = request("GET", "/", &format!("Field: {}\r\n", "x".repeat(16 << 10)));
    let too_many = request("GET", "/", &"Field: x\r\n".repeat(64));
    for driver in DRIVERS {
        let target = Target::start(&["http", "--driver", driver]);
        let mut sent_len = 0;
        for (bad, status) in [("what?\r\n\r\n", 400), (&too_large, 431), (&too_many, 431)] {
            let mut client = Client::connect(&target);
            let rest = request("GET", "/", "").repeat(900_000 / request("GET", "/", "").len());
            let bytes = [&request("GET", "/bytes/7", ""), bad, &rest].concat();
            client.send(&bytes);
            sent_len += bytes.len();
            assert_eq!(client.reply("GET").body, pattern(7));
            let reply = client.reply("GET");
            assert_eq!((reply.status, reply.field("connection")), (status, Some("close")));
            client.assert_at_end();
        }
        let mut counting = Client::connect(&target);
        let begin = Instant::now();
        loop {
            sent_len += request("GET", "/count", "").len();
            let counters = counting.count();
            if counters["bytes_in"] == sent_len {
                break;
            }
            assert!(begin.elapsed() < HUNG, "{counters}, but {sent_len} bytes were sent");
        }
        let counters = target.stop();
        assert_eq!((&counters["messages"], &counters["bad_requests"]), (&json!(3), &json!(3)));
    }
}

/// Goal: the server prints nothing about peers that close before they have read a reply.
///
/// Method: 100 clients leave a reply unread, send another request and close, which is a reset, so
/// the server cannot send its second reply. The text of stderr up to the end of the server is
/// empty.
///
/// Kills: a line for each of them.
#[test]
fn peers_that_close_early_are_not_reported() {
    for driver in DRIVERS {
        let mut target = Target::start_with(&["http", "--driver", driver], Stdio::piped());
        let mut stderr = target.child.stderr.take().unwrap();
        for _ in 0..100 {
            let mut client = Client::connect(&target);
            client.send(request("GET", "/", ""));
            client.0.get_ref().peek(&mut [0]).unwrap();
            client.send(request("GET", "/bytes/60000", ""));
        }
        assert_eq!(target.stop()["connections"], 100);
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(text, "");
    }
}

/// Goal: `/count` returns the counters of all threads while the server runs, and fetching them does
/// not change the number of requests.
///
/// Method: 20 connections to two threads, three requests each; `/count` twice, on one more
/// connection.
///
/// Kills: the counters of one thread only; counting the request for the counters.
#[test]
fn the_counters_can_be_fetched() {
    let target = Target::start(&["http", "--threads", "2"]);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(&target)).collect();
    for client in &mut clients {
        for _ in 0..3 {
            assert_eq!(client.exchange("GET", "/").body.len(), 64);
        }
    }
    let mut counting = Client::connect(&target);
    for _ in 0..2 {
        let counters = counting.count();
        assert_eq!((&counters["messages"], &counters["connections"]), (&json!(60), &json!(21)));
    }
    let counters = target.stop();
    assert_eq!((&counters["messages"], &counters["connections"]), (&json!(60), &json!(21)));
}
