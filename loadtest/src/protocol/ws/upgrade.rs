//! The opening handshake of a WebSocket: a request of HTTP/1.1 and its answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::measure::failure::{Class, Failure, Stage};
use crate::protocol::http::exchange::Field;
use crate::protocol::ws::frames::{accept_of, lists};

/// The longest head of an answer, and the most fields in it.
const HEAD_LEN_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;

/// Fields of the opening that cannot be replaced, and those of a body.
const RESERVED: [&str; 7] = [
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

const MALFORMED: Failure =
    Failure::malformed(Stage::Handshake, "the answer to the upgrade is no HTTP");

/// The request of the opening, which is the same on every connection but for its key.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// The request without the key and the end.
    head: String,
    fields: Vec<Field>,
    is_text: bool,
}

/// An opening that waits for its answer.
#[derive(Debug)]
pub(crate) struct Opening {
    accept: String,
    /// Received bytes of the answer's head.
    kept: Vec<u8>,
}

impl Upgrade {
    /// An opening at `target` of `host`. A `Host` among the fields replaces the default.
    ///
    /// # Errors
    ///
    /// One of the fields is reserved.
    pub(crate) fn new(
        target: &str,
        host: &str,
        fields: Vec<Field>,
        is_text: bool,
    ) -> Result<Upgrade, String> {
        if let Some(name) = RESERVED.iter().find(|name| fields.iter().any(|field| field.is(name))) {
            return Err(format!("--header {name}: is set by the handshake and cannot be changed"));
        }
        let mut head = format!("GET {target} HTTP/1.1\r\n");
        if !fields.iter().any(|field| field.is("host")) {
            head += &format!("Host: {host}\r\n");
        }
        head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
        for field in &fields {
            head += &format!("{field}\r\n");
        }
        Ok(Upgrade { head, fields, is_text })
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether messages are text. Otherwise they are binary.
    pub(crate) fn is_text(&self) -> bool {
        self.is_text
    }

    /// A request with a new key, and the opening that waits for its answer.
    pub(crate) fn ask(&self, random: &mut fastrand::Rng) -> (Vec<u8>, Opening) {
        let key = STANDARD.encode(random.u128(..).to_ne_bytes());
        let request = format!("{}Sec-WebSocket-Key: {key}\r\n\r\n", self.head).into_bytes();
        (request, Opening { accept: accept_of(key.as_bytes()), kept: Vec::new() })
    }

    fn offers(&self, protocol: &[u8]) -> bool {
        let offers = |field: &Field| {
            field.is("sec-websocket-protocol")
                && std::str::from_utf8(protocol)
                    .is_ok_and(|protocol| lists(field.value().as_bytes(), protocol))
        };
        self.fields.iter().any(offers)
    }
}

impl Opening {
    /// Takes received bytes. Returns how many of them are the rest of the answer, or `None` if the
    /// answer is not complete.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        upgrade: &Upgrade,
    ) -> Result<Option<usize>, Failure> {
        let mut before = self.kept.len();
        let added = &bytes[..bytes.len().min(HEAD_LEN_MAX - before)];
        self.kept.extend_from_slice(added);
        if !added.contains(&b'\n') && self.kept.len() < HEAD_LEN_MAX {
            return Ok(None);
        }
        let mut used = 0;
        loop {
            let Some((len, status)) = self.parse(upgrade)? else {
                return if added.len() == bytes.len() { Ok(None) } else { Err(MALFORMED) };
            };
            used += len - before;
            before = 0;
            if status == 101 {
                return Ok(Some(used));
            }
            // Another answer follows an interim one.
            self.kept.drain(..len);
        }
    }

    /// The length and the status of the head at the start of `kept`. `None` if it is not complete.
    fn parse(&self, upgrade: &Upgrade) -> Result<Option<(usize, u16)>, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let len = match head.parse(&self.kept) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if self.kept.len() < HEAD_LEN_MAX => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(MALFORMED),
        };
        let status = head.code.expect("the head is complete");
        match status {
            101 => self.check(head.headers, upgrade)?,
            100..200 => {}
            status => {
                return Err(Failure { stage: Stage::Handshake, ..Failure::of_status(status) });
            }
        }
        Ok(Some((len, status)))
    }

    /// Checks that the peer has agreed to the request, and to nothing else.
    fn check(&self, fields: &[httparse::Header<'_>], upgrade: &Upgrade) -> Result<(), Failure> {
        let (mut upgrades, mut connects, mut accepts, mut is_other) = (false, false, 0, false);
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("upgrade") {
                upgrades |= lists(field.value, "websocket");
            } else if is("connection") {
                connects |= lists(field.value, "upgrade");
            } else if is("sec-websocket-accept") {
                accepts += 1;
                is_other |= field.value.trim_ascii() != self.accept.as_bytes();
            } else if is("sec-websocket-extensions") {
                is_other = true;
            } else if is("sec-websocket-protocol") {
                is_other |= !upgrade.offers(field.value.trim_ascii());
            }
        }
        match upgrades && connects && accepts == 1 && !is_other {
            true => Ok(()),
            false => Err(Failure::of(Stage::Handshake, Class::Mismatch)),
        }
    }

    /// The received bytes of the answer.
    pub(crate) fn seen(&self) -> &[u8] {
        &self.kept
    }
}
