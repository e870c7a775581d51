//! Server side of the WebSocket handshake: an upgrade request, or a refusal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::ws::frames::{accept_of, lists};

/// Limits of the head of a handshake: bytes and fields.
const HEAD_LEN_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;

/// Reason of a refused handshake, which determines the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpgradeRefusal {
    /// Not HTTP, or a handshake with contradicting fields.
    Malformed,
    /// Not a WebSocket handshake, or one of another version.
    UpgradeRequired,
    /// A head that is too long.
    TooLarge,
}

impl UpgradeRefusal {
    pub(super) fn reply(self) -> &'static str {
        match self {
            UpgradeRefusal::Malformed => {
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
            UpgradeRefusal::UpgradeRequired => {
                "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
                 Content-Length: 0\r\n\r\n"
            }
            UpgradeRefusal::TooLarge => {
                "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n"
            }
        }
    }
}

/// Reader of the head of a handshake.
#[derive(Debug, Default)]
pub(super) struct OpeningReader {
    kept: Vec<u8>,
}

impl OpeningReader {
    /// Reads `bytes`. Returns how many of them belong to the head, and the reply; `None` if the
    /// head is incomplete.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<(usize, String)>, UpgradeRefusal> {
        let before = self.kept.len();
        let added = &bytes[..bytes.len().min(HEAD_LEN_MAX - before)];
        self.kept.extend_from_slice(added);
        let is_full = self.kept.len() == HEAD_LEN_MAX;
        if !is_full && !added.contains(&b'\n') {
            return Ok(None);
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        match head.parse(&self.kept) {
            Ok(httparse::Status::Complete(len)) => Ok(Some((len - before, answer(&head)?))),
            Ok(httparse::Status::Partial) if is_full => Err(UpgradeRefusal::TooLarge),
            Ok(httparse::Status::Partial) => Ok(None),
            Err(httparse::Error::TooManyHeaders) => Err(UpgradeRefusal::TooLarge),
            Err(_) => Err(UpgradeRefusal::Malformed),
        }
    }
}

/// The head of the reply that accepts a handshake.
fn answer(head: &httparse::Request<'_, '_>) -> Result<String, UpgradeRefusal> {
    let (mut upgrades, mut connects, mut is_13, mut hosts) = (false, false, false, 0);
    let (mut key, mut keys) = (&b""[..], 0);
    for field in &*head.headers {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("upgrade") {
            upgrades |= lists(field.value, "websocket");
        } else if is("connection") {
            connects |= lists(field.value, "upgrade");
        } else if is("sec-websocket-version") {
            is_13 = field.value.trim_ascii() == b"13";
        } else if is("sec-websocket-key") {
            key = field.value.trim_ascii();
            keys += 1;
        }
    }
    let is_get = head.method == Some("GET") && head.version == Some(1);
    if !is_get || !upgrades || !connects || !is_13 {
        return Err(UpgradeRefusal::UpgradeRequired);
    }
    if hosts != 1 || keys != 1 || STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(UpgradeRefusal::Malformed);
    }
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nServer: loadtest\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept_of(key)
    ))
}
