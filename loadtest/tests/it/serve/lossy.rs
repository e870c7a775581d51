//! `serve lossy`: each fault is seen by a plain client, and counted as what it is.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::{DRIVERS, Target};

const SIZE: usize = 64; // the program's default message

/// Message `number` of somebody: no two are alike.
fn message(whose: u8, number: u8) -> [u8; SIZE] {
    let mut message = [number; SIZE];
    message[0] = whose;
    message
}

#[track_caller]
fn assert_reads(stream: &mut TcpStream, wanted: &[u8]) {
    let mut reply = vec![0; wanted.len()];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply == wanted, "{reply:?} instead of {wanted:?}");
}

/// Sends messages 1 and 2 and gets them back: these are not the ones that are struck.
fn two_good_ones(stream: &mut TcpStream) {
    for number in [1, 2] {
        stream.write_all(&message(b'a', number)).unwrap();
        assert_reads(stream, &message(b'a', number));
    }
}

/// Runs `client` against a server that has one fault at every third message, on both drivers.
/// Checks that this fault was counted once and no other at all.
fn with_fault(fault: &str, client: impl Fn(&Target, TcpStream)) {
    for driver in DRIVERS {
        let rule = format!("{fault}:3");
        let target = Target::start(&["lossy", "--fault", &rule, "--driver", driver]);
        let mut stream = target.connect();
        two_good_ones(&mut stream);
        client(&target, stream);
        let counters = target.stop();
        assert_eq!(counters["faults"], json!({ fault: 1 }), "{driver}");
    }
}

/// Goal: `drop` gives no reply to one message, and only to that.
///
/// Method: messages 3 and 4 at once; the next bytes are the reply to 4.
///
/// Kills: dropping the connection; dropping a neighbour.
#[test]
fn a_dropped_reply() {
    with_fault("drop", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        assert_reads(&mut stream, &message(b'a', 4));
    });
}

/// Goal: `reset` is a reset, and what was answered before it arrives.
///
/// Method: message 3, then a read.
///
/// Kills: an orderly end.
#[test]
fn a_reset() {
    with_fault("reset", |_, mut stream| {
        stream.write_all(&message(b'a', 3)).unwrap();
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Goal: `half-close` ends the server's side only, without a byte of the reply.
///
/// Method: messages 3 and 4, which is unread when the fault strikes; the end of the stream, not a
/// reset, is read; 100 messages more are taken.
///
/// Kills: closing the connection, which resets it because bytes are unread.
#[test]
fn a_half_close() {
    with_fault("half-close", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        assert_eq!(stream.read(&mut [0; SIZE]).unwrap(), 0);
        for number in 0..100 {
            stream.write_all(&message(b'b', number)).unwrap();
        }
    });
}

/// Goal: `short` is half of the reply and then an orderly end.
///
/// Method: messages 3 and 4, then everything up to the end.
///
/// Kills: a reset that swallows the half; a whole reply.
#[test]
fn a_short_reply() {
    with_fault("short", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert!(reply == message(b'a', 3)[..SIZE / 2], "{reply:?}");
    });
}

/// Goal: `corrupt` changes the last byte, in one reply.
///
/// Method: messages 3 and 4.
///
/// Kills: a byte of the next message changed; a reply of another length.
#[test]
fn a_corrupt_reply() {
    with_fault("corrupt", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        let mut spoilt = message(b'a', 3);
        spoilt[SIZE - 1] ^= 1;
        assert_reads(&mut stream, &spoilt);
        assert_reads(&mut stream, &message(b'a', 4));
    });
}

/// Goal: `extra` is one byte after the whole reply.
///
/// Method: messages 3 and 4.
///
/// Kills: a byte too many everywhere; a byte in place of the reply's last.
#[test]
fn an_extra_byte() {
    with_fault("extra", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        assert_reads(&mut stream, &message(b'a', 3));
        assert_reads(&mut stream, b"!");
        assert_reads(&mut stream, &message(b'a', 4));
    });
}

/// Goal: `reorder` swaps a reply with the next one.
///
/// Method: messages 3 to 5 at once.
///
/// Kills: losing the reply that was held back; holding back every reply from then on.
#[test]
fn two_replies_swapped() {
    with_fault("reorder", |_, mut stream| {
        stream.write_all(&[3, 4, 5].map(|number| message(b'a', number)).concat()).unwrap();
        for number in [4, 3, 5] {
            assert_reads(&mut stream, &message(b'a', number));
        }
    });
}

/// Goal: `cross-talk` gives another connection's last message, and no such fault is counted while
/// there is no other.
///
/// Method: message 3 alone, which comes back as it was; another connection speaks; message 6.
///
/// Kills: leaking a message of one's own; counting a fault that did not happen.
#[test]
fn another_connections_bytes() {
    with_fault("cross-talk", |target, mut stream| {
        stream.write_all(&message(b'a', 3)).unwrap();
        assert_reads(&mut stream, &message(b'a', 3));
        let mut other = target.connect();
        other.write_all(&message(b'x', 1)).unwrap();
        assert_reads(&mut other, &message(b'x', 1));
        for number in [4, 5] {
            stream.write_all(&message(b'a', number)).unwrap();
            assert_reads(&mut stream, &message(b'a', number));
        }
        stream.write_all(&message(b'a', 6)).unwrap();
        assert_reads(&mut stream, &message(b'x', 1));
    });
}

/// Goal: several rules and a seed: each connection has the number of faults that the rules say, at
/// places that are its own, the same in each run.
///
/// Method: four connections of 100 messages each, in step, to one thread, twice; which replies came
/// back whole is compared.
///
/// Kills: a schedule shared by the connections; one that depends on time or chance.
#[test]
fn a_seed_is_a_schedule() {
    let struck = || {
        let rules = "corrupt:10,extra:25";
        let target = Target::start(&["lossy", "--fault", rules, "--seed", "3"]);
        let mut places = Vec::new();
        for connection in 0..4 {
            let mut stream = target.connect();
            let mut bytes = Vec::new();
            for number in 0..100 {
                stream.write_all(&message(connection, number)).unwrap();
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read_to_end(&mut bytes).unwrap();
            places.push(bytes);
        }
        (places, target.stop())
    };
    let (places, counters) = struck();
    let count = |fault: &str| counters["faults"][fault].as_u64().unwrap();
    assert_eq!(counters["messages"], 400);
    // Where both rules meet, the first one named wins.
    assert_eq!(count("corrupt"), 4 * 10);
    assert!((1..=4 * 4).contains(&count("extra")), "{counters}");
    assert_eq!(counters["bytes_out"], 400 * SIZE as u64 + count("extra"));
    assert_eq!(struck(), (places, counters));
}
