//! HTTP/1.1: one request over and over, or several in turn, and replies of any form.
//!
//! ```text
//!         ┌─ 1xx ─┐                    ┌▶ nothing, length 0 ─────────────────▶ complete
//!         ▼       │                    ├▶ Sized ──── the last byte ──────────▶ complete
//!        Head ────┴── head is whole ───┼▶ Chunked ── the last chunk's end ───▶ complete
//!                                      └▶ UntilEnd ─ the end of the stream ──▶ complete
//! ```
//!
//! A reply of another status than expected is an error of its message alone: the connection goes on,
//! and the message has no latency, because an answer in error is often the faster one. What is no HTTP
//! ends the connection.
//!
//! **Invariant.** What comes out does not depend on how the bytes were cut
//! (`tests::cuts_change_nothing`). Bodies are skipped, not kept; of a head that comes in pieces at
//! most [`HEAD_LEN_MAX`] bytes are.

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

/// What all connections of a worker send and expect.
#[derive(Debug)]
pub(crate) struct Http {
    requests: Vec<Rc<[u8]>>,
    /// The place of the next one.
    next: Cell<usize>,
    exchange: Arc<Exchange>,
}

/// One connection's replies.
#[derive(Debug, Default)]
pub(crate) struct HttpState {
    part: ReplyPart,
    head: HeadReader,
    /// Of the reply that is being read.
    status: u16,
    /// The reply that is being read, or was read last, is the last one here.
    is_last: bool,
    /// How the last reply began that was not wanted.
    unwanted: Option<Box<UnexpectedBytes>>,
}

/// Which part of a reply comes next.
#[derive(Debug, Default)]
enum ReplyPart {
    #[default]
    Head,
    /// At least 1.
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
                        state.head.forget();
                    }
                    let Some((len, head)) = advanced? else { return Ok(Decoded::Partial) };
                    used += len;
                    if let Some(step) = self.begin(state, head, used) {
                        return Ok(step);
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

    /// Keeps how a reply begins that is not wanted.
    fn unwanted(
        &self,
        head: &Result<Option<(usize, ReplyHead)>, Failure>,
        seen: &[u8],
    ) -> Option<Box<UnexpectedBytes>> {
        let is_wanted = matches!(head, Ok(Some((_, head))) if self.exchange.expects(head.status));
        (!is_wanted).then(|| Box::new(UnexpectedBytes::of_reply(seen)))
    }

    /// The end of the stream is the end of a reply that is read until there.
    pub(crate) fn ended(&self, state: &mut HttpState) -> Result<Decoded, Failure> {
        match state.part {
            ReplyPart::UntilEnd => Ok(self.complete(state, 0)),
            ReplyPart::Head if state.head.is_empty() => Err(Failure::of(Stage::Recv, Class::Eof)),
            ReplyPart::Head | ReplyPart::Sized { .. } | ReplyPart::Chunked(_) => {
                Err(Failure::of(Stage::Recv, Class::Short))
            }
        }
    }

    /// A head is whole. Says so if the reply is, too.
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
    /// How the reply began that was not wanted, if it was one.
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
