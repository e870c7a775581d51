//! WebSocket: an opening, then messages that come back as they are, each in a frame of its own.
//!
//! ```text
//! open ──▶ the peer agrees ──┬▶ a message ──▶ its payload back, in any fragments ──▶ complete
//! (upgrade)                  ├▶ ping ──▶ pong
//!                            └▶ close ──▶ close
//! ```
//!
//! What is a right reply is `echo`'s matter; this adds the frames around it. A frame that breaks the
//! protocol, and a message that nobody has asked for, are a mismatch and end the connection.
//!
//! **Invariant.** What comes out does not depend on how the bytes were cut
//! (`tests::cuts_change_nothing`). Of a ping at most 125 bytes are kept, and of several that were not
//! answered yet the last one: it answers for all.

pub(crate) mod frames;
pub(crate) mod upgrade;

use std::cell::RefCell;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;

use crate::measure::failure::{Class, Failure, Stage, Surprise};
use crate::protocol::Step;
use crate::protocol::echo::{self, Echo};
use crate::protocol::ws::frames::{Opcode, Part, Reader, Sender};
use crate::protocol::ws::upgrade::{Opening, Upgrade};

/// `1000`: the purpose of the connection has been fulfilled.
const DONE: [u8; 2] = 1_000_u16.to_be_bytes();

/// What all connections of a worker send and expect.
#[derive(Debug)]
pub(crate) struct Ws {
    echo: Echo,
    upgrade: Arc<Upgrade>,
    opcode: Opcode,
    /// Of keys and masks.
    random: RefCell<fastrand::Rng>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Talk {
    echo: echo::Talk,
    frames: Reader,
    /// Until the peer has agreed.
    opening: Option<Box<Opening>>,
    /// All of the payload of the reply is there, but the last of its frames is not.
    is_filled: bool,
    /// The payload of a control frame that is not whole.
    control: Vec<u8>,
    /// To be sent beside the messages.
    owed: Option<Rc<[u8]>>,
    /// What is owed is the answer to the peer's close.
    is_closing: bool,
}

impl Ws {
    pub(super) fn new(echo: Echo, upgrade: Arc<Upgrade>, random: fastrand::Rng) -> Ws {
        let opcode = if upgrade.is_text() { Opcode::Text } else { Opcode::Binary };
        Ws { echo, upgrade, opcode, random: RefCell::new(random) }
    }

    pub(super) fn open(&self, talk: &mut Talk) -> Rc<[u8]> {
        let (request, opening) = self.upgrade.ask(&mut self.random.borrow_mut());
        talk.opening = Some(Box::new(opening));
        request.into()
    }

    /// Looks at the answer to the opening, and at what follows it.
    pub(super) fn is_open(&self, talk: &mut Talk, bytes: &[u8]) -> Result<bool, Failure> {
        let opening = talk.opening.as_mut().expect("it was sent");
        let Some(used) = opening.advance(bytes, &self.upgrade)? else { return Ok(false) };
        talk.opening = None;
        // Nothing is asked for yet, so this is a ping or the like.
        match self.decode(talk, &bytes[used..])? {
            Step::Partial => Ok(true),
            step => unreachable!("nobody has asked for {step:?}"),
        }
    }

    pub(super) fn encode(&self, talk: &mut Talk) -> Rc<[u8]> {
        let len = self.echo.next_len(&talk.echo);
        self.frame(self.opcode, len, |payload| self.echo.write(&mut talk.echo, payload))
    }

    pub(super) fn decode(&self, talk: &mut Talk, bytes: &[u8]) -> Result<Step, Failure> {
        let mut used = 0;
        while used < bytes.len() {
            let len_max = self.echo.len_max() as u64;
            let advanced = talk.frames.advance(&bytes[used..], len_max);
            let (len, part) = advanced.map_err(|_violation| MISMATCH)?;
            used += len;
            let Some(part) = part else { break };
            if part.opcode.is_control() {
                self.heed(talk, part)?;
            } else if self.is_reply(talk, part)? {
                return Ok(Step::Complete { used });
            }
        }
        Ok(Step::Partial)
    }

    /// What is to be said before the connection is closed.
    pub(super) fn farewell(&self, talk: &mut Talk) -> Rc<[u8]> {
        match talk.owed.take().filter(|_| talk.is_closing) {
            Some(answer) => answer,
            None => self.control(Opcode::Close, &DONE),
        }
    }

    /// Takes a piece of a message. Says whether the reply is complete.
    fn is_reply(&self, talk: &mut Talk, part: Part<'_>) -> Result<bool, Failure> {
        if part.opcode != self.opcode || (part.is_first && !talk.echo.is_awaited()) {
            return Err(MISMATCH);
        }
        if !part.payload.is_empty() {
            if talk.is_filled {
                return Err(MISMATCH);
            }
            match self.echo.decode(&mut talk.echo, part.payload)? {
                Step::Partial => {}
                Step::Complete { used } if used == part.payload.len() => talk.is_filled = true,
                Step::Complete { .. } | Step::Unexpected { .. } => return Err(MISMATCH),
            }
        }
        match part.is_last {
            false => Ok(false),
            true if std::mem::take(&mut talk.is_filled) => Ok(true),
            true => Err(MISMATCH),
        }
    }

    /// Takes a piece of a control frame, and does as it says when it is whole.
    fn heed(&self, talk: &mut Talk, part: Part<'_>) -> Result<(), Failure> {
        talk.control.extend_from_slice(part.payload);
        if !part.is_last {
            return Ok(());
        }
        let payload = std::mem::take(&mut talk.control);
        match part.opcode {
            Opcode::Ping => talk.owed = Some(self.control(Opcode::Pong, &payload)),
            Opcode::Close if payload.len() == 1 => return Err(MISMATCH),
            Opcode::Close => {
                let code = payload.get(..2).unwrap_or_default();
                talk.owed = Some(self.control(Opcode::Close, code));
                talk.is_closing = true;
                return Err(Failure::of(Stage::Recv, Class::Closed));
            }
            // Nobody has asked for a pong, which is allowed and means nothing.
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        Ok(())
    }

    fn control(&self, opcode: Opcode, payload: &[u8]) -> Rc<[u8]> {
        self.frame(opcode, payload.len(), |place| place.copy_from_slice(payload))
    }

    /// A whole frame, in one allocation: the payload is written in its place and masked there.
    fn frame(&self, opcode: Opcode, len: usize, write: impl FnOnce(&mut [u8])) -> Rc<[u8]> {
        let mask = self.random.borrow_mut().u32(..).to_ne_bytes();
        let (head, head_len) = frames::head(opcode, len, Some(mask));
        let mut frame: Rc<[u8]> = iter::repeat_n(0, head_len + len).collect();
        let bytes = Rc::get_mut(&mut frame).expect("nobody else has it yet");
        bytes[..head_len].copy_from_slice(&head[..head_len]);
        let payload = &mut bytes[head_len..];
        write(payload);
        frames::apply(mask, payload);
        frame
    }
}

impl Talk {
    /// How the answer to the opening began.
    pub(super) fn unwanted(&self) -> Option<Surprise> {
        let answer = self.opening.as_ref()?.seen();
        (!answer.is_empty()).then(|| Surprise::of_reply(answer))
    }

    pub(super) fn new(connection: u64) -> Talk {
        Talk {
            echo: echo::Talk::new(connection),
            frames: Reader::of(Sender::Server),
            opening: None,
            is_filled: false,
            control: Vec::new(),
            owed: None,
            is_closing: false,
        }
    }

    pub(super) fn take_owed(&mut self) -> Option<Rc<[u8]>> {
        self.owed.take()
    }

    pub(super) fn ended(&self) -> Failure {
        let class = if self.frames.is_between() { Class::Eof } else { Class::Short };
        Failure::of(Stage::Recv, class)
    }
}

const MISMATCH: Failure = Failure::of(Stage::Recv, Class::Mismatch);

#[cfg(test)]
pub(crate) mod tests;
