use super::*;
use crate::protocol::http::head::{FIELDS_MAX, HEAD_LEN_MAX};
use crate::protocol::http::statuses::Statuses;

/// A complete reply with an expected status or another one, or the failure that ends the
/// connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Right,
    Wrong(u16),
    Failed(Class),
}
use Seen::{Failed, Right, Wrong};

fn http(method: &str, fields: &[&str]) -> Http {
    let fields = fields.iter().map(|field| field.parse().unwrap()).collect();
    let method = method.parse().unwrap();
    let targets = ["/".to_owned()];
    Http::new(Arc::new(Exchange::new(method, &targets, "h", fields, None, Statuses::default())))
}

/// Decodes pieces as a worker does, then the end of the stream. Returns what was seen, and the
/// number of bytes up to the end of each reply.
fn feed<'a>(http: &Http, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Seen, usize)> {
    let mut state = HttpState::default();
    let (mut seen, mut at) = (Vec::new(), 0);
    let mut note = |step: Result<Decoded, Failure>, at: &mut usize, len: usize| {
        let (what, used) = match step {
            Ok(Decoded::Partial) => {
                *at += len;
                return Some(len);
            }
            Ok(Decoded::Complete { used }) => (Right, used),
            Ok(Decoded::Unexpected { used, failure }) => {
                assert_eq!(failure.class, Class::Status);
                (Wrong(failure.status.unwrap()), used)
            }
            Err(failure) => {
                seen.push((Failed(failure.class), 0));
                return None;
            }
        };
        *at += used;
        seen.push((what, *at));
        Some(used)
    };
    for mut piece in pieces {
        while !piece.is_empty() {
            let step = http.decode(&mut state, piece);
            assert!(state.head.kept_len() <= HEAD_LEN_MAX);
            let Some(used) = note(step, &mut at, piece.len()) else { return seen };
            piece = &piece[used..];
        }
    }
    note(http.ended(&mut state), &mut at, 0);
    seen
}

fn whole(http: &Http, bytes: &[u8]) -> Vec<Seen> {
    feed(http, [bytes]).into_iter().map(|(seen, _)| seen).collect()
}

/// Replies to GET of every form that leave the connection open, each with its result.
const REPLIES: &[(&str, Seen)] = &[
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/", Right),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Right),
    ("HTTP/1.1 200\r\nContent-Length: 3, 3\r\nContent-Length:3\r\n\r\nabc", Right),
    ("HTTP/1.1 503 No, never\r\nContent-Length: 2\r\n\r\n\r\n", Wrong(503)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Right),
    (
        "HTTP/1.1 299 x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: Chunked\r\n\r\n\
         a;b=c\r\nHTTP/1.1 2\r\n01 \r\n\n\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\n",
        Right,
    ),
    (
        "HTTP/1.1 404 x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n",
        Wrong(404),
    ),
    ("HTTP/1.1 204 x\r\n\r\n", Right),
    ("HTTP/1.1 304 x\r\nContent-Length: 99\r\n\r\n", Wrong(304)),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n", Right),
    (
        "HTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 102 x\r\nContent-Length: 7\r\n\r\n\
         HTTP/1.1 500 x\r\nContent-Length: 1\r\n\r\nz",
        Wrong(500),
    ),
    ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nz", Right),
];

/// Goal: the result does not depend on how the bytes were cut: neither the replies nor their ends.
///
/// Method: each form alone, and all of them in a row as in a pipeline: whole, cut in two at every
/// position, and byte by byte.
///
/// Kills: a state that is lost between two pieces; a body that is read as a head; a use of the
/// bytes of the next reply; a `100` reported as a reply; a body after 204 or 304.
#[test]
fn cuts_change_nothing() {
    let http = http("GET", &[]);
    let all: String = REPLIES.iter().map(|(text, _)| *text).collect();
    let mut ends = Vec::new();
    let mut at = 0;
    for (text, seen) in REPLIES {
        let wanted = [(seen.clone(), text.len()), (Failed(Class::Eof), 0)];
        for cut in 0..text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            assert_eq!(feed(&http, [first, second]), wanted, "{text:?} cut at {cut}");
        }
        at += text.len();
        ends.push((seen.clone(), at));
    }
    ends.push((Failed(Class::Eof), 0));
    for cut in 0..all.len() {
        let (first, second) = all.as_bytes().split_at(cut);
        assert_eq!(feed(&http, [first, second]), ends, "cut at {cut}");
    }
    assert_eq!(feed(&http, all.as_bytes().chunks(1)), ends);
}

/// Goal: an end of the stream is classified: between replies, within a reply, or the regular end of
/// a reply without a length.
///
/// Method: every form with a length, cut off at every position; forms without, cut off at every
/// position of their bodies.
///
/// Kills: a short reply that counts; a proper end that counts as short; a reply of HTTP/1.0 or of
/// another coding that waits for a length that never comes.
#[test]
fn the_end_of_the_stream_is_eof_or_short_or_the_end_of_a_reply() {
    let http = http("GET", &[]);
    for (text, seen) in REPLIES {
        // After interim heads no byte of the reply has arrived.
        let begin = text.rfind("HTTP/1.1 204").or(text.find("HTTP/1.1 500")).unwrap_or(0);
        for end in begin..text.len() {
            let class = if end == begin { Class::Eof } else { Class::Short };
            assert_eq!(whole(&http, &text.as_bytes()[..end]), [Failed(class)], "{text:?} {end}");
        }
        assert_eq!(whole(&http, text.as_bytes())[0], *seen);
    }
    for (head, seen) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Right),
        ("HTTP/1.0 200 OK\r\nServer: x\r\n\r\n", Right),
        ("HTTP/1.1 500 OK\r\n\r\n", Wrong(500)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Right),
    ] {
        let text = format!("{head}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz");
        for end in 0..head.len() {
            let class = if end == 0 { Class::Eof } else { Class::Short };
            assert_eq!(whole(&http, &text.as_bytes()[..end]), [Failed(class)], "{head:?} {end}");
        }
        for end in head.len()..=text.len() {
            let bytes = &text.as_bytes()[..end];
            let wanted = [(seen.clone(), end)];
            assert_eq!(feed(&http, [bytes]), wanted, "{head:?} {end}");
            assert_eq!(feed(&http, bytes.chunks(1)), wanted, "{head:?} {end}");
        }
    }
}

/// Goal: replies to HEAD have no body, whatever their fields are.
///
/// Method: a length, chunks, and neither, each followed by another reply.
///
/// Kills: waiting for the body that GET would have had.
#[test]
fn replies_to_head_have_no_body() {
    let http = http("HEAD", &[]);
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\
                HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 404 x\r\n\r\n";
    assert_eq!(whole(&http, text.as_bytes()), [Right, Right, Wrong(404), Failed(Class::Eof)]);
}

/// Goal: the last reply of a connection is recognised.
///
/// Method: a table of versions and fields, and requests that ask for the close.
///
/// Kills: `close` in a list or in capitals that is not found; an HTTP/1.0 connection that is kept;
/// a kept one that is given up; an end that is lost while the body arrives.
#[test]
fn the_last_reply_of_a_connection_is_recognised() {
    let is_over = |http: &Http, text: &str| {
        let mut state = HttpState::default();
        for byte in text.as_bytes().chunks(1) {
            let _ = http.decode(&mut state, byte).unwrap();
        }
        let _ = http.ended(&mut state);
        state.is_over()
    };
    let (kept, closing) = (http("GET", &[]), http("GET", &["Connection: close"]));
    let body = "Content-Length: 3\r\n\r\nabc";
    for (head, wanted) in [
        ("HTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", true),
        ("HTTP/1.1 500 OK\r\nConnection: a,close ,b\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n", true),
        ("HTTP/1.1 200 OK\r\nX-Connection: close\r\n", false),
        ("HTTP/1.0 200 OK\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", false),
    ] {
        assert_eq!(is_over(&kept, &format!("{head}{body}")), wanted, "{head:?}");
        assert!(is_over(&closing, &format!("{head}{body}")), "{head:?}");
    }
    assert!(is_over(&kept, "HTTP/1.1 200 OK\r\n\r\nabc"), "it is read until the end");
    assert!(is_over(&kept, "HTTP/1.1 101 x\r\n\r\n"), "what follows is not HTTP");
    assert!(!is_over(&kept, "HTTP/1.1 100 x\r\nConnection: close\r\n\r\nHTTP/1.1 204 x\r\n\r\n"));
}

/// Goal: bytes that are not HTTP, or that contradict each other, are malformed as soon as they
/// arrive and however they were cut. A reply before them counts.
///
/// Method: a table, each entry after a good reply, whole and byte by byte.
///
/// Kills: a guessed length; a wait for the end of a line that is already wrong.
#[test]
fn malformed_replies_fail_at_the_first_wrong_byte() {
    let http = http("GET", &[]);
    let good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for bad in [
        "x",
        "\r\n",
        "HTTP/2",
        "ICY 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
    ] {
        let bytes = [good, bad].concat();
        let wanted = [(Right, good.len()), (Failed(Class::Malformed), 0)];
        assert_eq!(feed(&http, [bytes.as_bytes()]), wanted, "{bad:?}");
        assert_eq!(feed(&http, bytes.as_bytes().chunks(1)), wanted, "{bad:?}, byte by byte");
    }
}

/// Goal: heads, chunk lines and trailers have limits that do not depend on the cut. Bodies have
/// none.
///
/// Method: heads of the limit and of one byte more in pieces of several sizes; the most fields and
/// one more; lines without an end; a length beyond all memory, of which a part arrives.
///
/// Kills: a limit off by one; a head that is stored without a limit; a body that is stored.
#[test]
fn heads_and_lines_have_limits_and_bodies_have_none() {
    let http = http("GET", &[]);
    let head = |len: usize| {
        let (begin, end) = ("HTTP/1.1 204 x\r\nF: ", "\r\n\r\n");
        [begin, &"x".repeat(len - begin.len() - end.len()), end].concat().into_bytes()
    };
    let malformed = [(Failed(Class::Malformed), 0)];
    for cut in [1, 7, 1_000, HEAD_LEN_MAX - 1, HEAD_LEN_MAX, HEAD_LEN_MAX + 1, 1 << 20] {
        let fitting = feed(&http, head(HEAD_LEN_MAX).chunks(cut));
        assert_eq!(fitting[0], (Right, HEAD_LEN_MAX), "{cut}");
        assert_eq!(feed(&http, head(HEAD_LEN_MAX + 1).chunks(cut)), malformed, "{cut}");
        let begin = "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (line, fill) in [("5;", "x"), ("0", "0"), ("0\r\n", "x")] {
            let text = [begin, line, &fill.repeat(HEAD_LEN_MAX)].concat();
            assert_eq!(feed(&http, text.as_bytes().chunks(cut)), malformed, "{line:?} {cut}");
        }
    }
    let fields = |count| format!("HTTP/1.1 204 x\r\n{}\r\n", "F: x\r\n".repeat(count));
    assert_eq!(whole(&http, fields(FIELDS_MAX).as_bytes())[0], Right);
    assert_eq!(whole(&http, fields(FIELDS_MAX + 1).as_bytes()), [Failed(Class::Malformed)]);
    let huge = format!("HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n{}", u64::MAX, "x".repeat(999));
    assert_eq!(whole(&http, huge.as_bytes()), [Failed(Class::Short)]);
    assert!(size_of::<HttpState>() <= 96, "{} bytes for each connection", size_of::<HttpState>());
}
