//! A WebSocket server (RFC 6455) that sends back every message as one frame.
//!
//! ```text
//! bytes ──▶ opening ──▶ frames ──┬▶ text, binary ──▶ out ──▶ sent once per receive
//!                                ├▶ ping ──▶ pong ──▶ out
//!                                └▶ close, violation ──▶ close, the end
//! ```
//!
//! A connection keeps at most one incomplete message ([`LEN_MAX`]), a full output buffer (64 KiB
//! and one message) and the queue of the stream.
//!
//! **Absent on purpose**: extensions and subprotocols. The server ignores offers, which the
//! protocol allows.

pub(crate) mod opening;

use std::rc::Rc;
use std::{io, mem};

use crate::base::units::SIZE_MAX;
use crate::net::stream::Stream;
use crate::protocol::ws::frames::{self, FramePart, FrameReader, Mask, Opcode, Sender, Violation};
use crate::serve::lingering_close;
use crate::serve::serving_thread::ServingThread;
use crate::serve::ws::opening::OpeningReader;

/// Length at which a buffer of replies is sent before all received bytes are used.
const OUT_LEN: usize = 64 << 10;

/// The longest message.
const LEN_MAX: u64 = SIZE_MAX as u64;

/// Close codes of RFC 6455, 7.4.1.
const PROTOCOL_ERROR: u16 = 1002;
const NOT_TEXT: u16 = 1007;
const TOO_LONG: u16 = 1009;

/// Serves one peer until either side ends the connection. Failures of peers are not reported.
pub(super) async fn serve(stream: Stream, worker: Rc<ServingThread>) {
    let mut connection = WsConnection {
        worker: &worker,
        stream,
        out: Vec::new(),
        message: Vec::new(),
        control: Vec::new(),
    };
    let _ = connection.run().await;
}

struct WsConnection<'a> {
    worker: &'a ServingThread,
    stream: Stream,
    /// Frames to be sent.
    out: Vec<u8>,
    /// The received part of a message that did not arrive in one piece.
    message: Vec<u8>,
    /// The received part of a control frame.
    control: Vec<u8>,
}

/// The close frame that ends a connection.
#[derive(Debug, PartialEq, Eq)]
struct Close {
    payload: Vec<u8>,
    /// Whether the peer violated the protocol.
    is_violation: bool,
}

impl Close {
    fn after_violation(code: u16) -> Close {
        Close { payload: code.to_be_bytes().into(), is_violation: true }
    }
}

impl WsConnection<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let tally = self.worker.tally();
        let mut opening = Some(OpeningReader::default());
        let mut frames = FrameReader::of(Sender::Client);
        loop {
            let bytes = self.stream.recv().await?;
            if bytes.is_empty() {
                return Ok(());
            }
            tally.received(bytes.len());
            let mut rest = &bytes[..];
            if let Some(head) = &mut opening {
                match head.advance(rest) {
                    Ok(None) => continue,
                    Ok(Some((used, answer))) => {
                        self.out.extend_from_slice(answer.as_bytes());
                        rest = &rest[used..];
                        opening = None;
                    }
                    Err(refusal) => {
                        tally.bad_request();
                        self.out.extend_from_slice(refusal.reply().as_bytes());
                        return self.end().await;
                    }
                }
            }
            while !rest.is_empty() {
                let taken = match frames.advance(rest, LEN_MAX) {
                    Ok((used, part)) => {
                        rest = &rest[used..];
                        part.map_or(Ok(()), |part| self.take(part))
                    }
                    Err(Violation::Protocol) => Err(Close::after_violation(PROTOCOL_ERROR)),
                    Err(Violation::TooLong) => Err(Close::after_violation(TOO_LONG)),
                };
                if let Err(close) = taken {
                    return self.close(&close).await;
                }
                if self.out.len() >= OUT_LEN {
                    self.send().await?;
                }
            }
            self.send().await?;
        }
    }

    fn take(&mut self, part: FramePart<'_>) -> Result<(), Close> {
        match part.opcode {
            Opcode::Text | Opcode::Binary => self.take_message(part),
            Opcode::Ping | Opcode::Pong | Opcode::Close => self.take_control(part),
            Opcode::Continuation => unreachable!("a part has the opcode of its message"),
        }
    }

    fn take_message(&mut self, part: FramePart<'_>) -> Result<(), Close> {
        let FramePart { opcode, payload, mask, is_first, is_last } = part;
        if !(is_first && is_last) {
            add_unmasked(&mut self.message, mask, payload);
            if !is_last {
                return Ok(());
            }
        }
        // Most messages arrive in one piece and are unmasked directly in the output buffer.
        let message = mem::take(&mut self.message);
        let (payload, mask) = if is_first { (payload, mask) } else { (&message[..], [0; 4]) };
        let begin = self.write_frame(opcode, payload, mask);
        if opcode == Opcode::Text && std::str::from_utf8(&self.out[begin..]).is_err() {
            // Earlier frames are still sent, and nothing of this one.
            self.out.truncate(begin - frames::head(opcode, payload.len(), None).1);
            return Err(Close::after_violation(NOT_TEXT));
        }
        self.worker.tally().messages(1);
        Ok(())
    }

    fn take_control(&mut self, part: FramePart<'_>) -> Result<(), Close> {
        add_unmasked(&mut self.control, part.mask, part.payload);
        if !part.is_last {
            return Ok(());
        }
        let payload = mem::take(&mut self.control);
        match part.opcode {
            Opcode::Ping => _ = self.write_frame(Opcode::Pong, &payload, [0; 4]),
            Opcode::Close => return Err(answer_to_close(&payload)),
            _ => {} // an unsolicited pong, which is allowed
        }
        Ok(())
    }

    /// Writes a frame without a mask, after removing `mask` from `payload`. Returns the start of
    /// the payload in the buffer.
    fn write_frame(&mut self, opcode: Opcode, payload: &[u8], mask: Mask) -> usize {
        let (head, head_len) = frames::head(opcode, payload.len(), None);
        self.out.extend_from_slice(&head[..head_len]);
        let begin = self.out.len();
        add_unmasked(&mut self.out, mask, payload);
        begin
    }

    async fn send(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let len = self.out.len();
        self.stream.send(mem::take(&mut self.out)).await?;
        self.worker.tally().sent(len);
        Ok(())
    }

    async fn close(&mut self, close: &Close) -> io::Result<()> {
        if close.is_violation {
            self.worker.tally().bad_request();
        }
        self.write_frame(Opcode::Close, &close.payload, [0; 4]);
        self.end().await
    }

    /// Sends the last bytes and the end of the stream, and waits until the peer has read them.
    async fn end(&mut self) -> io::Result<()> {
        self.send().await?;
        lingering_close::close(&mut self.stream, self.worker.tally()).await
    }
}

fn add_unmasked(to: &mut Vec<u8>, mask: Mask, payload: &[u8]) {
    let begin = to.len();
    to.extend_from_slice(payload);
    frames::apply(mask, &mut to[begin..]);
}

/// The reply to a close frame: the same code, if it is one that may be sent.
fn answer_to_close(payload: &[u8]) -> Close {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload.is_empty() {
            true => Close { payload: Vec::new(), is_violation: false },
            false => Close::after_violation(PROTOCOL_ERROR),
        };
    };
    match u16::from_be_bytes(*code) {
        // 1004 to 1006 must not be sent, and the other codes are unassigned.
        1000..=1003 | 1007..=1014 | 3000..=4999 => match std::str::from_utf8(reason) {
            Ok(_) => Close { payload: code.to_vec(), is_violation: false },
            Err(_) => Close::after_violation(NOT_TEXT),
        },
        _ => Close::after_violation(PROTOCOL_ERROR),
    }
}
