use super::*;

/// A message or a control frame from the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Whole(Opcode, Vec<u8>),
    Broken(Violation),
}
use Seen::{Broken, Whole};

const LEN_MAX: u64 = 70_000;

/// A frame with the first byte `first`, made without the code under test.
fn frame(first: u8, payload: &[u8], mask: Option<Mask>) -> Vec<u8> {
    let (head, len) = head(Opcode::Binary, payload.len(), mask);
    let mut frame = head[..len].to_vec();
    frame[0] = first;
    frame.extend_from_slice(payload);
    apply(mask.unwrap_or_default(), &mut frame[len..]);
    frame
}

fn read<'a>(sender: Sender, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, bool) {
    let mut reader = FrameReader::of(sender);
    let mut seen = Vec::new();
    // Control frames may come between the fragments of a message.
    let (mut message, mut control) = (None, None);
    for mut piece in pieces {
        while !piece.is_empty() {
            let (used, part) = match reader.advance(piece, LEN_MAX) {
                Ok(advanced) => advanced,
                Err(violation) => {
                    seen.push(Broken(violation));
                    return (seen, reader.is_between());
                }
            };
            assert!(used > 0 && used <= piece.len());
            piece = &piece[used..];
            let Some(part) = part else { continue };
            let place = if part.opcode.is_control() { &mut control } else { &mut message };
            assert_eq!(part.is_first, place.is_none(), "{part:?}");
            let (opcode, payload) = place.get_or_insert((part.opcode, Vec::new()));
            assert_eq!(*opcode, part.opcode);
            let begin = payload.len();
            payload.extend_from_slice(part.payload);
            apply(part.mask, &mut payload[begin..]);
            if part.is_last {
                let (opcode, payload) = place.take().unwrap();
                seen.push(Whole(opcode, payload));
            }
        }
    }
    (seen, reader.is_between())
}

fn coded(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Goal: the result does not depend on how the bytes were cut.
///
/// Method: messages of every form of length, in fragments, some of them empty, with control frames
/// between, masked and not; cut in two at every position of heads and around them, and in pieces of
/// several sizes.
///
/// Kills: a mask that begins again with a piece; a head that must be in one piece; a payload's
/// first byte taken for a part of the head; an empty last frame that does not end the message; the
/// opcode of a continuation.
#[test]
fn cuts_change_nothing() {
    for sender in [Sender::Client, Sender::Server] {
        let mask = (sender == Sender::Client).then_some([0x12, 0x00, 0xff, 0x7e]);
        let mut all = Vec::new();
        let mut wanted = Vec::new();
        for (first, len) in [
            (0x81, 0),
            (0x82, 1),
            (0x82, 125),
            (0x89, 125),
            (0x82, 126),
            (0x82, 65_535),
            (0x82, 65_536),
            (0x8a, 0),
            (0x88, 2),
        ] {
            all.extend(frame(first, &coded(len), mask));
            wanted.push(Whole(Opcode::new(first & 15).unwrap(), coded(len)));
        }
        for (first, payload) in [
            (0x01, &b"ab"[..]),
            (0x00, b""),
            (0x89, b"ping"),
            (0x00, b"cdefg"),
            (0x80, b""),
            (0x02, b""),
            (0x80, b"x"),
        ] {
            all.extend(frame(first, payload, mask));
        }
        wanted.push(Whole(Opcode::Ping, b"ping".to_vec()));
        wanted.push(Whole(Opcode::Text, b"abcdefg".to_vec()));
        wanted.push(Whole(Opcode::Binary, b"x".to_vec()));
        assert_eq!(read(sender, [&all[..]]), (wanted.clone(), true));
        for piece in [1, 2, 3, 5, 13, 14, 15, 4_096] {
            assert!(read(sender, all.chunks(piece)) == (wanted.clone(), true), "{piece}");
        }
        // The long payloads lie between; within them one cut is as the other.
        for cut in (0..700).chain(all.len() - 100..all.len()) {
            let (first, second) = all.split_at(cut);
            assert!(read(sender, [first, second]) == (wanted.clone(), true), "cut at {cut}");
        }
    }
}

/// Goal: frames that violate the protocol are refused, however they were cut. A frame before them
/// counts.
///
/// Method: a table of bad frames after a good one, whole and byte by byte. The good counterpart of
/// each passes.
///
/// Kills: any missing check of a head.
#[test]
fn frames_that_violate_the_protocol_are_refused() {
    use Violation::{Protocol, TooLong};
    let none = None::<Mask>;
    let mask = Some([1, 2, 3, 4]);
    let with_len = |len: &[u8]| [&[0x82][..], len].concat();
    let fragmented = |rest: Vec<u8>| [frame(0x02, b"a", none), rest].concat();
    let good = frame(0x82, b"good", none);
    for (name, bytes, violation) in [
        ("reserved bit 1", frame(0xc2, b"x", none), Protocol),
        ("reserved bit 2", frame(0xa2, b"x", none), Protocol),
        ("reserved bit 3", frame(0x92, b"x", none), Protocol),
        ("reserved bit of a control frame", frame(0xc9, b"x", none), Protocol),
        ("opcode 3", frame(0x83, b"x", none), Protocol),
        ("opcode 11", frame(0x8b, b"x", none), Protocol),
        ("masked by a server", frame(0x82, b"x", mask), Protocol),
        ("masked by a server, empty", frame(0x82, b"", mask), Protocol),
        ("long ping", frame(0x89, &coded(126), none), Protocol),
        ("long close", frame(0x88, &coded(70_000), none), Protocol),
        ("fragmented ping", frame(0x09, b"x", none), Protocol),
        ("continuation of nothing", frame(0x80, b"x", none), Protocol),
        ("continuation of nothing, not the last", frame(0x00, b"", none), Protocol),
        ("message within a message", fragmented(frame(0x82, b"x", none)), Protocol),
        ("first fragment within a message", fragmented(frame(0x01, b"x", none)), Protocol),
        ("126 for 125", with_len(&[126, 0, 125]), Protocol),
        ("127 for 65 535", with_len(&[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Protocol),
        ("length of 2^63", with_len(&[127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Protocol),
        ("length of 2^63 - 1", with_len(&[127, 0x7f, 255, 255, 255, 255, 255, 255, 255]), TooLong),
        ("too long", frame(0x82, &coded(LEN_MAX as usize + 1), none), TooLong),
        ("too long together", fragmented(frame(0x80, &coded(LEN_MAX as usize), none)), TooLong),
    ] {
        let all = [&good[..], &bytes].concat();
        let wanted = [Whole(Opcode::Binary, b"good".to_vec()), Broken(violation)];
        assert_eq!(read(Sender::Server, [&all[..]]).0, wanted, "{name}");
        assert_eq!(read(Sender::Server, all.chunks(1)).0, wanted, "{name}, byte by byte");
    }
    let longest = frame(0x82, &coded(LEN_MAX as usize), none);
    let next = [longest, fragmented(frame(0x80, &coded(LEN_MAX as usize - 1), none))].concat();
    assert!(!read(Sender::Server, [&next[..]]).0.contains(&Broken(TooLong)));
    let unmasked = read(Sender::Client, [&frame(0x82, b"x", none)[..]]).0;
    assert_eq!(unmasked, [Broken(Protocol)]);
}

/// Goal: an end of the stream between two messages is distinguished from one within a message.
///
/// Method: a fragmented message with a ping inside, cut off at every position.
///
/// Kills: an end between two fragments, or within a head, that passes for an orderly one.
#[test]
fn an_end_within_a_message_is_not_orderly() {
    let frames = [frame(0x02, b"ab", None), frame(0x89, b"p", None), frame(0x80, b"", None)];
    let all = frames.concat();
    for end in 0..=all.len() {
        let is_between = read(Sender::Server, [&all[..end]]).1;
        assert_eq!(is_between, end == 0 || end == all.len(), "{end}");
    }
}

/// Goal: heads are the bytes of RFC 6455, and a mask is applied from its first byte on.
///
/// Method: the RFC's own examples (5.7), and lengths around each form; masks over every length up
/// to 67 against the definition.
///
/// Kills: a length in the wrong byte order; a form off by one; a mask that ignores the position.
#[test]
fn heads_and_masks_are_those_of_the_rfc() {
    let of = |opcode, len, mask| {
        let (head, head_len) = head(opcode, len, mask);
        head[..head_len].to_vec()
    };
    assert_eq!(of(Opcode::Text, 5, None), [0x81, 0x05]);
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    assert_eq!(of(Opcode::Text, 5, Some(mask)), [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]);
    let mut hello = *b"Hello";
    apply(mask, &mut hello);
    assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(of(Opcode::Binary, 256, None), [0x82, 0x7e, 0x01, 0x00]);
    assert_eq!(of(Opcode::Binary, 65_536, None), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(of(Opcode::Ping, 125, None), [0x89, 125]);
    assert_eq!(of(Opcode::Binary, 126, None), [0x82, 126, 0, 126]);
    assert_eq!(of(Opcode::Binary, 65_535, None), [0x82, 126, 255, 255]);
    for len in 0..68 {
        let mut masked = coded(len);
        apply(mask, &mut masked);
        let wanted: Vec<u8> =
            coded(len).iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        assert_eq!(masked, wanted, "{len}");
    }
}

/// Goal: the accept of a key is that of RFC 6455, and lists are read as lists.
///
/// Method: the RFC's example (1.3); names alone, in lists, in other cases, and as parts of others.
///
/// Kills: another hash, or the key without its suffix; a name found inside another.
#[test]
fn accepts_and_lists_are_those_of_the_rfc() {
    assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for field in ["upgrade", "keep-alive, Upgrade", " UPGRADE ,x"] {
        assert!(lists(field.as_bytes(), "upgrade"), "{field}");
    }
    for field in ["", "upgrades", "x-upgrade", "keep-alive upgrade"] {
        assert!(!lists(field.as_bytes(), "upgrade"), "{field}");
    }
}
