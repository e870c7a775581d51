//! Protocols: the bytes of messages and of their replies.
//!
//! A protocol encodes messages and recognises their replies, however the received bytes were cut.
//! It performs no I/O, has no clock and counts nothing. Several messages may be outstanding on a
//! connection (`--pipeline`). Replies arrive in the order of the messages.
//!
//! A new protocol is a file here, a variant of [`Protocol`] for what all connections of a worker
//! share, and a variant of [`ConnState`] for the state of a connection:
//!
//! | method | called |
//! |---|---|
//! | [`Protocol::begin`] | for each connection, when it is connected |
//! | [`Protocol::open`] | then, for the bytes to send before the first message |
//! | [`Protocol::is_open`] | with received bytes, until the peer has agreed |
//! | [`Protocol::encode`] | for each message, when it is sent |
//! | [`Protocol::decode`] | with received bytes, and with the rest after each complete reply |
//! | [`Protocol::wrong_from`] | after a failure of `decode` |
//! | [`Protocol::is_over`] | after each complete reply |
//! | [`Protocol::ended`] | when the peer has finished sending |
//! | [`Protocol::take_owed`] | after received bytes, for answers that are no messages |
//! | [`Protocol::close_message`] | before an orderly close |
//!
//! A [`Failure`] ends the connection and all of its outstanding messages. The failure of a
//! [`Decoded::Unexpected`] ends a single message.

pub(crate) mod chunked;
pub(crate) mod decoded;
pub(crate) mod echo;
pub(crate) mod http;
pub(crate) mod payload;
pub(crate) mod ws;

use std::rc::Rc;
use std::sync::Arc;

use crate::base::random;
use crate::measure::failure::{Failure, UnexpectedBytes};
use crate::protocol::decoded::Decoded;
use crate::protocol::echo::Echo;
use crate::protocol::http::Http;
use crate::protocol::http::exchange::Exchange;
use crate::protocol::payload::Payload;
use crate::protocol::ws::Ws;
use crate::protocol::ws::upgrade::Upgrade;

/// The protocol of a run, with its options.
#[derive(Clone, Debug)]
pub(crate) enum ProtocolConfig {
    Echo(Payload),
    Http(Arc<Exchange>),
    Ws(Payload, Arc<Upgrade>),
}

impl ProtocolConfig {
    /// The name in the report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ProtocolConfig::Echo(_) => "tcp echo",
            ProtocolConfig::Http(_) => "http/1.1",
            ProtocolConfig::Ws(..) => "websocket echo",
        }
    }

    /// The sizes of the shortest and of the longest message. In HTTP a message is a whole request.
    pub(crate) fn message_sizes(&self) -> (u32, u32) {
        match self {
            ProtocolConfig::Echo(payload) | ProtocolConfig::Ws(payload, _) => payload.sizes(),
            ProtocolConfig::Http(exchange) => {
                let sizes = exchange.requests().iter().map(|request| request.len());
                let size = |size: Option<usize>| {
                    u32::try_from(size.expect("there is one")).expect("bounded by config")
                };
                (size(sizes.clone().min()), size(sizes.max()))
            }
        }
    }
}

/// The protocol of a worker. Its connections share one value.
#[derive(Debug)]
pub(crate) enum Protocol {
    Echo(Echo),
    Http(Http),
    Ws(Ws),
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) enum ConnState {
    Echo(echo::EchoState),
    Http(http::HttpState),
    /// Boxed because it is larger than the others.
    Ws(Box<ws::WsState>),
}

impl Protocol {
    /// A protocol for one worker. With a `run_id`, every message of an echo is different.
    pub(crate) fn new(
        protocol: &ProtocolConfig,
        run_id: Option<u64>,
        seed: u64,
        worker: u32,
    ) -> Protocol {
        let echo = |payload: &Payload| Echo::new(payload, run_id, seed);
        match protocol {
            ProtocolConfig::Echo(payload) => Protocol::Echo(echo(payload)),
            ProtocolConfig::Http(exchange) => Protocol::Http(Http::new(Arc::clone(exchange))),
            ProtocolConfig::Ws(payload, upgrade) => {
                // The generators of connections are made from the seed itself.
                let random = random::generator(random::mix(seed), worker.into());
                Protocol::Ws(Ws::new(echo(payload), Arc::clone(upgrade), random))
            }
        }
    }

    /// The state of a new connection. No other connect of the run has the number `connection`.
    pub(crate) fn begin(&self, connection: u64) -> ConnState {
        match self {
            Protocol::Echo(_) => ConnState::Echo(echo::EchoState::new(connection)),
            Protocol::Http(_) => ConnState::Http(http::HttpState::default()),
            Protocol::Ws(_) => ConnState::Ws(Box::new(ws::WsState::new(connection))),
        }
    }

    /// The bytes to send before the first message. If there are any, the connection is open when
    /// [`is_open`](Protocol::is_open) is true.
    pub(crate) fn open(&self, state: &mut ConnState) -> Option<Rc<[u8]>> {
        match (self, state) {
            (Protocol::Ws(ws), ConnState::Ws(state)) => Some(ws.open(state)),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => None,
        }
    }

    /// Takes bytes of the answer to [`open`](Protocol::open). Returns whether the peer has agreed.
    /// All bytes are used.
    pub(crate) fn is_open(&self, state: &mut ConnState, bytes: &[u8]) -> Result<bool, Failure> {
        match (self, state) {
            (Protocol::Ws(ws), ConnState::Ws(state)) => ws.is_open(state, bytes),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("there is nothing to agree on")
            }
        }
    }

    /// The next message to send. Equal messages share their bytes, so that a send does not
    /// allocate.
    pub(crate) fn encode(&self, state: &mut ConnState) -> Rc<[u8]> {
        match (self, state) {
            (Protocol::Echo(echo), ConnState::Echo(state)) => echo.encode(state),
            (Protocol::Http(http), ConnState::Http(_)) => http.encode(),
            (Protocol::Ws(ws), ConnState::Ws(state)) => ws.encode(state),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// Whether the peer may send when no message is outstanding. If not, such bytes are a failure
    /// and are not decoded.
    pub(crate) fn is_two_way(&self) -> bool {
        match self {
            Protocol::Echo(_) | Protocol::Http(_) => false,
            Protocol::Ws(_) => true,
        }
    }

    /// Takes received bytes, at least one, up to the end of the next reply.
    pub(crate) fn decode(&self, state: &mut ConnState, bytes: &[u8]) -> Result<Decoded, Failure> {
        match (self, state) {
            (Protocol::Echo(echo), ConnState::Echo(state)) => echo.decode(state, bytes),
            (Protocol::Http(http), ConnState::Http(state)) => http.decode(state, bytes),
            (Protocol::Ws(ws), ConnState::Ws(state)) => ws.decode(state, bytes),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// An answer that is no message, such as a pong. It is to be sent as soon as possible.
    pub(crate) fn take_owed(&self, state: &mut ConnState) -> Option<Rc<[u8]>> {
        match state {
            ConnState::Echo(_) | ConnState::Http(_) => None,
            ConnState::Ws(state) => state.take_owed(),
        }
    }

    /// The beginning of the last reply, or of the answer to the opening, if all of it was not the
    /// expected one.
    pub(crate) fn take_unwanted(&self, state: &mut ConnState) -> Option<UnexpectedBytes> {
        match state {
            ConnState::Echo(_) => None,
            ConnState::Http(state) => state.take_unwanted(),
            ConnState::Ws(state) => state.unwanted(),
        }
    }

    /// The position in `bytes`, for which `decode` has just failed, of the first wrong byte, as far
    /// as it is known.
    pub(crate) fn wrong_from(&self, state: &ConnState, bytes: &[u8]) -> usize {
        match (self, state) {
            (Protocol::Echo(echo), ConnState::Echo(state)) => echo.wrong_from(state, bytes),
            (Protocol::Http(_), ConnState::Http(_)) | (Protocol::Ws(_), ConnState::Ws(_)) => 0,
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// Whether the reply that was just completed is the last one: the peer closes the connection.
    pub(crate) fn is_over(&self, state: &ConnState) -> bool {
        match state {
            ConnState::Echo(_) | ConnState::Ws(_) => false,
            ConnState::Http(state) => state.is_over(),
        }
    }

    /// The peer has finished sending. This may be the end of the current reply.
    pub(crate) fn ended(&self, state: &mut ConnState) -> Result<Decoded, Failure> {
        match (self, state) {
            (Protocol::Echo(_), ConnState::Echo(state)) => Err(state.ended()),
            (Protocol::Http(http), ConnState::Http(state)) => http.ended(state),
            (Protocol::Ws(_), ConnState::Ws(state)) => Err(state.ended()),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// The bytes to send before an orderly close, of this side or of the peer.
    pub(crate) fn close_message(&self, state: &mut ConnState) -> Option<Rc<[u8]>> {
        match (self, state) {
            (Protocol::Ws(ws), ConnState::Ws(state)) => Some(ws.close_message(state)),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => None,
        }
    }
}

const OF_ANOTHER: &str = "the state of a connection is of the protocol that has made it";
