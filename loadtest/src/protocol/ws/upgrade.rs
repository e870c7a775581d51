//! The opening of a WebSocket: a request of HTTP/1.1, and the answer that proves that it was
//! understood.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::measure::failure::{Class, Failure, Stage};
use crate::protocol::http::exchange::Field;
use crate::protocol::ws::frames::{accept_of, lists};

/// The longest head of an answer, and the most fields in it.
const HEAD_LEN_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;

/// Fields that the opening has anyway, with values of its own, and those of a body.
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

/// What is asked for, on every connection.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// All but the key and the end.
    head: String,
    fields: Vec<Field>,
    is_text: bool,
}

/// An opening that waits for its answer.
#[derive(Debug)]
pub(crate) struct Opening {
    accept: String,
    /// What has come of the answer's head.
    kept: Vec<u8>,
}

impl Upgrade {
    /// An opening at `target` of `host`. A `Host` among the fields takes its place; one of the fields
    /// that an opening is made of is refused.
    pub(crate) fn new(
        target: &str,
        host: &str,
        fields: Vec<Field>,
        is_text: bool,
    ) -> Result<Upgrade, String> {
        if let Some(name) = RESERVED.iter().find(|name| fields.iter().any(|field| field.is(name))) {
            return Err(format!("--header {name}: is said by itself"));
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

    /// Whether messages are text; else they are binary.
    pub(crate) fn is_text(&self) -> bool {
        self.is_text
    }

    /// A request with a key of its own.
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
    /// Goes on with `bytes`. Says how many of them were the rest of the answer; `None` if all were and
    /// there is more to come.
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
            let Some((len, status)) = self.understand(upgrade)? else {
                return if added.len() == bytes.len() { Ok(None) } else { Err(MALFORMED) };
            };
            used += len - before;
            before = 0;
            if status == 101 {
                return Ok(Some(used));
            }
            // An interim answer; another one follows.
            self.kept.drain(..len);
        }
    }

    /// Reads a head at the start of what is kept. `None` if it is not whole.
    fn understand(&self, upgrade: &Upgrade) -> Result<Option<(usize, u16)>, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let len = match head.parse(&self.kept) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if self.kept.len() < HEAD_LEN_MAX => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(MALFORMED),
        };
        let status = head.code.expect("the head is whole");
        match status {
            101 => self.check(head.headers, upgrade)?,
            100..200 => {}
            status => {
                return Err(Failure { stage: Stage::Handshake, ..Failure::of_status(status) });
            }
        }
        Ok(Some((len, status)))
    }

    /// Whether the peer has agreed to what was asked for, and to nothing else.
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

    /// What has come of the answer.
    pub(crate) fn seen(&self) -> &[u8] {
        &self.kept
    }
}
