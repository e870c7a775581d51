//! Reader of requests from pieces of any size. `httparse` parses the head, and the body is skipped.
//!
//! A request is returned after its last byte, so a reply never precedes the end of a body.
//!
//! **Invariant.** The result does not depend on the sizes of the pieces
//! (`tests::cuts_change_nothing`), and at most one head is kept, of at most [`HEAD_LEN_MAX`] bytes.
//!
//! **Absent on purpose**: sockets and routes.

use crate::protocol::chunked::{Broken, ChunkProgress, Chunked};

/// The longest head: request line, fields and the empty line.
pub(super) const HEAD_LEN_MAX: usize = 16 << 10;

/// The most fields in a head.
pub(super) const FIELDS_MAX: usize = 64;

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: RequestMethod,
    /// Path and query, as received.
    pub(super) target: String,
    /// 0 or 1.
    pub(super) minor_version: u8,
    /// Whether the connection stays open.
    pub(super) is_keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestMethod {
    Get,
    Head,
    Post,
    Other,
}

/// Reason why a request is refused and the connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Answered with 400.
    Malformed,
    /// Answered with 431.
    TooLarge,
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Refusal {
        match broken {
            Broken::Malformed => Refusal::Malformed,
            Broken::TooLarge => Refusal::TooLarge,
        }
    }
}

/// Result of reading some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadStep {
    /// More bytes are needed.
    More,
    /// The peer waits for `100 Continue` before it sends the body.
    Continue,
    Request(Request),
}

/// The reader of one connection.
#[derive(Debug, Default)]
pub(super) struct RequestReader {
    state: ReadState,
    /// An incomplete head. Empty between requests.
    head: Vec<u8>,
}

#[derive(Debug, Default)]
enum ReadState {
    #[default]
    Head,
    Sized {
        request: Request,
        /// At least 1.
        left: u64,
    },
    Chunked {
        request: Request,
        body: Chunked,
    },
}

/// Framing of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLength {
    Sized(u64),
    Chunked,
}

struct RequestHead {
    request: Request,
    body: BodyLength,
    expects_continue: bool,
}

impl RequestReader {
    /// Reads `bytes`. Returns how many of them were used, and the result; the next call needs the
    /// rest. After a refusal the reader must not be used again.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, ReadStep), Refusal> {
        match std::mem::take(&mut self.state) {
            ReadState::Head => self.advance_head(bytes),
            ReadState::Sized { request, left } => {
                let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                match left - used as u64 {
                    0 => Ok((used, ReadStep::Request(request))),
                    left => {
                        self.state = ReadState::Sized { request, left };
                        Ok((used, ReadStep::More))
                    }
                }
            }
            ReadState::Chunked { request, mut body } => match body.skip(bytes)? {
                ChunkProgress::Ended { used } => Ok((used, ReadStep::Request(request))),
                ChunkProgress::Goes => {
                    self.state = ReadState::Chunked { request, body };
                    Ok((bytes.len(), ReadStep::More))
                }
            },
        }
    }

    fn advance_head(&mut self, bytes: &[u8]) -> Result<(usize, ReadStep), Refusal> {
        // Old clients send empty lines before a request, which a server ignores.
        let blank_len = match self.head.is_empty() {
            true => bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count(),
            false => 0,
        };
        let bytes = &bytes[blank_len..];
        // Most heads arrive in one piece and are parsed without a copy.
        let (parsed, kept_len) = if self.head.is_empty() {
            (parse(&bytes[..bytes.len().min(HEAD_LEN_MAX)], bytes)?, 0)
        } else {
            let kept_len = self.head.len();
            let room = HEAD_LEN_MAX - kept_len;
            let added = &bytes[..bytes.len().min(room)];
            self.head.extend_from_slice(added);
            (parse(&self.head, added)?, kept_len)
        };
        let Some((head_len, head)) = parsed else {
            if kept_len == 0 {
                self.head.extend_from_slice(bytes);
            }
            return Ok((blank_len + bytes.len(), ReadStep::More));
        };
        self.head = Vec::new();
        let used = blank_len + head_len - kept_len;
        let RequestHead { request, body, expects_continue } = head;
        self.state = match body {
            BodyLength::Sized(0) => return Ok((used, ReadStep::Request(request))),
            BodyLength::Sized(left) => ReadState::Sized { request, left },
            BodyLength::Chunked => ReadState::Chunked { request, body: Chunked::default() },
        };
        let step = if expects_continue { ReadStep::Continue } else { ReadStep::More };
        Ok((used, step))
    }
}

/// Parses a head at the start of `window`, whose last bytes, `added`, are new. `None` if it is
/// incomplete.
fn parse(window: &[u8], added: &[u8]) -> Result<Option<(usize, RequestHead)>, Refusal> {
    let is_full = window.len() == HEAD_LEN_MAX;
    // A head ends with a line break. So the head is not parsed again for each byte of a peer that
    // sends byte by byte.
    if !is_full && !added.contains(&b'\n') {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(window) {
        Ok(httparse::Status::Complete(len)) => Ok(Some((len, understand(&head)?))),
        Ok(httparse::Status::Partial) if is_full => Err(Refusal::TooLarge),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::TooLarge),
        Err(_) => Err(Refusal::Malformed),
    }
}

/// Interprets the fields of a complete head. Contradicting fields are refused, because two readers
/// of the same bytes could see different requests.
fn understand(head: &httparse::Request<'_, '_>) -> Result<RequestHead, Refusal> {
    let minor_version = head.version.expect("the head is whole");
    let mut is_keep_alive = minor_version == 1;
    let (mut is_closing, mut hosts, mut expects_continue) = (false, 0, false);
    let (mut length, mut is_chunked) = (None, false);
    for field in &*head.headers {
        let value = field.value.trim_ascii();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("content-length") {
            if length.replace(decimal(value)?).is_some() {
                return Err(Refusal::Malformed);
            }
        } else if is("transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed);
            }
            is_chunked = true;
        } else if is("connection") {
            for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                is_closing |= option.eq_ignore_ascii_case(b"close");
                is_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("expect") {
            expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
        }
    }
    let is_modern = minor_version == 1;
    let has_two_lengths = is_chunked && length.is_some();
    if has_two_lengths || (is_chunked && !is_modern) || hosts > 1 || (hosts == 0 && is_modern) {
        return Err(Refusal::Malformed);
    }
    let method = match head.method.expect("the head is whole") {
        "GET" => RequestMethod::Get,
        "HEAD" => RequestMethod::Head,
        "POST" => RequestMethod::Post,
        _ => RequestMethod::Other,
    };
    let target = head.path.expect("the head is whole").to_owned();
    is_keep_alive &= !is_closing;
    let body =
        if is_chunked { BodyLength::Chunked } else { BodyLength::Sized(length.unwrap_or(0)) };
    let request = Request { method, target, minor_version, is_keep_alive };
    Ok(RequestHead { request, body, expects_continue: expects_continue && is_modern })
}

fn decimal(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Refusal::Malformed)?;
    text.parse().map_err(|_| Refusal::Malformed)
}

#[cfg(test)]
#[path = "request_tests.rs"]
pub(crate) mod tests;
