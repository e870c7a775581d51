//! What one message is: the only part of a run that knows what travels over a connection.
//!
//! A protocol makes messages and recognises their replies, in any cut. It reads and writes nothing,
//! measures nothing, counts nothing and has no deadline: that is the worker's matter. Several messages
//! may be outstanding on a connection (`--pipeline`); replies come in the order of the messages.
//!
//! A new protocol is a file here, a variant of [`Protocol`] for what all connections of a worker share
//! and a variant of [`Conversation`] for what each connection needs to remember:
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
//! | [`Protocol::farewell`] | before the connection is closed in order |
//!
//! A [`Failure`] ends the connection, and with it every message that is outstanding there; the one of
//! a [`Step::Unexpected`] is that of a single message.

pub(crate) mod chunked;
pub(crate) mod echo;
pub(crate) mod http;
pub(crate) mod ws;

use std::rc::Rc;
use std::sync::Arc;

use crate::base::random;
use crate::measure::failure::{Failure, Surprise};
use crate::protocol::echo::Echo;
use crate::protocol::http::Http;
use crate::protocol::http::exchange::Exchange;
use crate::protocol::ws::Ws;
use crate::protocol::ws::upgrade::Upgrade;

/// What is spoken, as it was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Speech {
    Echo(Payload),
    Http(Arc<Exchange>),
    Ws(Payload, Arc<Upgrade>),
}

/// What the messages of an echo are.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// Bytes of our own; how many is drawn for each message, both bounds included.
    Pattern {
        min: u32,
        max: u32,
    },
    Given(Arc<[u8]>),
}

impl Payload {
    /// The sizes of the shortest and of the longest.
    fn sizes(&self) -> (u32, u32) {
        match self {
            Payload::Pattern { min, max } => (*min, *max),
            Payload::Given(bytes) => {
                let size = u32::try_from(bytes.len()).expect("bounded by config");
                (size, size)
            }
        }
    }
}

impl Speech {
    /// As the report has it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Speech::Echo(_) => "tcp echo",
            Speech::Http(_) => "http/1.1",
            Speech::Ws(..) => "websocket echo",
        }
    }

    /// The sizes of the shortest message and of the longest; of HTTP, of the whole request.
    pub(crate) fn message_sizes(&self) -> (u32, u32) {
        match self {
            Speech::Echo(payload) | Speech::Ws(payload, _) => payload.sizes(),
            Speech::Http(exchange) => {
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
pub(crate) enum Conversation {
    Echo(echo::Talk),
    Http(http::Talk),
    /// In a box, as it is larger than the others.
    Ws(Box<ws::Talk>),
}

/// What received bytes were.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A part of a reply: all bytes were used.
    Partial,
    /// The end of the reply to the oldest outstanding message. Bytes after `used` are not looked at.
    Complete { used: usize },
    /// The same, and the reply is not the one that was wanted: its message has failed, and the
    /// connection goes on.
    Unexpected { used: usize, failure: Failure },
}

impl Protocol {
    /// With a `run_id`, each message of an echo is unlike every other.
    pub(crate) fn new(speech: &Speech, run_id: Option<u64>, seed: u64, worker: u32) -> Protocol {
        let echo = |payload: &Payload| Echo::new(payload, run_id, seed);
        match speech {
            Speech::Echo(payload) => Protocol::Echo(echo(payload)),
            Speech::Http(exchange) => Protocol::Http(Http::new(Arc::clone(exchange))),
            Speech::Ws(payload, upgrade) => {
                // Connections have generators of the seed itself.
                let random = random::generator(random::mix(seed), worker.into());
                Protocol::Ws(Ws::new(echo(payload), Arc::clone(upgrade), random))
            }
        }
    }

    /// `connection` is a number that no other connection of the run has or had.
    pub(crate) fn begin(&self, connection: u64) -> Conversation {
        match self {
            Protocol::Echo(_) => Conversation::Echo(echo::Talk::new(connection)),
            Protocol::Http(_) => Conversation::Http(http::Talk::default()),
            Protocol::Ws(_) => Conversation::Ws(Box::new(ws::Talk::new(connection))),
        }
    }

    /// What has to be sent before the first message. The connection is open when
    /// [`is_open`](Protocol::is_open) says so, or at once if this is nothing.
    pub(crate) fn open(&self, conversation: &mut Conversation) -> Option<Rc<[u8]>> {
        match (self, conversation) {
            (Protocol::Ws(ws), Conversation::Ws(talk)) => Some(ws.open(talk)),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => None,
        }
    }

    /// Looks at the answer to [`open`](Protocol::open), as far as it has come. All bytes are used.
    pub(crate) fn is_open(
        &self,
        conversation: &mut Conversation,
        bytes: &[u8],
    ) -> Result<bool, Failure> {
        match (self, conversation) {
            (Protocol::Ws(ws), Conversation::Ws(talk)) => ws.is_open(talk, bytes),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("there is nothing to agree on")
            }
        }
    }

    /// The next message to send. Equal messages share their bytes, so that sending allocates nothing.
    pub(crate) fn encode(&self, conversation: &mut Conversation) -> Rc<[u8]> {
        match (self, conversation) {
            (Protocol::Echo(echo), Conversation::Echo(talk)) => echo.encode(talk),
            (Protocol::Http(http), Conversation::Http(_)) => http.encode(),
            (Protocol::Ws(ws), Conversation::Ws(talk)) => ws.encode(talk),
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
    pub(crate) fn decode(
        &self,
        conversation: &mut Conversation,
        bytes: &[u8],
    ) -> Result<Step, Failure> {
        match (self, conversation) {
            (Protocol::Echo(echo), Conversation::Echo(talk)) => echo.decode(talk, bytes),
            (Protocol::Http(http), Conversation::Http(talk)) => http.decode(talk, bytes),
            (Protocol::Ws(ws), Conversation::Ws(talk)) => ws.decode(talk, bytes),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// What is to be sent beside the messages, as soon as possible.
    pub(crate) fn take_owed(&self, conversation: &mut Conversation) -> Option<Rc<[u8]>> {
        match conversation {
            Conversation::Echo(_) | Conversation::Http(_) => None,
            Conversation::Ws(talk) => talk.take_owed(),
        }
    }

    /// How a reply began, or an answer to the opening, that was as a whole not the one that was wanted.
    pub(crate) fn take_unwanted(&self, conversation: &mut Conversation) -> Option<Surprise> {
        match conversation {
            Conversation::Echo(_) => None,
            Conversation::Http(talk) => talk.take_unwanted(),
            Conversation::Ws(talk) => talk.unwanted(),
        }
    }

    /// Where `bytes`, which `decode` has just refused, begin to be wrong, as far as that can be told.
    pub(crate) fn wrong_from(&self, conversation: &Conversation, bytes: &[u8]) -> usize {
        match (self, conversation) {
            (Protocol::Echo(echo), Conversation::Echo(talk)) => echo.wrong_from(talk, bytes),
            (Protocol::Http(_), Conversation::Http(_)) | (Protocol::Ws(_), Conversation::Ws(_)) => {
                0
            }
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// Whether the reply that was just complete is the last one on this connection, because the peer
    /// closes it then.
    pub(crate) fn is_over(&self, conversation: &Conversation) -> bool {
        match conversation {
            Conversation::Echo(_) | Conversation::Ws(_) => false,
            Conversation::Http(talk) => talk.is_over(),
        }
    }

    /// What an end of the stream means for the reply that is awaited. It may be that reply's end.
    pub(crate) fn ended(&self, conversation: &mut Conversation) -> Result<Step, Failure> {
        match (self, conversation) {
            (Protocol::Echo(_), Conversation::Echo(talk)) => Err(talk.ended()),
            (Protocol::Http(http), Conversation::Http(talk)) => http.ended(talk),
            (Protocol::Ws(_), Conversation::Ws(talk)) => Err(talk.ended()),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => {
                unreachable!("{OF_ANOTHER}")
            }
        }
    }

    /// What is said before a connection is closed that has done its part, or that the peer closes.
    pub(crate) fn farewell(&self, conversation: &mut Conversation) -> Option<Rc<[u8]>> {
        match (self, conversation) {
            (Protocol::Ws(ws), Conversation::Ws(talk)) => Some(ws.farewell(talk)),
            (Protocol::Echo(_) | Protocol::Http(_) | Protocol::Ws(_), _) => None,
        }
    }
}

const OF_ANOTHER: &str = "a conversation is begun by the protocol that goes on with it";
