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
//! | [`Protocol::ended`] | when the peer has finished sending and a message waits for its reply |
//!
//! A [`Failure`] ends the connection, and with it every message that is outstanding there.

mod echo;

use std::rc::Rc;

use self::echo::Echo;
use crate::failure::Failure;

/// Which protocol a worker speaks. One value per worker, shared by its connections.
#[derive(Debug)]
pub(crate) enum Protocol {
    Echo(Echo),
}

/// What is remembered of one connection.
#[derive(Debug)]
pub(crate) enum Conversation {
    Echo(echo::Talk),
}

/// What received bytes were.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A part of a reply: all bytes were used.
    Partial,
    /// The end of the reply to the oldest outstanding message. Bytes after `used` are not looked at.
    Complete { used: usize },
}

impl Protocol {
    /// With a `run_id`, each message is unlike every other.
    pub(crate) fn echo(message_size: u32, run_id: Option<u64>) -> Protocol {
        Protocol::Echo(Echo::new(message_size as usize, run_id))
    }

    /// `connection` is the connection's number among all of the run.
    pub(crate) fn begin(&self, connection: u64) -> Conversation {
        match self {
            Protocol::Echo(_) => Conversation::Echo(echo::Talk::new(connection)),
        }
    }

    /// The next message to send. Equal messages share their bytes, so that sending allocates nothing.
    pub(crate) fn encode(&self, conversation: &mut Conversation) -> Rc<[u8]> {
        match (self, conversation) {
            (Protocol::Echo(echo), Conversation::Echo(talk)) => echo.encode(talk),
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
        }
    }

    /// What an end of the stream means for the reply that is awaited.
    pub(crate) fn ended(&self, conversation: &Conversation) -> Failure {
        match (self, conversation) {
            (Protocol::Echo(_), Conversation::Echo(talk)) => talk.ended(),
        }
    }
}
