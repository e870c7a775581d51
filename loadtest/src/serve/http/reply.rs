//! Replies: the head and the framing of the body.

use std::io::Write;
use std::rc::Rc;

use serde::Serialize;

#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    pub(super) body: ReplyBody,
}

#[derive(Debug)]
pub(super) enum ReplyBody {
    Empty,
    Fixed(Rc<[u8]>),
    /// Bytes that encode their positions.
    Coded {
        len: u64,
    },
    /// The same bytes in chunks, without a length in the head.
    Chunks {
        len: u64,
    },
}

/// Framing of the body, by which the peer finds its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The status implies that there is no body.
    Nothing,
    Length(u64),
    Chunked,
    /// The close of the connection, for HTTP/1.0, which has no chunks.
    UntilClose,
}

impl ReplyBody {
    pub(super) fn json(value: &impl Serialize) -> ReplyBody {
        let mut text = serde_json::to_vec(value).expect("numbers and names");
        text.push(b'\n');
        ReplyBody::Fixed(text.into())
    }
}

impl Reply {
    pub(super) fn ok(body: ReplyBody) -> Reply {
        Reply { status: 200, body }
    }

    /// A reply with this status and its reason phrase as the body.
    pub(super) fn of_status(status: u16) -> Reply {
        let text = || format!("{status} {}\n", reason(status)).into_bytes();
        let body =
            if has_body(status) { ReplyBody::Fixed(text().into()) } else { ReplyBody::Empty };
        Reply { status, body }
    }

    pub(super) fn framing(&self, minor_version: u8) -> Framing {
        match &self.body {
            // The framing of 205 must state a length of zero.
            ReplyBody::Empty if self.status == 205 => Framing::Length(0),
            ReplyBody::Empty => Framing::Nothing,
            ReplyBody::Fixed(bytes) => Framing::Length(bytes.len() as u64),
            ReplyBody::Coded { len } => Framing::Length(*len),
            ReplyBody::Chunks { .. } if minor_version == 0 => Framing::UntilClose,
            ReplyBody::Chunks { .. } => Framing::Chunked,
        }
    }
}

impl Framing {
    /// Writes a non-empty piece of the body. An empty chunk would be the end.
    pub(super) fn write_piece(self, out: &mut Vec<u8>, piece: &[u8]) {
        match self {
            Framing::Nothing | Framing::Length(_) | Framing::UntilClose => {
                out.extend_from_slice(piece);
            }
            Framing::Chunked => {
                write!(out, "{:x}\r\n", piece.len()).expect("memory does not fail");
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    pub(super) fn write_end(self, out: &mut Vec<u8>) {
        match self {
            Framing::Nothing | Framing::Length(_) | Framing::UntilClose => {}
            Framing::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
        }
    }
}

pub(super) fn write_head(
    out: &mut Vec<u8>,
    reply: &Reply,
    framing: Framing,
    minor_version: u8,
    is_kept: bool,
) {
    let status = reply.status;
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("memory does not fail");
        out.extend_from_slice(b"\r\n");
    };
    line(format_args!("HTTP/1.1 {status} {}", reason(status)));
    line(format_args!("Server: loadtest"));
    if status == 405 {
        line(format_args!("Allow: GET, HEAD, POST"));
    }
    match framing {
        Framing::Nothing | Framing::UntilClose => {}
        Framing::Length(len) => line(format_args!("Content-Length: {len}")),
        Framing::Chunked => line(format_args!("Transfer-Encoding: chunked")),
    }
    match (minor_version, is_kept) {
        (0, true) => line(format_args!("Connection: keep-alive")),
        (_, true) => {}
        (_, false) => line(format_args!("Connection: close")),
    }
    line(format_args!(""));
}

fn has_body(status: u16) -> bool {
    !matches!(status, 204 | 205 | 304)
}

/// Reason phrases of the statuses that the server chooses. Those of `/status/CODE` have an empty
/// phrase.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "",
    }
}
