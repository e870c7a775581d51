//! WebSocket (RFC 6455) for both ends: frames, however they were cut, and the key of the opening.
//! Used by the client and by `serve ws`.
//!
//! ```text
//!  0               1               2 (4, 10)       +4
//! │F R R R opcode │M len (126,127)│ longer len    │ mask, if M │ payload …
//! ```
//!
//! **Invariant.** The result does not depend on how the bytes were cut
//! (`tests::cuts_change_nothing`). A head is checked as soon as it is complete, before its payload
//! is used. Nothing but the head is stored.
//!
//! **Absent on purpose**: extensions (none is offered, so a reserved bit is a violation), and
//! buffers (the caller decides what to keep).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The longest payload of a control frame.
pub(crate) const CONTROL_LEN_MAX: usize = 125;

/// The longest head of a frame: two bytes, eight of a length, four of a mask.
pub(crate) const HEAD_LEN_MAX: usize = 14;

/// The mask of a client's frame. The masked byte at position i is `byte ^ mask[i % 4]`.
pub(crate) type Mask = [u8; 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn new(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// Why the rest of a stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A reserved bit or opcode, a mask that is missing or not allowed, a control frame that is too
    /// long or fragmented, a length that is not in its shortest form, or a fragment out of order.
    Protocol,
    /// Longer than the reader allows.
    TooLong,
}

/// The end that has sent the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Every frame is masked.
    Client,
    /// No frame is masked.
    Server,
}

/// A frame, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePart<'a> {
    /// In a continuation, the opcode of its message.
    pub(crate) opcode: Opcode,
    /// The received part of the payload, still masked.
    pub(crate) payload: &'a [u8],
    /// The mask from the first byte of `payload` on. Zeros if the frame has no mask.
    pub(crate) mask: Mask,
    /// The first part of a message or of a control frame.
    pub(crate) is_first: bool,
    /// The part ends a message or a control frame.
    pub(crate) is_last: bool,
}

/// Reads the frames of one connection.
#[derive(Debug)]
pub(crate) struct FrameReader {
    sender: Sender,
    /// An incomplete head.
    head: [u8; HEAD_LEN_MAX],
    head_len: u8,
    frame: Option<Frame>,
    /// The opcode of the message whose fragments arrive.
    message: Option<Opcode>,
    /// The length of that message's payload so far, from the heads.
    message_len: u64,
}

/// The frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    mask: Mask,
    left: u64,
    is_first: bool,
}

impl FrameReader {
    pub(crate) fn of(sender: Sender) -> FrameReader {
        FrameReader {
            sender,
            head: [0; HEAD_LEN_MAX],
            head_len: 0,
            frame: None,
            message: None,
            message_len: 0,
        }
    }

    /// Whether no frame or message is incomplete.
    pub(crate) fn is_between(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Takes received bytes. Returns how many of them are used, and the part that they are, or
    /// `None` if they are all used and the head is not complete. The payload of a message may have
    /// at most `len_max` bytes.
    pub(crate) fn advance<'a>(
        &mut self,
        bytes: &'a [u8],
        len_max: u64,
    ) -> Result<(usize, Option<FramePart<'a>>), Violation> {
        let mut used = 0;
        let mut frame = match self.frame {
            Some(frame) => frame,
            None => {
                let (len, frame) = self.read_head(bytes, len_max)?;
                used = len;
                let Some(frame) = frame else { return Ok((used, None)) };
                frame
            }
        };
        let rest = &bytes[used..];
        if rest.is_empty() && frame.left > 0 {
            self.frame = Some(frame);
            return Ok((used, None));
        }
        let len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(rest.len());
        let (mask, is_first) = (frame.mask, frame.is_first);
        frame.left -= len as u64;
        frame.mask.rotate_left(len % 4);
        frame.is_first = false;
        let is_whole = frame.left == 0;
        self.frame = (!is_whole).then_some(frame);
        Ok((
            used + len,
            Some(FramePart {
                opcode: frame.opcode,
                payload: &rest[..len],
                mask,
                is_first,
                is_last: is_whole && frame.is_final,
            }),
        ))
    }

    /// Reads the rest of a head. Returns its number of bytes.
    fn read_head(
        &mut self,
        bytes: &[u8],
        len_max: u64,
    ) -> Result<(usize, Option<Frame>), Violation> {
        let before = usize::from(self.head_len);
        let added = bytes.len().min(HEAD_LEN_MAX - before);
        self.head[before..before + added].copy_from_slice(&bytes[..added]);
        let known = before + added;
        let head = &self.head[..known];
        let wanted = if known < 2 { 2 } else { head_len(head[1]) };
        if known < wanted {
            self.head_len = known as u8;
            return Ok((added, None));
        }
        let frame = self.parse_head(len_max)?;
        self.head_len = 0;
        Ok((wanted - before, Some(frame)))
    }

    /// The frame of a complete head.
    fn parse_head(&mut self, len_max: u64) -> Result<Frame, Violation> {
        let [first, second, ..] = self.head;
        let is_final = first & 0x80 != 0;
        let opcode = Opcode::new(first & 0x0f).ok_or(Violation::Protocol)?;
        let is_masked = second & 0x80 != 0;
        let len = self.announced_len()?;
        let is_allowed = match opcode {
            _ if first & 0x70 != 0 || is_masked != (self.sender == Sender::Client) => false,
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                is_final && len <= CONTROL_LEN_MAX as u64
            }
            Opcode::Continuation => self.message.is_some(),
            Opcode::Text | Opcode::Binary => self.message.is_none(),
        };
        if !is_allowed {
            return Err(Violation::Protocol);
        }
        let mask = match is_masked {
            true => {
                let from = head_len(second) - 4;
                self.head[from..from + 4].try_into().expect("four bytes")
            }
            false => [0; 4],
        };
        if opcode.is_control() {
            return Ok(Frame { opcode, is_final, mask, left: len, is_first: true });
        }
        let before = if self.message.is_some() { self.message_len } else { 0 };
        let message_len = before.saturating_add(len);
        if message_len > len_max {
            return Err(Violation::TooLong);
        }
        let is_first = self.message.is_none();
        let opcode = self.message.unwrap_or(opcode);
        self.message = (!is_final).then_some(opcode);
        self.message_len = message_len;
        Ok(Frame { opcode, is_final, mask, left: len, is_first })
    }

    fn announced_len(&self) -> Result<u64, Violation> {
        let (len, least) = match self.head[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([self.head[2], self.head[3]])), 126),
            127 => {
                let bytes = self.head[2..10].try_into().expect("eight bytes");
                (u64::from_be_bytes(bytes), 1 << 16)
            }
            len => (u64::from(len), 0),
        };
        match len {
            len if len < least || len > i64::MAX as u64 => Err(Violation::Protocol),
            len => Ok(len),
        }
    }
}

/// The length of a complete head, from its second byte.
fn head_len(second: u8) -> usize {
    let len = match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    if second & 0x80 != 0 { len + 4 } else { len }
}

/// The head of a frame that is a whole message, and the length of the head.
pub(crate) fn head(
    opcode: Opcode,
    payload_len: usize,
    mask: Option<Mask>,
) -> ([u8; HEAD_LEN_MAX], usize) {
    let mut head = [0; HEAD_LEN_MAX];
    head[0] = 0x80 | opcode as u8;
    let mut len = 2;
    if payload_len < 126 {
        head[1] = payload_len as u8;
    } else if let Ok(payload_len) = u16::try_from(payload_len) {
        head[1] = 126;
        head[2..4].copy_from_slice(&payload_len.to_be_bytes());
        len = 4;
    } else {
        head[1] = 127;
        head[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
        len = 10;
    }
    if let Some(mask) = mask {
        head[1] |= 0x80;
        head[len..len + 4].copy_from_slice(&mask);
        len += 4;
    }
    (head, len)
}

/// Masks or unmasks a payload.
pub(crate) fn apply(mask: Mask, payload: &mut [u8]) {
    // Sixteen bytes at a time, which compile to one instruction.
    let mut wide = [0; 16];
    wide.chunks_exact_mut(4).for_each(|place| place.copy_from_slice(&mask));
    let (chunks, rest) = payload.as_chunks_mut::<16>();
    for chunk in chunks {
        chunk.iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
    }
    rest.iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
}

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub(crate) fn accept_of(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether the list in a header field includes `name`.
pub(crate) fn lists(field: &[u8], name: &str) -> bool {
    let mut options = field.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    options.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
pub(crate) mod tests;
