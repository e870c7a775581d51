//! WebSocket echo: an opening handshake, then messages in frames that the peer sends back.
//!
//! ```text
//! open ──▶ the peer agrees ──┬▶ a message ──▶ its payload back, in any fragments ──▶ complete
//! (upgrade)                  ├▶ ping ──▶ pong
//!                            └▶ close ──▶ close
//! ```
//!
//! `echo` compares the payload of replies. This module adds the frames. A frame that violates the
//! protocol and a message without a request are a mismatch, which ends the connection.
//!
//! **Invariant.** The result does not depend on how the bytes were cut
//! (`tests::cuts_change_nothing`). At most 125 bytes of a ping are kept. If several pings were not
//! answered yet, the answer to the last one is the answer to all.

pub(crate) mod frames;
pub(crate) mod upgrade;

use std::cell::RefCell;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;

use crate::measure::failure::{Class, Failure, Stage, UnexpectedBytes};
use crate::protocol::decoded::Decoded;
use crate::protocol::echo::{self, Echo};
use crate::protocol::ws::frames::{FramePart, FrameReader, Opcode, Sender};
use crate::protocol::ws::upgrade::{Opening, Upgrade};

/// The status code of a normal close.
const DONE: [u8; 2] = 1_000_u16.to_be_bytes();

/// The messages of all connections of a worker.
#[derive(Debug)]
pub(crate) struct Ws {
    echo: Echo,
    upgrade: Arc<Upgrade>,
    opcode: Opcode,
    /// For keys and masks.
    random: RefCell<fastrand::Rng>,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct WsState {
    echo: echo::EchoState,
    frames: FrameReader,
    /// Until the peer has agreed.
    opening: Option<Box<Opening>>,
    /// The whole payload of the reply has arrived, but its last frame has not.
    is_filled: bool,
    /// The payload of an incomplete control frame.
    control: Vec<u8>,
    /// An answer to send besides the messages.
    owed: Option<Rc<[u8]>>,
    /// `owed` is the answer to the peer's close.
    is_closing: bool,
}

impl Ws {
    pub(super) fn new(echo: Echo, upgrade: Arc<Upgrade>, random: fastrand::Rng) -> Ws {
        let opcode = if upgrade.is_text() { Opcode::Text } else { Opcode::Binary };
        Ws { echo, upgrade, opcode, random: RefCell::new(random) }
    }

    pub(super) fn open(&self, state: &mut WsState) -> Rc<[u8]> {
        let (request, opening) = self.upgrade.ask(&mut self.random.borrow_mut());
        state.opening = Some(Box::new(opening));
        request.into()
    }

    /// Takes bytes of the answer to the opening, and frames that follow it.
    pub(super) fn is_open(&self, state: &mut WsState, bytes: &[u8]) -> Result<bool, Failure> {
        let opening = state.opening.as_mut().expect("it was sent");
        let Some(used) = opening.advance(bytes, &self.upgrade)? else { return Ok(false) };
        state.opening = None;
        // No message was sent yet, so only control frames are allowed.
        match self.decode(state, &bytes[used..])? {
            Decoded::Partial => Ok(true),
            decoded => unreachable!("no message was sent, but {decoded:?}"),
        }
    }

    pub(super) fn encode(&self, state: &mut WsState) -> Rc<[u8]> {
        let len = self.echo.next_len(&state.echo);
        self.frame(self.opcode, len, |payload| self.echo.write(&mut state.echo, payload))
    }

    pub(super) fn decode(&self, state: &mut WsState, bytes: &[u8]) -> Result<Decoded, Failure> {
        let mut used = 0;
        while used < bytes.len() {
            let len_max = self.echo.len_max() as u64;
            let advanced = state.frames.advance(&bytes[used..], len_max);
            let (len, part) = advanced.map_err(|_violation| MISMATCH)?;
            used += len;
            let Some(part) = part else { break };
            if part.opcode.is_control() {
                self.take_control(state, part)?;
            } else if self.is_reply(state, part)? {
                return Ok(Decoded::Complete { used });
            }
        }
        Ok(Decoded::Partial)
    }

    /// The close frame, or the answer to the close frame of the peer.
    pub(super) fn close_message(&self, state: &mut WsState) -> Rc<[u8]> {
        match state.owed.take().filter(|_| state.is_closing) {
            Some(answer) => answer,
            None => self.control(Opcode::Close, &DONE),
        }
    }

    /// Takes a part of a message. Returns whether the reply is complete.
    fn is_reply(&self, state: &mut WsState, part: FramePart<'_>) -> Result<bool, Failure> {
        if part.opcode != self.opcode || (part.is_first && !state.echo.is_awaited()) {
            return Err(MISMATCH);
        }
        if !part.payload.is_empty() {
            if state.is_filled {
                return Err(MISMATCH);
            }
            match self.echo.decode(&mut state.echo, part.payload)? {
                Decoded::Partial => {}
                Decoded::Complete { used } if used == part.payload.len() => state.is_filled = true,
                Decoded::Complete { .. } | Decoded::Unexpected { .. } => return Err(MISMATCH),
            }
        }
        match part.is_last {
            false => Ok(false),
            true if std::mem::take(&mut state.is_filled) => Ok(true),
            true => Err(MISMATCH),
        }
    }

    /// Takes a part of a control frame. When the frame is complete, makes the answer to it.
    fn take_control(&self, state: &mut WsState, part: FramePart<'_>) -> Result<(), Failure> {
        state.control.extend_from_slice(part.payload);
        if !part.is_last {
            return Ok(());
        }
        let payload = std::mem::take(&mut state.control);
        match part.opcode {
            Opcode::Ping => state.owed = Some(self.control(Opcode::Pong, &payload)),
            Opcode::Close if payload.len() == 1 => return Err(MISMATCH),
            Opcode::Close => {
                let code = payload.get(..2).unwrap_or_default();
                state.owed = Some(self.control(Opcode::Close, code));
                state.is_closing = true;
                return Err(Failure::of(Stage::Recv, Class::Closed));
            }
            // A pong without a ping is allowed and has no meaning.
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        Ok(())
    }

    fn control(&self, opcode: Opcode, payload: &[u8]) -> Rc<[u8]> {
        self.frame(opcode, payload.len(), |place| place.copy_from_slice(payload))
    }

    /// A whole frame in one allocation. The payload is written to its place and masked there.
    fn frame(&self, opcode: Opcode, len: usize, write: impl FnOnce(&mut [u8])) -> Rc<[u8]> {
        let mask = self.random.borrow_mut().u32(..).to_ne_bytes();
        let (head, head_len) = frames::head(opcode, len, Some(mask));
        let mut frame: Rc<[u8]> = iter::repeat_n(0, head_len + len).collect();
        let bytes = Rc::get_mut(&mut frame).expect("it is not shared yet");
        bytes[..head_len].copy_from_slice(&head[..head_len]);
        let payload = &mut bytes[head_len..];
        write(payload);
        frames::apply(mask, payload);
        frame
    }
}

impl WsState {
    /// The beginning of the answer to the opening.
    pub(super) fn unwanted(&self) -> Option<UnexpectedBytes> {
        let answer = self.opening.as_ref()?.seen();
        (!answer.is_empty()).then(|| UnexpectedBytes::of_reply(answer))
    }

    pub(super) fn new(connection: u64) -> WsState {
        WsState {
            echo: echo::EchoState::new(connection),
            frames: FrameReader::of(Sender::Server),
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
