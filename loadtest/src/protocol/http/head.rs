//! Heads of replies, complete or in pieces: the status, and how the end of the body is found.

use crate::measure::failure::{Failure, Stage};
use crate::protocol::http::exchange::Exchange;

/// The beginning of every head. Other bytes are a failure before their first line ends.
const BEGIN: &[u8] = b"HTTP/1.";

/// The relevant parts of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHead {
    pub(crate) status: u16,
    pub(crate) body: BodyFraming,
    /// The peer closes the connection after this reply.
    pub(crate) is_last: bool,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    Sized(u64),
    Chunked,
    UntilEnd,
}

/// Reads heads, and stores the beginning of an incomplete one.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    kept: Vec<u8>,
}

impl HeadReader {
    /// Whether no byte of a head has arrived yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    /// Takes received bytes. Returns the head and how many of them are the rest of it, or `None` if
    /// the head is not complete.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        exchange: &Exchange,
    ) -> Result<Option<(usize, ReplyHead)>, Failure> {
        // Most heads arrive in one piece, and are parsed in place.
        if self.kept.is_empty() {
            let window = &bytes[..bytes.len().min(HEAD_LEN_MAX)];
            let parsed = parse(window, window, exchange)?;
            if parsed.is_none() {
                self.kept.extend_from_slice(window);
            }
            return Ok(parsed);
        }
        let kept_len = self.kept.len();
        let added = &bytes[..bytes.len().min(HEAD_LEN_MAX - kept_len)];
        self.kept.extend_from_slice(added);
        let parsed = parse(&self.kept, added, exchange)?;
        Ok(parsed.map(|(len, head)| (len - kept_len, head)))
    }

    /// The bytes of the head that has just ended or failed. `bytes` are those that were taken last.
    pub(crate) fn seen<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        if self.kept.is_empty() { bytes } else { &self.kept }
    }

    /// Begins the next head.
    pub(crate) fn reset(&mut self) {
        self.kept = Vec::new();
    }
}

/// Parses a head at the start of `window`, whose last bytes, `added`, are new. Returns `None` if
/// the head is not complete.
fn parse(
    window: &[u8],
    added: &[u8],
    exchange: &Exchange,
) -> Result<Option<(usize, ReplyHead)>, Failure> {
    if !window.starts_with(&BEGIN[..BEGIN.len().min(window.len())]) {
        return Err(malformed("the reply does not begin with HTTP/1."));
    }
    let is_full = window.len() == HEAD_LEN_MAX;
    // A head ends with a line end. Without this check, a peer that sends single bytes would cause
    // the whole head to be parsed again for each byte.
    if !is_full && !added.contains(&b'\n') {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    match head.parse(window) {
        Ok(httparse::Status::Complete(len)) => Ok(Some((len, understand(&head, exchange)?))),
        Ok(httparse::Status::Partial) if !is_full => Ok(None),
        Ok(httparse::Status::Partial) => Err(malformed("the head is too large")),
        Err(error) => Err(malformed(match error {
            httparse::Error::HeaderName => "a name in the head is wrong",
            httparse::Error::HeaderValue => "a value in the head is wrong",
            httparse::Error::NewLine => "a line of the head does not end as it should",
            httparse::Error::Status => "the status line is wrong",
            httparse::Error::TooManyHeaders => "the head has too many fields",
            httparse::Error::Version => "the version of HTTP is wrong",
            httparse::Error::Token => "the head is no HTTP",
        })),
    }
}

/// The meaning of the fields of a complete head. Fields that contradict each other are refused:
/// with a guess, a part of a body could be taken for the next reply.
fn understand(
    head: &httparse::Response<'_, '_>,
    exchange: &Exchange,
) -> Result<ReplyHead, Failure> {
    let status = head.code.expect("the head is complete");
    let is_modern = head.version.expect("the head is complete") == 1;
    let (mut is_closing, mut is_kept) = (false, is_modern);
    let (mut length, mut codings, mut last_is_chunked) = (None, 0_u32, false);
    for field in &*head.headers {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let parts = || field.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        if is("content-length") {
            for part in parts() {
                let value = decimal(part)?;
                if length.replace(value).is_some_and(|before| before != value) {
                    return Err(malformed("two values of Content-Length differ"));
                }
            }
        } else if is("transfer-encoding") {
            for part in parts().filter(|part| !part.is_empty()) {
                // The chunked coding is the outermost one, and the only one with an end of its own.
                if last_is_chunked {
                    return Err(malformed("Transfer-Encoding has something behind chunked"));
                }
                codings += 1;
                last_is_chunked = part.eq_ignore_ascii_case(b"chunked");
            }
        } else if is("connection") {
            for option in parts() {
                is_closing |= option.eq_ignore_ascii_case(b"close");
                is_kept |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    if codings > 0 && length.is_some() {
        return Err(malformed("both Content-Length and Transfer-Encoding"));
    }
    if codings > 0 && !is_modern {
        return Err(malformed("Transfer-Encoding in HTTP/1.0"));
    }
    let is_bodiless = exchange.is_head() || status < 200 || matches!(status, 204 | 304);
    let body = match length {
        _ if is_bodiless => BodyFraming::Sized(0),
        _ if last_is_chunked => BodyFraming::Chunked,
        Some(length) => BodyFraming::Sized(length),
        None => BodyFraming::UntilEnd,
    };
    let ends_http = status < 200 && !is_interim(status);
    let is_last = is_closing
        || !is_kept
        || ends_http
        || body == BodyFraming::UntilEnd
        || exchange.closes_connections();
    Ok(ReplyHead { status, body, is_last })
}

fn decimal(digits: &[u8]) -> Result<u64, Failure> {
    let failure = malformed("Content-Length is no number");
    // `parse` would take a sign.
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(failure);
    }
    let text = std::str::from_utf8(digits).map_err(|_| failure)?;
    text.parse().map_err(|_| failure)
}

/// The longest head of a reply: status line, fields and the empty line.
pub(crate) const HEAD_LEN_MAX: usize = 64 << 10;

/// The most fields in a head.
pub(crate) const FIELDS_MAX: usize = 128;

pub(crate) const fn malformed(reason: &'static str) -> Failure {
    Failure::malformed(Stage::Recv, reason)
}

/// Whether another head follows. The bytes after `101` are not HTTP.
pub(crate) fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}
