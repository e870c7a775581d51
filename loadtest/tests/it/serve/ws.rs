//! `serve ws`, with `tungstenite` and with handmade bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket, client};

use super::{DRIVERS, Target, pattern};

fn open(target: &Target) -> WebSocket<TcpStream> {
    client(format!("ws://{}/any/path", target.addr), target.connect()).unwrap().0
}

/// A handmade opening.
const OPENING: &str = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The reply to [`OPENING`].
const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nServer: loadtest\r\n\
                      Upgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A client's frame with the first byte `first`.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0xa1, 0, 0x55, 0xff];
    assert!(payload.len() < 126, "the short form");
    let masked = payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]);
    [first, 0x80 | payload.len() as u8].into_iter().chain(MASK).chain(masked).collect()
}

/// Sends bytes, in pieces, and reads to the end of the stream.
fn exchange(target: &Target, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = target.connect();
    for piece in pieces {
        stream.write_all(piece).unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// Goal: another implementation receives every message unchanged: text as text, fragments as one
/// message, a pong for each ping, and its own code in the reply to a close. The counters are exact.
///
/// Method: `tungstenite` as the client of three threads on both drivers; messages of each form of
/// length, several outstanding at a time.
///
/// Kills: a mask that is not removed; binary for text; a fragment as a message; a pong without the
/// payload of its ping; a thread whose connections fail; a message that is counted twice.
#[test]
fn tungstenite_gets_its_messages_back() {
    for driver in DRIVERS {
        let target = Target::start(&["ws", "--threads", "3", "--driver", driver]);
        for _ in 0..20 {
            let mut socket = open(&target);
            let messages = [
                Message::binary(b"".to_vec()),
                Message::text("Größe"),
                Message::binary(pattern(125)),
                Message::binary(pattern(126)),
                Message::binary(pattern(70_000)),
                Message::binary(pattern(65_535)),
            ];
            for message in &messages {
                socket.send(message.clone()).unwrap();
            }
            for message in &messages {
                assert!(socket.read().unwrap() == *message, "{driver}: {} bytes", message.len());
            }
            for (data, payload, is_final) in [
                (Data::Text, "Gr\u{f6}".as_bytes(), false),
                (Data::Continue, &b""[..], false),
                (Data::Continue, "\u{df}e".as_bytes(), true),
            ] {
                let frame = Frame::message(payload.to_vec(), OpCode::Data(data), is_final);
                socket.send(Message::Frame(frame)).unwrap();
                socket.send(Message::Ping(payload.to_vec().into())).unwrap();
            }
            for payload in ["Gr\u{f6}", ""] {
                assert_eq!(
                    socket.read().unwrap(),
                    Message::Pong(payload.as_bytes().to_vec().into())
                );
            }
            assert_eq!(socket.read().unwrap(), Message::text("Größe"));
            assert_eq!(socket.read().unwrap(), Message::Pong("ße".as_bytes().to_vec().into()));
            let close = CloseFrame { code: 4_321.into(), reason: "enough".into() };
            socket.close(Some(close)).unwrap();
            match socket.read().unwrap() {
                Message::Close(Some(answer)) => assert_eq!(u16::from(answer.code), 4_321),
                other => panic!("{other:?}"),
            }
            assert!(socket.read().is_err(), "the server closes first");
        }
        let counters = target.stop();
        assert_eq!(counters["connections"], 20, "{driver}");
        assert_eq!(counters["messages"], 20 * 7, "{driver}");
        assert_eq!(counters["bad_requests"], 0, "{driver}");
    }
}

/// Goal: the reply has these exact bytes, and all bytes are counted, however the request is split,
/// also if the first messages follow the opening at once.
///
/// Method: the example of RFC 6455 with two messages and a close, at once and byte by byte.
///
/// Kills: dropping bytes after the head; an accept of another key; bytes that are not counted.
#[test]
fn openings_do_not_depend_on_pieces() {
    let target = Target::start(&["ws"]);
    let sent =
        [OPENING.as_bytes(), &frame(0x82, b"a\0b"), &frame(0x81, b""), &frame(0x88, b"")].concat();
    let wanted = [OPENED.as_bytes(), b"\x82\x03a\0b", b"\x81\x00", b"\x88\x00"].concat();
    assert_eq!(exchange(&target, &[&sent]), wanted);
    assert_eq!(exchange(&target, &sent.chunks(1).collect::<Vec<_>>()), wanted);
    let counters = json!({
        "kind": "ws", "connections": 2, "messages": 4, "bad_requests": 0, "faults": {},
        "bytes_in": 2 * sent.len(), "bytes_out": 2 * wanted.len(),
    });
    assert_eq!(target.stop(), counters);
}

/// Goal: an invalid opening is refused with the status for its error.
///
/// Method: openings with one error each.
///
/// Kills: any check of the opening; status 426 without the supported version.
#[test]
fn refused_openings_have_a_status() {
    let target = Target::start(&["ws"]);
    let without = |line: &str| OPENING.replace(line, "");
    let long = OPENING.replace("Host: x", &format!("Host: x\r\nY: {}", "y".repeat(16 << 10)));
    let table = [
        (without("Upgrade: websocket\r\n"), 426),
        (without("Connection: Upgrade\r\n"), 426),
        (without("Sec-WebSocket-Version: 13\r\n"), 426),
        (OPENING.replace("13", "8"), 426),
        (OPENING.replace("GET", "POST"), 426),
        (OPENING.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (without("Host: x\r\n"), 400),
        (without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
        (OPENING.replace("Host", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost"), 400),
        (OPENING.replace("dGhl", ""), 400),
        (OPENING.replace("dGhl", "?Ghl"), 400),
        ("hello\r\n\r\n".to_owned(), 400),
        (long, 431),
    ];
    for (opening, status) in &table {
        let answer = String::from_utf8(exchange(&target, &[opening.as_bytes()])).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{opening}: {answer}");
        let names_version = answer.contains("Sec-WebSocket-Version: 13\r\n");
        assert_eq!(names_version, *status == 426, "{answer}");
    }
    let counters = target.stop();
    assert_eq!(
        (&counters["bad_requests"], &counters["messages"]),
        (&json!(table.len()), &json!(0))
    );
}

/// Goal: a violation of the protocol is answered with a close frame of its code, after the replies
/// to earlier messages, and ends the connection.
///
/// Method: a valid message, then frames with one error each; and closes with codes of every kind.
///
/// Kills: any of the checks; a lost reply; a violation that is not counted, or an orderly close
/// that is.
#[test]
fn violations_end_with_their_code() {
    let target = Target::start(&["ws"]);
    let mut unmasked = frame(0x82, b"");
    unmasked[1] = 0;
    let too_long = [&[0x82, 0xff][..], &(16_777_217_u64).to_be_bytes(), &[0; 4]].concat();
    let table = [
        (unmasked, 1002),
        (frame(0xc2, b""), 1002),
        (frame(0x83, b""), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x09, b"x"), 1002),
        ([frame(0x02, b"a"), frame(0x82, b"b")].concat(), 1002),
        (too_long, 1009),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x81, b"\xc3"), 1007),
        ([frame(0x01, b"a"), frame(0x80, b"\xc3")].concat(), 1007),
        (frame(0x88, b"x"), 1002),
        (frame(0x88, &1005_u16.to_be_bytes()), 1002),
        (frame(0x88, &999_u16.to_be_bytes()), 1002),
        (frame(0x88, &2000_u16.to_be_bytes()), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
    ];
    let orderly = [1000, 1002, 1011, 3000, 4999];
    let closes = orderly.map(|code: u16| (frame(0x88, &code.to_be_bytes()), code));
    for (bad, code) in table.iter().chain(&closes) {
        let sent = [OPENING.as_bytes(), &frame(0x82, b"good"), bad].concat();
        let close = [&[0x88, 2][..], &code.to_be_bytes()].concat();
        let wanted = [OPENED.as_bytes(), b"\x82\x04good", &close].concat();
        assert_eq!(exchange(&target, &[&sent]), wanted, "{bad:?}");
    }
    let counters = target.stop();
    assert_eq!(counters["bad_requests"], table.len());
    assert_eq!(counters["messages"], table.len() + closes.len());
}
