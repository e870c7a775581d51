//! HTTP/1.1: one request repeatedly or several in turn, and replies of any form.
//!
//! ```text
//!         ┌─ 1xx ─┐                    ┌▶ nothing, length 0 ─────────────────▶ complete
//!         ▼       │                    ├▶ Sized ──── the last byte ──────────▶ complete
//!        Head ────┴─ head is complete ─┼▶ Chunked ── the last chunk's end ───▶ complete
//!                                      └▶ UntilEnd ─ the end of the stream ──▶ complete
//! ```
//!
//! A reply with another status than expected is an error of its message alone. The connection goes
//! on, and the message has no latency, because error replies are often faster. A reply that is not
//! HTTP ends the connection.
//!
//! **Invariant.** The result does not depend on how the bytes were cut
//! (`tests::cuts_change_nothing`). Bodies are skipped, not stored. At most [`HEAD_LEN_MAX`] bytes
//! of an incomplete head are stored.

pub(crate) mod exchange;
pub(crate) mod head;
pub(crate) mod statuses;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::measure::failure::{Class, Failure, Stage, UnexpectedBytes};
use crate::protocol::chunked::{Broken, ChunkProgress, Chunked};
use crate::protocol::decoded::Decoded;
use crate::protocol::http::exchange::Exchange;
use crate::protocol::http::head::{BodyFraming, HeadReader, ReplyHead, is_interim, malformed};

/// The requests of all connections of a worker, and what is expected of replies.
#[derive(Debug)]
pub(crate) struct Http {
    requests: Vec<Rc<[u8]>>,
    /// The index of the next request.
    next: Cell<usize>,
    exchange: Arc<Exchange>,
}

/// The replies of one connection.
#[derive(Debug, Default)]
pub(crate) struct HttpState {
    part: ReplyPart,
    head: HeadReader,
    /// The status of the current reply.
    status: u16,
    /// The current or most recent reply is the last one of the connection.
    is_last: bool,
    /// The beginning of the most recent reply that was not the expected one.
    unwanted: Option<Box<UnexpectedBytes>>,
}

/// The part of a reply that comes next.
#[derive(Debug, Default)]
enum ReplyPart {
    #[default]
    Head,
    /// A body of which at least one byte is left.
    Sized {
        left: u64,
    },
    Chunked(Chunked),
    UntilEnd,
}

impl Http {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Http {
        let requests = exchange.requests().iter().map(|request| request[..].into()).collect();
        Http { requests, next: Cell::new(0), exchange }
    }

    pub(crate) fn encode(&self) -> Rc<[u8]> {
        let place = self.next.get();
        self.next.set((place + 1) % self.requests.len());
        Rc::clone(&self.requests[place])
    }

    pub(crate) fn decode(&self, state: &mut HttpState, bytes: &[u8]) -> Result<Decoded, Failure> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match &mut state.part {
                ReplyPart::Head => {
                    let advanced = state.head.advance(rest, &self.exchange);
                    if !matches!(advanced, Ok(None)) {
                        state.unwanted = self.unwanted(&advanced, state.head.seen(rest));
                        state.head.reset();
                    }
                    let Some((len, head)) = advanced? else { return Ok(Decoded::Partial) };
                    used += len;
                    if let Some(decoded) = self.begin(state, head, used) {
                        return Ok(decoded);
                    }
                }
                ReplyPart::Sized { left } => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= len as u64;
                    return Ok(match left {
                        0 => self.complete(state, used + len),
                        _ => Decoded::Partial,
                    });
                }
                ReplyPart::Chunked(body) => {
                    return Ok(match body.skip(rest).map_err(of_chunk)? {
                        ChunkProgress::Ended { used: len } => self.complete(state, used + len),
                        ChunkProgress::Goes => Decoded::Partial,
                    });
                }
                ReplyPart::UntilEnd => return Ok(Decoded::Partial),
            }
        }
    }

    /// The beginning of a reply that is not the expected one.
    fn unwanted(
        &self,
        head: &Result<Option<(usize, ReplyHead)>, Failure>,
        seen: &[u8],
    ) -> Option<Box<UnexpectedBytes>> {
        let is_wanted = matches!(head, Ok(Some((_, head))) if self.exchange.expects(head.status));
        (!is_wanted).then(|| Box::new(UnexpectedBytes::of_reply(seen)))
    }

    /// The end of the stream, which is the end of a reply without a length.
    pub(crate) fn ended(&self, state: &mut HttpState) -> Result<Decoded, Failure> {
        match state.part {
            ReplyPart::UntilEnd => Ok(self.complete(state, 0)),
            ReplyPart::Head if state.head.is_empty() => Err(Failure::of(Stage::Recv, Class::Eof)),
            ReplyPart::Head | ReplyPart::Sized { .. } | ReplyPart::Chunked(_) => {
                Err(Failure::of(Stage::Recv, Class::Short))
            }
        }
    }

    /// Takes a complete head. Returns a result if the reply is complete too.
    fn begin(&self, state: &mut HttpState, head: ReplyHead, used: usize) -> Option<Decoded> {
        let ReplyHead { status, body, is_last } = head;
        if is_interim(status) {
            return None;
        }
        state.status = status;
        state.is_last = is_last;
        state.part = match body {
            BodyFraming::Sized(0) => return Some(self.complete(state, used)),
            BodyFraming::Sized(left) => ReplyPart::Sized { left },
            BodyFraming::Chunked => ReplyPart::Chunked(Chunked::default()),
            BodyFraming::UntilEnd => ReplyPart::UntilEnd,
        };
        None
    }

    fn complete(&self, state: &mut HttpState, used: usize) -> Decoded {
        state.part = ReplyPart::Head;
        match self.exchange.expects(state.status) {
            true => Decoded::Complete { used },
            false => Decoded::Unexpected { used, failure: Failure::of_status(state.status) },
        }
    }
}

impl HttpState {
    /// Takes the beginning of the most recent reply that was not the expected one.
    pub(crate) fn take_unwanted(&mut self) -> Option<UnexpectedBytes> {
        self.unwanted.take().map(|unexpected| *unexpected)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_last
    }
}

fn of_chunk(broken: Broken) -> Failure {
    malformed(match broken {
        Broken::TooLarge => "the trailer of a chunked body is too large",
        Broken::Malformed => "a chunk of the body has no right length or end",
    })
}

#[cfg(test)]
pub(crate) mod tests;
