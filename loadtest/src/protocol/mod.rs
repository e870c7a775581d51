//! What one message is: the only part of a run that knows what travels over a connection.
//!
//! A protocol makes messages and recognises their replies, in any cut. It reads and writes nothing,
//! measures nothing, counts nothing and has no deadline: that is the worker's matter. Several messages
//! may be outstanding on a connection (`--pipeline`); replies come in the order of the messages.
//!
//! A new protocol is a file here, a variant of [`Protocol`] for what all connections of a worker share
//! and a variant of [`ConnState`] for what each connection needs to remember:
//!
//! | method | called |
//! |---|---|
//! | [`Protocol::begin`] | once per connection, when it has connected |
//! | [`Protocol::open`] | then: what has to be sent before the first message, if anything |
//! | [`Protocol::is_open`] | with what comes back, until the peer has agreed |
//! | [`Protocol::encode`] | for each message, when it is sent |
//! | [`Protocol::decode`] | with received bytes, again with the rest while replies are complete |
//! | [`Protocol::wrong_from`] | when received bytes are refused |
//! | [`Protocol::is_over`] | after each reply that is complete |
//! | [`Protocol::ended`] | when the peer has finished sending |
//! | [`Protocol::take_owed`] | after received bytes: what they want to be answered, beside the messages |
//! | [`Protocol::close_message`] | before the connection is closed in order |
//!
//! A [`Failure`] ends the connection, and with it every message that is outstanding there; the one of
//! a [`Decoded::Unexpected`] is that of a single message.

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

/// What is spoken, as it was asked for.
#[derive(Clone, Debug)]
pub(crate) enum ProtocolConfig {
    Echo(Payload),
    Http(Arc<Exchange>),
    Ws(Payload, Arc<Upgrade>),
}

impl ProtocolConfig {
    /// As the report has it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ProtocolConfig::Echo(_) => "tcp echo",
            ProtocolConfig::Http(_) => "http/1.1",
            ProtocolConfig::Ws(..) => "websocket echo",
        }
    }

    /// The sizes of the shortest message and of the longest; of HTTP, of the whole request.
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

/// Which protocol a worker speaks. One value per worker, shared by its connections.
#[derive(Debug)]
pub(crate) enum Protocol {
    Echo(Echo),
    Http(Http),
    Ws(Ws),
}

/// What is remembered of one connection.
#[derive(Debug)]
pub(crate) enum ConnState {
    Echo(echo::EchoState),
    Http(http::HttpState),
    /// In a box, as it is larger than the others.
    Ws(Box<ws::WsState>),
}

impl Protocol {
    /// With a `run_id`, each message of an echo is unlike every other.
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
                // Connections have generators of the seed itself.
                let random = random::generator(random::mix(seed), worker.into());
                Protocol::Ws(Ws::new(echo(payload), Arc::clone(upgrade), random))
            }
        }
    }

    /// `connection` is a number that no other connection of the run has or had.
    pub(crate) fn begin(&self, connection: u64) -> ConnState {
        match self {
            Protocol::Echo(_) => ConnState::Echo(echo::EchoState::new(connection)),
            Protocol::Http(_) => ConnState::Http(http::HttpState::default()),
            Protocol::Ws(_) => ConnState::Ws(Box::new(ws::WsState::new(connection))),
        }
    }

    /// What has to be sent before the first message. The connection is open when
    /// [`is_open`](Protocol::is_open) says so, or at once if this is nothing.
    pub(crate) fn open(&self, state: &mut ConnState) -> Option<Rc<[u8]>> {
        match (self, state) {
            (Protocol::Ws(ws), ConnState::Ws(state)) => Some(ws.open(state)),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => None,
        }
    }

    /// Looks at the answer to [`open`](Protocol::open), as far as it has come. All bytes are used.
    pub(crate) fn is_open(&self, state: &mut ConnState, bytes: &[u8]) -> Result<bool, Failure> {
        match (self, state) {
            (Protocol::Ws(ws), ConnState::Ws(state)) => ws.is_open(state, bytes),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("there is nothing to agree on")
            }
        }
    }

    /// The next message to send. Equal messages share their bytes, so that sending allocates nothing.
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

    /// Whether the peer may speak when no message waits for its reply. Where it may not, what it says
    /// is not even looked at.
    pub(crate) fn is_two_way(&self) -> bool {
        match self {
            Protocol::Echo(_) | Protocol::Http(_) => false,
            Protocol::Ws(_) => true,
        }
    }

    /// Looks at bytes that are not empty.
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

    /// What is to be sent beside the messages, as soon as possible.
    pub(crate) fn take_owed(&self, state: &mut ConnState) -> Option<Rc<[u8]>> {
        match state {
            ConnState::Echo(_) | ConnState::Http(_) => None,
            ConnState::Ws(state) => state.take_owed(),
        }
    }

    /// How a reply began, or an answer to the opening, that was as a whole not the one that was wanted.
    pub(crate) fn take_unwanted(&self, state: &mut ConnState) -> Option<UnexpectedBytes> {
        match state {
            ConnState::Echo(_) => None,
            ConnState::Http(state) => state.take_unwanted(),
            ConnState::Ws(state) => state.unwanted(),
        }
    }

    /// Where `bytes`, which `decode` has just refused, begin to be wrong, as far as that can be told.
    pub(crate) fn wrong_from(&self, state: &ConnState, bytes: &[u8]) -> usize {
        match (self, state) {
            (Protocol::Echo(echo), ConnState::Echo(state)) => echo.wrong_from(state, bytes),
            (Protocol::Http(_), ConnState::Http(_)) | (Protocol::Ws(_), ConnState::Ws(_)) => 0,
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// Whether the reply that was just complete is the last one on this connection, because the peer
    /// closes it then.
    pub(crate) fn is_over(&self, state: &ConnState) -> bool {
        match state {
            ConnState::Echo(_) | ConnState::Ws(_) => false,
            ConnState::Http(state) => state.is_over(),
        }
    }

    /// What an end of the stream means for the reply that is awaited. It may be that reply's end.
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

    /// What is said before a connection is closed that has done its part, or that the peer closes.
    pub(crate) fn close_message(&self, state: &mut ConnState) -> Option<Rc<[u8]>> {
        match (self, state) {
            (Protocol::Ws(ws), ConnState::Ws(state)) => Some(ws.close_message(state)),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => None,
        }
    }
}

const OF_ANOTHER: &str = "a conversation is begun by the protocol that goes on with it";
