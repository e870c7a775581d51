//! TCP echo: the reply to a message is the message.
//!
//! Every byte of the reply is compared with what was sent, so fast and wrong replies do not count.
//! Normally all messages are equal. With a run id (`--verify`) each message begins with its name,
//! so that a wrong reply can be recognised as the reply to another message:
//!
//! ```text
//! 0      8            16       24
//! │ seq  │ connection │ run id │ a pattern that depends on the message and the position │
//! ```
//!
//! A shorter message has the part of its name that fits, and is verified as far as that goes.

use std::iter;
use std::rc::Rc;

use crate::base::random;
use crate::measure::failure::{Class, Failure, Stage};
use crate::protocol::decoded::Decoded;
use crate::protocol::payload::Payload;

/// The length of a message's name.
const NAME_LEN: usize = 24;

/// The messages of all connections of a worker.
#[derive(Debug)]
pub(crate) struct Echo {
    /// The longest message. Shorter ones are a prefix of it.
    message: Rc<[u8]>,
    /// `None` if all messages have the same length.
    lengths: Option<MessageLengths>,
    /// `None` if messages have no names.
    run_id: Option<u64>,
}

/// Random lengths. The length of a message is a function of its connection and its number, so the
/// decoder of the replies can compute it.
#[derive(Clone, Copy, Debug)]
struct MessageLengths {
    min: u32,
    max: u32,
    seed: u64,
}

impl MessageLengths {
    fn draw(self, connection: u64, seq: u64) -> usize {
        let stream_seed = random::mix(self.seed) ^ connection;
        random::generator(stream_seed, seq).u32(self.min..=self.max) as usize
    }
}

/// The messages of one connection.
#[derive(Debug)]
pub(crate) struct EchoState {
    connection: u64,
    sent: u64,
    completed: u64,
    /// Bytes received of the reply to message `completed`.
    received_len: usize,
    /// The first of these bytes.
    name: [u8; NAME_LEN],
}

/// The name of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    seq: u64,
    connection: u64,
    run_id: u64,
}

impl Name {
    fn to_bytes(self) -> [u8; NAME_LEN] {
        let mut bytes = [0; NAME_LEN];
        let parts = [self.seq, self.connection, self.run_id];
        for (place, part) in bytes.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        bytes
    }

    /// The name that a message begins with. Missing bytes are those of `other`.
    fn from_bytes(bytes: &[u8], other: Name) -> Name {
        let mut all = other.to_bytes();
        all[..bytes.len()].copy_from_slice(bytes);
        let part = |index: usize| {
            u64::from_le_bytes(all[index * 8..][..8].try_into().expect("eight bytes"))
        };
        Name { seq: part(0), connection: part(1), run_id: part(2) }
    }

    /// The byte at `position` of the message. 251 is prime, so a shift by a power of two is found.
    fn byte(self, position: usize) -> u8 {
        ((position % 251) as u8) ^ (self.seq ^ self.connection.rotate_left(3)) as u8
    }
}

impl Echo {
    pub(super) fn new(payload: &Payload, run_id: Option<u64>, seed: u64) -> Echo {
        match *payload {
            Payload::Pattern { min, max } => {
                // 61 is prime, so a reply that is shifted or cut at a power of two does not match.
                let message = (0..max).map(|index| b'!' + (index % 61) as u8).collect();
                let lengths = (min < max).then_some(MessageLengths { min, max, seed });
                Echo { message, lengths, run_id }
            }
            Payload::Given(ref bytes) => {
                Echo { message: bytes[..].into(), lengths: None, run_id: None }
            }
        }
    }

    pub(super) fn encode(&self, state: &mut EchoState) -> Rc<[u8]> {
        let seq = state.sent;
        state.sent += 1;
        self.message(state.connection, seq)
    }

    fn message(&self, connection: u64, seq: u64) -> Rc<[u8]> {
        if self.run_id.is_none() && self.lengths.is_none() {
            return Rc::clone(&self.message);
        }
        let mut message: Rc<[u8]> = iter::repeat_n(0, self.len_of(connection, seq)).collect();
        let place = Rc::get_mut(&mut message).expect("it is not shared yet");
        self.fill(connection, seq, place);
        message
    }

    /// The length of the next message.
    pub(super) fn next_len(&self, state: &EchoState) -> usize {
        self.len_of(state.connection, state.sent)
    }

    fn len_of(&self, connection: u64, seq: u64) -> usize {
        match self.lengths {
            None => self.message.len(),
            Some(lengths) => lengths.draw(connection, seq),
        }
    }

    /// The length of the longest message.
    pub(super) fn len_max(&self) -> usize {
        self.message.len()
    }

    /// Writes the next message to `place`, and counts it as sent.
    pub(super) fn write(&self, state: &mut EchoState, place: &mut [u8]) {
        let seq = state.sent;
        state.sent += 1;
        self.fill(state.connection, seq, place);
    }

    fn fill(&self, connection: u64, seq: u64, place: &mut [u8]) {
        let Some(run_id) = self.run_id else {
            return place.copy_from_slice(&self.message[..place.len()]);
        };
        let name = Name { seq, connection, run_id };
        let named_len = place.len().min(NAME_LEN);
        let (named, rest) = place.split_at_mut(named_len);
        named.copy_from_slice(&name.to_bytes()[..named_len]);
        for (position, byte) in (named_len..).zip(rest) {
            *byte = name.byte(position);
        }
    }

    /// The position of the first byte that differs from the reply, or 0 if none does.
    pub(super) fn wrong_from(&self, state: &EchoState, bytes: &[u8]) -> usize {
        let wanted = self.message(state.connection, state.completed);
        let mut pairs = bytes.iter().zip(&wanted[state.received_len..]);
        pairs.position(|(byte, wanted)| byte != wanted).unwrap_or(0)
    }

    pub(super) fn decode(&self, state: &mut EchoState, bytes: &[u8]) -> Result<Decoded, Failure> {
        let len = self.len_of(state.connection, state.completed);
        let missing_len = len - state.received_len;
        let used = bytes.len().min(missing_len);
        match self.run_id {
            None if bytes[..used] != self.message[state.received_len..][..used] => {
                return Err(Failure::of(Stage::Recv, Class::Mismatch));
            }
            None => {}
            Some(run_id) => verify(run_id, len, state, &bytes[..used])?,
        }
        if used < missing_len {
            state.received_len += used;
            return Ok(Decoded::Partial);
        }
        state.received_len = 0;
        state.completed += 1;
        Ok(Decoded::Complete { used })
    }
}

/// Compares `bytes`, the next ones of the reply to message `state.completed`, which has length
/// `len`.
fn verify(run_id: u64, len: usize, state: &mut EchoState, bytes: &[u8]) -> Result<(), Failure> {
    let name = Name { seq: state.completed, connection: state.connection, run_id };
    let name_len = NAME_LEN.min(len);
    let from = state.received_len;
    for (position, byte) in (from..name_len).zip(bytes) {
        state.name[position] = *byte;
    }
    let until = from + bytes.len();
    if from < name_len && until >= name_len {
        let found = Name::from_bytes(&state.name[..name_len], name);
        if let Some(class) = state.what_it_is(found, name) {
            return Err(Failure::of(Stage::Recv, class));
        }
    }
    let first = from.max(name_len);
    let rest = bytes.get(first - from..).unwrap_or_default();
    match (first..).zip(rest).all(|(position, byte)| *byte == name.byte(position)) {
        true => Ok(()),
        false => Err(Failure::of(Stage::Recv, Class::Mismatch)),
    }
}

impl EchoState {
    pub(super) fn new(connection: u64) -> EchoState {
        EchoState { connection, sent: 0, completed: 0, received_len: 0, name: [0; NAME_LEN] }
    }

    /// Whether a message has no reply yet.
    pub(super) fn is_awaited(&self) -> bool {
        self.completed < self.sent
    }

    pub(super) fn ended(&self) -> Failure {
        Failure::of(Stage::Recv, if self.received_len == 0 { Class::Eof } else { Class::Short })
    }

    /// The class of a reply with the name `found` in place of `wanted`. `None` if they are equal.
    fn what_it_is(&self, found: Name, wanted: Name) -> Option<Class> {
        match found {
            found if found == wanted => None,
            Name { run_id, .. } if run_id != wanted.run_id => Some(Class::Mismatch),
            Name { connection, .. } if connection != wanted.connection => Some(Class::CrossTalk),
            Name { seq, .. } if seq < self.sent => Some(Class::Order),
            _ => Some(Class::Mismatch), // this message was not sent yet
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: Result<Decoded, Class> = Ok(Decoded::Complete { used: 6 });

    fn sized(size: usize, run_id: u64) -> Echo {
        let size = size as u32;
        Echo::new(&Payload::Pattern { min: size, max: size }, Some(run_id), 1)
    }

    fn decode(pieces: &[&[u8]]) -> (EchoState, Result<Decoded, Class>) {
        let echo = Echo::new(&Payload::Given((*b"abcdef").into()), None, 1);
        let mut state = EchoState::new(0);
        let mut last = Ok(Decoded::Partial);
        for piece in pieces {
            last = echo.decode(&mut state, piece).map_err(|failure| failure.class);
        }
        (state, last)
    }

    /// Goal: a reply is complete when every byte has arrived, however it was cut, and the next
    /// reply begins where it ends.
    ///
    /// Method: whole, in pieces, one byte missing, one and a half replies.
    ///
    /// Kills: completing at the first piece; comparing a piece with the start of the message;
    /// eating the next reply's bytes.
    #[test]
    fn a_reply_is_complete_when_all_bytes_are_back() {
        assert_eq!(decode(&[b"abcdef"]).1, COMPLETE);
        assert_eq!(decode(&[b"ab", b"cd", b"ef"]).1, Ok(Decoded::Complete { used: 2 }));
        assert_eq!(decode(&[b"abcde"]).1, Ok(Decoded::Partial));
        assert_eq!(decode(&[b"abcdefabc"]).1, COMPLETE);
        assert_eq!(decode(&[b"abcdef", b"abcdef"]).1, COMPLETE);
    }

    /// Goal: the ways in which a reply can be wrong are distinguished.
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

    /// Goal: with `--verify` a wrong reply is recognised: the reply to another message, to a
    /// message of another connection, or a broken one.
    ///
    /// Method: two connections of a run and one of another run, two messages each, of several
    /// sizes. The replies are whole, byte by byte, exchanged, and with each byte in turn changed.
    ///
    /// Kills: a comparison with what was sent last; a name that is compared before it is complete;
    /// a byte that is not compared; cross-talk that is reported as disorder.
    #[test]
    fn verified_replies_are_recognised_as_those_of_other_messages() {
        for size in [24, 25, 64, 1_000] {
            let (echo, elsewhere) = (sized(size, 77), sized(size, 78));
            let open = |echo: &Echo, connection| {
                let mut state = EchoState::new(connection);
                let messages = [echo.encode(&mut state), echo.encode(&mut state)];
                (state, messages)
            };
            let first_reply = |reply: &[u8], piece_len: usize| {
                let (mut state, _) = open(&echo, 3);
                let mut pieces = reply.chunks(piece_len);
                let outcome = pieces.find_map(|piece| match echo.decode(&mut state, piece) {
                    Ok(Decoded::Partial) => None,
                    Ok(Decoded::Complete { used }) => Some(Ok(used)),
                    Ok(Decoded::Unexpected { failure, .. }) | Err(failure) => {
                        Some(Err(failure.class))
                    }
                });
                outcome.expect("a whole message")
            };
            let (_, [own, next]) = open(&echo, 3);
            let (_, [other, _]) = open(&echo, 4);
            let (_, [foreign, _]) = open(&elsewhere, 3);
            assert_eq!(first_reply(&own, size), Ok(size));
            assert_eq!(first_reply(&own, 1), Ok(1));
            for piece_len in [1, 7, size] {
                assert_eq!(first_reply(&next, piece_len), Err(Class::Order), "{size}");
                assert_eq!(first_reply(&other, piece_len), Err(Class::CrossTalk), "{size}");
                assert_eq!(first_reply(&foreign, piece_len), Err(Class::Mismatch), "{size}");
            }
            for position in 0..size {
                let mut broken = own.to_vec();
                broken[position] ^= 0x80;
                assert!(first_reply(&broken, size).is_err(), "{position} of {size}");
            }
        }
    }

    /// Goal: messages that are shorter than a name are verified as far as they go.
    ///
    /// Method: replies exchanged within and between connections, of lengths below that of a name.
    ///
    /// Kills: an index beyond the message; a check that needs the whole name.
    #[test]
    fn short_messages_are_verified() {
        for (size, other_is_found) in [(1, false), (8, false), (9, true), (16, true)] {
            let echo = sized(size, 1);
            let (mut state, mut other) = (EchoState::new(1), EchoState::new(2));
            let (first, second) = (echo.encode(&mut state), echo.encode(&mut state));
            let others = echo.encode(&mut other);
            let class = |reply: &[u8]| {
                let mut state = EchoState { sent: 2, ..EchoState::new(1) };
                echo.decode(&mut state, reply).err().map(|failure| failure.class)
            };
            assert_eq!(class(&first), None);
            assert_eq!(class(&second), Some(Class::Order));
            assert_eq!(class(&others), other_is_found.then_some(Class::CrossTalk), "{size}");
        }
    }

    /// Goal: lengths are drawn for each message, evenly between the bounds and the same with the
    /// same seed, and the decoder of the replies knows them.
    ///
    /// Method: 3 000 messages of three connections, echoed in pieces of several sizes, verified and
    /// not; another seed; a reply without its last byte.
    ///
    /// Kills: one length for all, or for all connections; a bound that is never drawn; a decoder
    /// that waits for the longest message; lengths that do not depend on the seed.
    #[test]
    fn lengths_are_drawn_evenly_and_repeat_with_the_seed() {
        let payload = Payload::Pattern { min: 5, max: 24 };
        for run_id in [None, Some(7)] {
            let lengths = |seed: u64, connection: u64| -> Vec<usize> {
                let echo = Echo::new(&payload, run_id, seed);
                let mut state = EchoState::new(connection);
                (0..3_000).map(|_| echo.encode(&mut state).len()).collect()
            };
            let first = lengths(1, 1);
            assert_eq!(first, lengths(1, 1));
            assert_ne!(first, lengths(2, 1));
            assert_ne!(first, lengths(1, 2));
            for len in 5..=24 {
                let count = first.iter().filter(|drawn| **drawn == len).count();
                assert!((100..200).contains(&count), "{len} was drawn {count} times of 3 000");
            }
            assert!(first.iter().all(|len| (5..=24).contains(len)));

            for piece_len in [1, 7, 1_000] {
                let echo = Echo::new(&payload, run_id, 1);
                let mut state = EchoState::new(3);
                let stream: Vec<u8> =
                    (0..300).flat_map(|_| echo.encode(&mut state).to_vec()).collect();
                let mut replies = 0;
                for mut piece in stream[..stream.len() - 1].chunks(piece_len) {
                    while !piece.is_empty() {
                        match echo.decode(&mut state, piece).unwrap() {
                            Decoded::Complete { used } => {
                                replies += 1;
                                piece = &piece[used..];
                            }
                            step => {
                                piece = {
                                    assert_eq!(step, Decoded::Partial);
                                    &[]
                                }
                            }
                        }
                    }
                }
                assert_eq!((replies, state.ended().class), (299, Class::Short));
            }
        }
    }
}
