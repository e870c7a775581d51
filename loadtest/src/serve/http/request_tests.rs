//! Tests of the request reader with pieces of any size.

use super::*;

/// The results of the reader for these pieces.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<ReadStep, Refusal>> {
    let mut reader = RequestReader::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            match reader.advance(piece) {
                Ok((used, step)) => {
                    assert!(used <= piece.len(), "{used} of {}", piece.len());
                    assert!(used > 0, "no way forward");
                    piece = &piece[used..];
                    if step != ReadStep::More {
                        seen.push(Ok(step));
                    }
                }
                Err(refusal) => {
                    seen.push(Err(refusal));
                    return seen;
                }
            }
            assert!(reader.head.len() <= HEAD_LEN_MAX, "{} bytes are kept", reader.head.len());
        }
    }
    seen
}

fn whole(bytes: &[u8]) -> Vec<Result<ReadStep, Refusal>> {
    feed([bytes])
}

fn get(target: &str) -> Request {
    let target = target.to_owned();
    Request { method: RequestMethod::Get, target, minor_version: 1, is_keep_alive: true }
}

#[track_caller]
fn one_request(bytes: &[u8]) -> Request {
    match &whole(bytes)[..] {
        [Ok(ReadStep::Request(request))] => request.clone(),
        other => panic!("{other:?}"),
    }
}

/// Four requests with every kind of body, trailers and an expectation. The bodies look like heads
/// and ends.
const MEDLEY: &[&[u8]] = &[
    b"\r\nGET /one?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /two HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HT\r\n",
    b"POST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
    b"4\r\nGET \r\n0A ;name=\"x\"\r\n\r\n0\r\n\r\nabc\r\n",
    b"00\r\nTrailer: one\r\nTwo: 2\r\n\r\n",
    b"\n\r\nHEAD /four HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
];

/// Goal: a stream of requests with bodies gives the same requests with any cuts.
///
/// Method: the medley in one piece, byte by byte, and cut twice at every pair of positions.
///
/// Kills: a head or a body that must arrive in one piece; bytes of a body read as the next request;
/// a line of a chunk that is lost at a cut; an expectation answered twice.
#[test]
fn cuts_change_nothing() {
    let medley = MEDLEY.concat();
    let post = |target| Request { method: RequestMethod::Post, ..get(target) };
    let head = Request { method: RequestMethod::Head, minor_version: 0, ..get("/four") };
    let expected = [
        ReadStep::Request(get("/one?x=1")),
        ReadStep::Continue,
        ReadStep::Request(post("/two")),
        ReadStep::Request(post("/three")),
        ReadStep::Request(head),
    ];
    let expected: Vec<_> = expected.into_iter().map(Ok).collect();
    assert_eq!(whole(&medley), expected);
    assert_eq!(feed(medley.chunks(1)), expected);
    for first in 0..medley.len() {
        for second in first..medley.len() {
            let pieces = [&medley[..first], &medley[first..second], &medley[second..]];
            assert_eq!(feed(pieces), expected, "cut at {first} and {second}");
        }
    }
}

/// A request for `/` with these fields.
fn with_fields(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

/// Goal: ambiguous requests and bytes that are not HTTP are refused, with the same refusal for any
/// cuts.
///
/// Method: a table, each entry in one piece and byte by byte; the valid request after it must not
/// appear.
///
/// Kills: using the last of two lengths; a sign or a space in a length; a chunk without a size; a
/// missing line break after a chunk's data; reading on after a refusal.
#[test]
fn ambiguities_are_refused() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body = |text: &str| [&with_fields(chunked)[..], text.as_bytes()].concat();
    let bad = [
        b"NONSENSE\r\n\r\n".to_vec(),
        b"GET / HTTP/2.0\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(), // no host
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        with_fields("Host: b\r\n"),
        with_fields("Field : x\r\n"),
        with_fields("Content-Length: \r\n"),
        with_fields("Content-Length: +5\r\n"),
        with_fields("Content-Length: 5, 5\r\n"),
        with_fields("Content-Length: 99999999999999999999\r\n"),
        with_fields("Content-Length: 5\r\nContent-Length: 5\r\n"),
        with_fields(&format!("{chunked}Content-Length: 5\r\n")),
        with_fields(&format!("{chunked}{chunked}")),
        with_fields("Transfer-Encoding: gzip, chunked\r\n"),
        body("\r\n"),
        body(";x\r\n"),
        body("5x\r\n"),
        body("5\nabcde"),
        body("5;x\nabcde"),
        body("10000000000000000\r\n"),
        body("2\r\nabc\r\n"),
        body("2\r\nab\rc"),
        body("0\r\n\rx"),
        body("0\r\nTrailer: x\n\r\n"),
    ];
    for mut bytes in bad {
        bytes.extend_from_slice(MEDLEY[0]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(whole(&bytes), [Err(Refusal::Malformed)], "{text:?}");
        assert_eq!(feed(bytes.chunks(1)), [Err(Refusal::Malformed)], "{text:?}, byte by byte");
    }
}

/// Goal: the limit of a head is exact with any cuts, and at most that many bytes are kept.
///
/// Method: heads at the limit and of one byte more, in one piece, byte by byte and in uneven
/// pieces; fields at and above their limit; a size line, trailers and a line that never end.
///
/// Kills: a limit off by one; a limit that depends on the cuts; a limit that does not apply to
/// bodies.
#[test]
fn limits_of_a_head_are_exact() {
    let of_len = |len: usize| {
        let filler = "x".repeat(len - with_fields("F: \r\n").len());
        let head = with_fields(&format!("F: {filler}\r\n"));
        assert_eq!(head.len(), len);
        head
    };
    let refused = [Err(Refusal::TooLarge)];
    for cut in [1, 7, 1_000, HEAD_LEN_MAX - 1, HEAD_LEN_MAX, 100_000] {
        let fitting = of_len(HEAD_LEN_MAX);
        assert!(matches!(feed(fitting.chunks(cut))[..], [Ok(ReadStep::Request(_))]), "{cut}");
        assert_eq!(feed(of_len(HEAD_LEN_MAX + 1).chunks(cut)), refused, "{cut}");
        assert_eq!(feed(vec![b'x'; 2 * HEAD_LEN_MAX].chunks(cut)), refused, "{cut}");
        let chunked = with_fields("Transfer-Encoding: chunked\r\n");
        for endless in ["5;", "0\r\n", "000"] {
            let fill = if endless == "000" { "0" } else { "x" };
            let rest = [endless.as_bytes(), fill.repeat(2 * HEAD_LEN_MAX).as_bytes()].concat();
            let bytes = [&chunked[..], &rest].concat();
            assert_eq!(feed(bytes.chunks(cut)), refused, "{endless}, {cut}");
        }
    }
    let fields = |count| with_fields(&"F: x\r\n".repeat(count - 1)); // the first is the host
    assert!(matches!(whole(&fields(FIELDS_MAX))[..], [Ok(ReadStep::Request(_))]));
    assert_eq!(whole(&fields(FIELDS_MAX + 1)), refused);
}

/// Goal: a connection stays open by the rules of its HTTP version.
///
/// Method: a table of versions and fields.
///
/// Kills: keeping the connection of an HTTP/1.0 client; ignoring `close` in a list or in capitals;
/// keeping a connection with both `close` and `keep-alive`.
#[test]
fn keep_alive_follows_the_version() {
    for (version, field, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: x , close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let request =
            one_request(format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n").as_bytes());
        assert_eq!(request.is_keep_alive, expected, "{version} {field:?}");
    }
}
