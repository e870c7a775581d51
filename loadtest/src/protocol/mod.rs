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
//! | [`Protocol::begin`] | once per connection, when it has opened |
//! | [`Protocol::encode`] | for each message, when it is sent |
//! | [`Protocol::decode`] | with received bytes, again with the rest while replies are complete |
//! | [`Protocol::wrong_from`] | when received bytes are refused |
//! | [`Protocol::is_over`] | after each reply that is complete |
//! | [`Protocol::ended`] | when the peer has finished sending |
//!
//! A [`Failure`] ends the connection, and with it every message that is outstanding there; the one of
//! a [`Step::Unexpected`] is that of a single message.

mod echo;
pub(crate) mod http;

use std::rc::Rc;
use std::sync::Arc;

use self::echo::Echo;
use self::http::{Exchange, Http};
use crate::failure::Failure;

/// Which protocol a worker speaks. One value per worker, shared by its connections.
#[derive(Debug)]
pub(crate) enum Protocol {
    Echo(Echo),
    Http(Http),
}

/// What is remembered of one connection.
#[derive(Debug)]
pub(crate) enum Conversation {
    Echo(echo::Talk),
    Http(http::Talk),
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
    /// With a `run_id`, each message is unlike every other.
    pub(crate) fn echo(message_size: u32, run_id: Option<u64>) -> Protocol {
        Protocol::Echo(Echo::new(message_size as usize, run_id))
    }

    pub(crate) fn http(exchange: &Arc<Exchange>) -> Protocol {
        Protocol::Http(Http::new(Arc::clone(exchange)))
    }

    /// `connection` is a number that no other connection of the run has or had.
    pub(crate) fn begin(&self, connection: u64) -> Conversation {
        match self {
            Protocol::Echo(_) => Conversation::Echo(echo::Talk::new(connection)),
            Protocol::Http(_) => Conversation::Http(http::Talk::default()),
        }
    }

    /// The next message to send. Equal messages share their bytes, so that sending allocates nothing.
    pub(crate) fn encode(&self, conversation: &mut Conversation) -> Rc<[u8]> {
        match (self, conversation) {
            (Protocol::Echo(echo), Conversation::Echo(talk)) => echo.encode(talk),
            (Protocol::Http(http), Conversation::Http(_)) => http.encode(),
            (Protocol::Echo(_) | Protocol::Http(_), _) => unreachable!("{OF_ANOTHER}"),
        }
    }

    /// Looks at bytes that are not empty, while a message waits for its reply.
    pub(crate) fn decode(
        &self,
        conversation: &mut Conversation,
        bytes: &[u8],
    ) -> Result<Step, Failure> {
        match (self, conversation) {
            (Protocol::Echo(echo), Conversation::Echo(talk)) => echo.decode(talk, bytes),
            (Protocol::Http(http), Conversation::Http(talk)) => http.decode(talk, bytes),
            (Protocol::Echo(_) | Protocol::Http(_), _) => unreachable!("{OF_ANOTHER}"),
        }
    }

    /// Where `bytes`, which `decode` has just refused, begin to be wrong, as far as that can be told.
    pub(crate) fn wrong_from(&self, conversation: &Conversation, bytes: &[u8]) -> usize {
        match (self, conversation) {
            (Protocol::Echo(echo), Conversation::Echo(talk)) => echo.wrong_from(talk, bytes),
            (Protocol::Http(_), Conversation::Http(_)) => 0,
            (Protocol::Echo(_) | Protocol::Http(_), _) => unreachable!("{OF_ANOTHER}"),
        }
    }

    /// Whether the reply that was just complete is the last one on this connection, because the peer
    /// closes it then.
    pub(crate) fn is_over(&self, conversation: &Conversation) -> bool {
        match conversation {
            Conversation::Echo(_) => false,
            Conversation::Http(talk) => talk.is_over(),
        }
    }

    /// What an end of the stream means for the reply that is awaited. It may be that reply's end.
    pub(crate) fn ended(&self, conversation: &mut Conversation) -> Result<Step, Failure> {
        match (self, conversation) {
            (Protocol::Echo(_), Conversation::Echo(talk)) => Err(talk.ended()),
            (Protocol::Http(http), Conversation::Http(talk)) => http.ended(talk),
            (Protocol::Echo(_) | Protocol::Http(_), _) => unreachable!("{OF_ANOTHER}"),
        }
    }
}

const OF_ANOTHER: &str = "a conversation is begun by the protocol that goes on with it";
