//! TCP echo: the reply to a message is the message.
//!
//! Every byte of the reply is compared with what was sent, so a server that answers fast and wrong
//! is not a fast server.

use std::rc::Rc;

use super::Step;
use crate::failure::{Class, Failure, Stage};

/// The message that all connections of one worker send.
#[derive(Debug)]
pub(crate) struct Echo {
    message: Rc<[u8]>,
}

/// How much of a reply is there.
#[derive(Debug, Default)]
pub(crate) struct Received {
    len: usize,
}

impl Echo {
    pub(super) fn new(message_size: usize) -> Echo {
        // 61 is prime, so a reply that is shifted or cut at a power of two does not match by luck.
        let message = (0..message_size).map(|index| b'!' + (index % 61) as u8).collect();
        Echo { message }
    }

    pub(super) fn encode(&self) -> Rc<[u8]> {
        Rc::clone(&self.message)
    }

    pub(super) fn decode(&self, received: &mut Received, bytes: &[u8]) -> Result<Step, Failure> {
        let missing = &self.message[received.len..];
        let used = bytes.len().min(missing.len());
        if bytes[..used] != missing[..used] {
            return Err(Failure::of(Stage::Recv, Class::Mismatch));
        }
        if used < missing.len() {
            received.len += used;
            return Ok(Step::Partial);
        }
        received.len = 0;
        Ok(Step::Complete { used })
    }
}

impl Received {
    pub(super) fn ended(&self) -> Failure {
        Failure::of(Stage::Recv, if self.len == 0 { Class::Eof } else { Class::Short })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: Result<Step, Class> = Ok(Step::Complete { used: 6 });

    fn decode(pieces: &[&[u8]]) -> (Received, Result<Step, Class>) {
        let echo = Echo { message: (*b"abcdef").into() };
        let mut received = Received::default();
        let mut last = Ok(Step::Partial);
        for piece in pieces {
            last = echo.decode(&mut received, piece).map_err(|failure| failure.class);
        }
        (received, last)
    }

    /// Goal: a reply counts only when every byte is back, however it is cut up, and the next reply
    /// starts where it ends.
    ///
    /// Method: whole, in pieces, one byte missing, one and a half replies.
    ///
    /// Kills: completing at the first piece; comparing a piece with the start of the message; eating
    /// the next reply's bytes.
    #[test]
    fn a_reply_is_complete_when_all_bytes_are_back() {
        assert_eq!(decode(&[b"abcdef"]).1, COMPLETE);
        assert_eq!(decode(&[b"ab", b"cd", b"ef"]).1, Ok(Step::Complete { used: 2 }));
        assert_eq!(decode(&[b"abcde"]).1, Ok(Step::Partial));
        assert_eq!(decode(&[b"abcdefabc"]).1, COMPLETE);
        assert_eq!(decode(&[b"abcdef", b"abcdef"]).1, COMPLETE);
    }

    /// Goal: the ways a reply can be wrong are told apart.
    ///
    /// Method: one reply of each kind.
    ///
    /// Kills: taking an end of stream in mid-reply for one between messages.
    #[test]
    fn wrong_replies_have_classes() {
        assert_eq!(decode(&[b"abX"]).1, Err(Class::Mismatch));
        assert_eq!(decode(&[b"ab", b"ab"]).1, Err(Class::Mismatch));
        assert_eq!(decode(&[]).0.ended().class, Class::Eof);
        assert_eq!(decode(&[b"abc"]).0.ended().class, Class::Short);
        assert_eq!(decode(&[b"abcdef"]).0.ended().class, Class::Eof);
    }
}
