use super::*;
use crate::base::random;
use crate::protocol::payload::Payload;
use crate::protocol::ws::frames::{accept_of, apply, head};

const SIZE: u32 = 6;

fn ws(run_id: Option<u64>, fields: &[&str], is_text: bool) -> Ws {
    let size = if run_id.is_some() { 40 } else { SIZE };
    ws_of(&Payload::Pattern { min: size, max: size }, run_id, fields, is_text)
}

fn ws_of(payload: &Payload, run_id: Option<u64>, fields: &[&str], is_text: bool) -> Ws {
    let fields = fields.iter().map(|field| field.parse().unwrap()).collect();
    let upgrade = Upgrade::new("/a?b", "host:81", fields, is_text).unwrap();
    Ws::new(Echo::new(payload, run_id, 1), Arc::new(upgrade), random::generator(1, 0))
}

/// A server's frame with the first byte `first`.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let (mut head, len) = head(Opcode::Binary, payload.len(), None);
    head[0] = first;
    [&head[..len], payload].concat()
}

/// The first byte and the payload of a client's frame.
fn unmasked(bytes: &[u8]) -> (u8, Vec<u8>) {
    let (used, part) = FrameReader::of(Sender::Client).advance(bytes, 1 << 20).unwrap();
    let part = part.expect("a whole frame");
    assert_eq!(used, bytes.len());
    let mut payload = part.payload.to_vec();
    apply(part.mask, &mut payload);
    (bytes[0], payload)
}

/// An open connection that has sent `messages` messages, and their payloads.
fn talking(ws: &Ws, messages: usize) -> (WsState, Vec<Vec<u8>>) {
    let mut state = WsState::new(5);
    let sent = (0..messages).map(|_| unmasked(&ws.encode(&mut state)).1).collect();
    (state, sent)
}

/// The end of each reply, and the class of the failure at the end.
fn feed<'a>(
    ws: &Ws,
    state: &mut WsState,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<usize>, Option<Class>) {
    let (mut ends, mut at) = (Vec::new(), 0);
    for mut piece in pieces {
        while !piece.is_empty() {
            let used = match ws.decode(state, piece) {
                Ok(Decoded::Partial) => piece.len(),
                Ok(Decoded::Complete { used }) => {
                    ends.push(at + used);
                    used
                }
                Ok(step) => panic!("{step:?}"),
                Err(failure) => return (ends, Some(failure.class)),
            };
            at += used;
            piece = &piece[used..];
        }
    }
    (ends, None)
}

/// Goal: the result does not depend on how the bytes were cut: neither the replies nor their ends,
/// nor the answers to control frames.
///
/// Method: replies whole and in fragments, some of them empty, with pings, pongs and an end of the
/// connection; whole, cut in two at every position, and byte by byte. With equal messages and with
/// verified ones.
///
/// Kills: a reply that is complete before its last frame; a fragment compared with the beginning of
/// the message; a ping's bytes taken for the reply's; a ping without an answer.
#[test]
fn cuts_change_nothing() {
    for run_id in [None, Some(7)] {
        let ws = ws(run_id, &[], false);
        let (_, sent) = talking(&ws, 3);
        let mut all = frame(0x82, &sent[0]);
        let mut ends = vec![all.len()];
        all.extend(frame(0x89, b"first"));
        for (first, payload) in [
            (0x02, &sent[1][..1]),
            (0x00, b""),
            (0x89, b"p"),
            (0x00, &sent[1][1..]),
            (0x8a, b"?"),
            (0x80, b""),
        ] {
            all.extend(frame(first, payload));
        }
        ends.push(all.len());
        all.extend(frame(0x02, b""));
        all.extend(frame(0x80, &sent[2]));
        ends.push(all.len());
        all.extend(frame(0x89, b"last"));
        let owed = all.len();
        all.extend(frame(0x88, &[3, 233, b'!']));
        let check = |pieces: &[&[u8]]| {
            let (mut state, _) = talking(&ws, 3);
            let outcome = feed(&ws, &mut state, pieces.iter().copied());
            assert_eq!(outcome, (ends.clone(), Some(Class::Closed)), "{pieces:?}");
            let answer = state.take_owed().unwrap();
            assert_eq!(unmasked(&answer), (0x88, vec![3, 233]), "its code, not its reason");
        };
        check(&[&all]);
        check(&all.chunks(1).collect::<Vec<_>>());
        for cut in 0..all.len() {
            check(&[&all[..cut], &all[cut..]]);
        }
        let (mut state, _) = talking(&ws, 3);
        assert_eq!(feed(&ws, &mut state, all[..owed].chunks(3)), (ends, None));
        let answer = state.take_owed().unwrap();
        assert_eq!(unmasked(&answer), (0x8a, b"last".to_vec()), "the last one answers for all");
        assert!(state.take_owed().is_none());
        assert_eq!(state.ended().class, Class::Eof);
    }
}

/// Goal: a wrong reply ends the connection, with the class of the failure.
///
/// Method: a table, each entry after a good reply, whole and byte by byte.
///
/// Kills: a short or a long message that passes; one without a request; text for binary; an end of
/// the stream within a message that passes for an orderly one.
#[test]
fn wrong_replies_end_the_connection_with_a_class() {
    let ws = ws(None, &[], false);
    let (_, sent) = talking(&ws, 1);
    let message = &sent[0][..];
    let longer = [message, b"x"].concat();
    let long = [0; 126];
    let good = frame(0x82, message);
    for (name, frames, class) in [
        ("other bytes", vec![(0x82, &b"xxxxxx"[..])], Class::Mismatch),
        ("another byte in a fragment", vec![(0x02, &message[..5]), (0x80, b"x")], Class::Mismatch),
        ("short", vec![(0x82, &message[..5])], Class::Mismatch),
        ("empty", vec![(0x82, b"")], Class::Mismatch),
        ("short in fragments", vec![(0x02, &message[..5]), (0x80, b"")], Class::Mismatch),
        ("long", vec![(0x82, &longer)], Class::Mismatch),
        ("long in fragments", vec![(0x02, message), (0x80, b"x")], Class::Mismatch),
        ("long by its own begin", vec![(0x02, message), (0x80, &message[..1])], Class::Mismatch),
        ("text", vec![(0x81, message)], Class::Mismatch),
        ("unasked", vec![(0x82, message), (0x82, message)], Class::Mismatch),
        ("unasked and empty", vec![(0x82, message), (0x02, b"")], Class::Mismatch),
        ("reserved bit", vec![(0xc2, message)], Class::Mismatch),
        ("long ping", vec![(0x89, &long)], Class::Mismatch),
        ("fragmented ping", vec![(0x09, b"x")], Class::Mismatch),
        ("continuation of nothing", vec![(0x80, message)], Class::Mismatch),
        ("close with half a code", vec![(0x88, b"x")], Class::Mismatch),
        ("close", vec![(0x88, b"")], Class::Closed),
        ("close in a message", vec![(0x02, b""), (0x88, b"\x03\xe8")], Class::Closed),
    ] {
        let bad: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        let all = [&good[..], &bad].concat();
        for piece in [1, all.len()] {
            let (mut state, _) = talking(&ws, 2);
            let (ends, found) = feed(&ws, &mut state, all.chunks(piece));
            assert_eq!(found, Some(class), "{name}, in pieces of {piece}");
            let is_unasked = name.starts_with("unasked");
            assert_eq!(ends.len(), if is_unasked { 2 } else { 1 }, "{name}");
        }
    }
    let mut masked = frame(0x82, message);
    masked[1] |= 0x80;
    let (mut state, _) = talking(&ws, 1);
    assert_eq!(feed(&ws, &mut state, [&masked[..]]).1, Some(Class::Mismatch));
    for end in 0..good.len() {
        let (mut state, _) = talking(&ws, 1);
        assert_eq!(feed(&ws, &mut state, [&good[..end]]), (vec![], None));
        let class = if end == 0 { Class::Eof } else { Class::Short };
        assert_eq!(state.ended().class, class, "{end}");
    }
    // A message that is not the longest may go on without being too long.
    let drawn = ws_of(&Payload::Pattern { min: 1, max: 50 }, None, &[], false);
    let (mut state, sent) = talking(&drawn, 2);
    assert!(sent[0].len() < 50);
    let longer = [frame(0x02, &sent[0]), frame(0x80, &sent[1][..1])].concat();
    assert_eq!(feed(&drawn, &mut state, [&longer[..]]), (vec![], Some(Class::Mismatch)));
    let verified = self::ws(Some(7), &[], false);
    let (mut state, sent) = talking(&verified, 2);
    assert_eq!(feed(&verified, &mut state, [&frame(0x82, &sent[1])[..]]).1, Some(Class::Order));
    assert!(size_of::<WsState>() <= 168, "{} bytes for each connection", size_of::<WsState>());
}

/// Goal: sent frames are masked, each with another mask, and repeat with the seed.
///
/// Method: messages of two connections of a worker, read by the reader of the server side.
///
/// Kills: one mask for all; masks that do not depend on the seed; a message that is not masked;
/// text as binary.
#[test]
fn each_frame_has_a_mask_from_the_seed() {
    let (first, again) = (ws(None, &[], true), ws(None, &[], true));
    let frames = |ws: &Ws| {
        let (mut state, mut other) = (WsState::new(1), WsState::new(2));
        [ws.encode(&mut state), ws.encode(&mut state), ws.encode(&mut other)]
    };
    let sent = frames(&first);
    assert_eq!(sent, frames(&again));
    for (index, frame) in sent.iter().enumerate() {
        assert_eq!(unmasked(frame), (0x81, b"!\"#$%&".to_vec()));
        assert_ne!(&frame[6..], b"!\"#$%&");
        assert!(sent[..index].iter().all(|other| other[2..6] != frame[2..6]), "{sent:?}");
    }
    let (mut state, _) = talking(&first, 0);
    assert_eq!(unmasked(&first.close_message(&mut state)), (0x88, vec![3, 232]));
}

/// Opens a connection with this answer, in which `{}` is replaced by the right accept, and `rest`.
fn opened(ws: &Ws, answer: &str, rest: &[u8], piece: usize) -> (WsState, Result<bool, Failure>) {
    let mut state = WsState::new(1);
    let request = String::from_utf8(ws.open(&mut state).to_vec()).unwrap();
    let key = request.split_once("Sec-WebSocket-Key: ").unwrap().1.lines().next().unwrap();
    let mut answer = answer.replace("{}", &accept_of(key.as_bytes())).into_bytes();
    answer.extend_from_slice(rest);
    let mut last = Ok(false);
    for piece in answer.chunks(piece) {
        assert_eq!(last, Ok(false), "it is open before the answer has ended");
        last = ws.is_open(&mut state, piece);
        if last.is_err() {
            break;
        }
    }
    (state, last)
}

/// Goal: the opening has exactly the expected bytes, with another key on every connection.
///
/// Method: without fields, and with fields.
///
/// Kills: one key for all; two hosts; a field that is lost, or that contradicts the opening.
#[test]
fn openings_have_exactly_these_bytes() {
    let ask = |ws: &Ws| String::from_utf8(ws.open(&mut WsState::new(1)).to_vec()).unwrap();
    let bare = ws(None, &[], false);
    let (first, second) = (ask(&bare), ask(&bare));
    let (head, rest) = first.split_once("Sec-WebSocket-Key: ").unwrap();
    assert_eq!(
        head,
        "GET /a?b HTTP/1.1\r\nHost: host:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\n"
    );
    assert!(rest.len() == 28 && rest.ends_with("==\r\n\r\n"), "{rest:?}");
    assert_ne!(first, second);
    let with_fields = ask(&ws(None, &["hOST: x", "Origin: y"], false));
    assert!(with_fields.contains("hOST: x\r\nOrigin: y\r\n"), "{with_fields}");
    assert!(!with_fields.contains("host:81"), "{with_fields}");
    for name in ["UPGRADE", "Connection", "Sec-WebSocket-Key", "Content-Length"] {
        let field = format!("{name}: x").parse().unwrap();
        assert!(Upgrade::new("/", "h", vec![field], false).is_err(), "{name}");
    }
}

/// Goal: a connection opens only if the peer agrees to the request. Other answers have a class.
///
/// Method: a table of answers, whole and byte by byte.
///
/// Kills: any missing check of the answer; an accept that is not compared; an extension that was
/// not offered; an interim answer that counts.
#[test]
fn only_a_full_agreement_opens_a_connection() {
    const GOOD: &str = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let ok = &[GOOD, "Sec-WebSocket-Accept: {}\r\n\r\n"].concat();
    let with = |more: &str| [GOOD, more, "\r\n"].concat();
    let without = |line: &str| ok.replace(line, "");
    let accept = "Sec-WebSocket-Accept: {}\r\n";
    let mismatch = Err(Class::Mismatch);
    let ws = ws(None, &["Sec-WebSocket-Protocol: chat, echo"], false);
    for (answer, wanted) in [
        (ok.clone(), Ok(true)),
        (ok.to_lowercase().replace("http/", "HTTP/"), Ok(true)),
        (ok.replace("Upgrade\r", "keep-alive, upgrade\r"), Ok(true)),
        (format!("HTTP/1.1 103 x\r\nLink: y\r\n\r\n{ok}"), Ok(true)),
        (with(&[accept, "Sec-WebSocket-Protocol: echo\r\n"].concat()), Ok(true)),
        (with(&[accept, "Sec-WebSocket-Protocol: other\r\n"].concat()), mismatch),
        (with(&[accept, "Sec-WebSocket-Extensions: permessage-deflate\r\n"].concat()), mismatch),
        (without(accept), mismatch),
        (with(&[accept, accept].concat()), mismatch),
        (with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), mismatch),
        (with("Sec-WebSocket-Accept: \r\n"), mismatch),
        (without("Upgrade: websocket\r\n"), mismatch),
        (without("Connection: Upgrade\r\n"), mismatch),
        (ok.replace("websocket", "websockets"), mismatch),
        ("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n".to_owned(), Err(Class::Status)),
        ("HTTP/1.1 200 x\r\n\r\n".to_owned(), Err(Class::Status)),
        ("GET /a?b HTTP/1.1\r\n\r\n".to_owned(), Err(Class::Malformed)),
        (format!("HTTP/1.1 101 x\r\nX: {}", "x".repeat(16 << 10)), Err(Class::Malformed)),
    ] {
        for piece in [1, answer.len() + 99] {
            let found = opened(&ws, &answer, b"", piece).1;
            let class = found.map_err(|failure| {
                assert_eq!(failure.stage, Stage::Handshake);
                assert_eq!(failure.status.is_some(), failure.class == Class::Status);
                failure.class
            });
            assert_eq!(class, wanted, "{answer:?} in pieces of {piece}");
        }
    }
    assert_eq!(opened(&ws, &ok[..ok.len() - 1], b"", 1).1, Ok(false));
}

/// Goal: frames directly after the answer to the opening are not lost.
///
/// Method: a ping, a part of one, and a message without a request, in the same bytes.
///
/// Kills: bytes after the head that are dropped.
#[test]
fn frames_after_the_agreement_are_not_lost() {
    let ws = ws(None, &[], false);
    let ok = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: {}\r\n\r\n";
    for (rest, owed, is_between) in [
        (&[0x89, 1, b'p'][..], true, true),
        (&[0x89, 1], false, false),
        (&[0x8a, 0, 0x89], false, false),
    ] {
        let (mut state, outcome) = opened(&ws, ok, rest, 1 << 20);
        assert_eq!(outcome, Ok(true));
        assert_eq!(state.take_owed().is_some(), owed, "{rest:?}");
        let class = if is_between { Class::Eof } else { Class::Short };
        assert_eq!(state.ended().class, class, "{rest:?}");
    }
    for (rest, class) in [(&[0x82, 0][..], Class::Mismatch), (&[0x88, 0], Class::Closed)] {
        let outcome = opened(&ws, ok, rest, 1 << 20).1;
        assert_eq!(outcome, Err(Failure::of(Stage::Recv, class)), "{rest:?}");
    }
}
