//! `serve lossy`: each fault as a plain client sees it, and its counter.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::{DRIVERS, Target};

const SIZE: usize = 64; // the program's default message

/// Message `number` of the connection `owner`. No two are equal.
fn message(owner: u8, number: u8) -> [u8; SIZE] {
    let mut message = [number; SIZE];
    message[0] = owner;
    message
}

#[track_caller]
fn assert_reads(stream: &mut TcpStream, wanted: &[u8]) {
    let mut reply = vec![0; wanted.len()];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply == wanted, "{reply:?} instead of {wanted:?}");
}

/// Sends messages 1 and 2 and reads them back. The rules have no fault for these.
fn two_good_ones(stream: &mut TcpStream) {
    for number in [1, 2] {
        stream.write_all(&message(b'a', number)).unwrap();
        assert_reads(stream, &message(b'a', number));
    }
}

/// Runs `client` against a server with a fault at every third message, on both drivers. Checks that
/// this fault was counted once and no other.
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

/// Goal: `drop` omits the reply to one message only.
///
/// Method: messages 3 and 4 at once. The next bytes are the reply to 4.
///
/// Kills: dropping the connection; dropping the reply to another message.
#[test]
fn drop_omits_one_reply() {
    with_fault("drop", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        assert_reads(&mut stream, &message(b'a', 4));
    });
}

/// Goal: `reset` is a reset, and earlier replies arrive.
///
/// Method: message 3, then a read.
///
/// Kills: an orderly end.
#[test]
fn reset_resets_the_connection() {
    with_fault("reset", |_, mut stream| {
        stream.write_all(&message(b'a', 3)).unwrap();
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Goal: `half-close` ends the server's side only, without a byte of the reply.
///
/// Method: messages 3 and 4, the second of which is unread when the fault is injected. The client
/// reads the end of the stream and no reset, and can send 100 messages more.
///
/// Kills: closing the connection, which sends a reset because of the unread bytes.
#[test]
fn half_close_ends_one_direction() {
    with_fault("half-close", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        assert_eq!(stream.read(&mut [0; SIZE]).unwrap(), 0);
        for number in 0..100 {
            stream.write_all(&message(b'b', number)).unwrap();
        }
    });
}

/// Goal: `short` sends half of the reply and then an orderly end.
///
/// Method: messages 3 and 4, then everything up to the end.
///
/// Kills: a reset that discards the half; a whole reply.
#[test]
fn short_ends_in_the_reply() {
    with_fault("short", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert!(reply == message(b'a', 3)[..SIZE / 2], "{reply:?}");
    });
}

/// Goal: `corrupt` changes the last byte of one reply.
///
/// Method: messages 3 and 4.
///
/// Kills: a change in the next message; a reply of another length.
#[test]
fn corrupt_changes_the_last_byte() {
    with_fault("corrupt", |_, mut stream| {
        stream.write_all(&[message(b'a', 3), message(b'a', 4)].concat()).unwrap();
        let mut spoilt = message(b'a', 3);
        spoilt[SIZE - 1] ^= 1;
        assert_reads(&mut stream, &spoilt);
        assert_reads(&mut stream, &message(b'a', 4));
    });
}

/// Goal: `extra` sends one byte after a whole reply.
///
/// Method: messages 3 and 4.
///
/// Kills: an extra byte after every reply; a byte in place of the reply's last one.
#[test]
fn extra_adds_one_byte() {
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
/// Kills: losing the delayed reply; delaying every later reply.
#[test]
fn reorder_swaps_two_replies() {
    with_fault("reorder", |_, mut stream| {
        stream.write_all(&[3, 4, 5].map(|number| message(b'a', number)).concat()).unwrap();
        for number in [4, 3, 5] {
            assert_reads(&mut stream, &message(b'a', number));
        }
    });
}

/// Goal: `cross-talk` sends the last message of another connection, and is not counted while there
/// is none.
///
/// Method: message 3 alone, which comes back unchanged; another connection sends a message; message
/// 6.
///
/// Kills: sending a message of the same connection; counting a fault that was not injected.
#[test]
fn cross_talk_sends_another_connections_bytes() {
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

/// Goal: with several rules and a seed, each connection has the number of faults of the rules, at
/// its own positions, the same in each run.
///
/// Method: four connections of 100 messages each, one after the other, to one thread, twice. The
/// received bytes are compared.
///
/// Kills: a schedule that connections share; one that depends on time or chance.
#[test]
fn a_seed_determines_the_faults() {
    let run = || {
        let rules = "corrupt:10,extra:25";
        let target = Target::start(&["lossy", "--fault", rules, "--seed", "3"]);
        let mut replies = Vec::new();
        for connection in 0..4 {
            let mut stream = target.connect();
            let mut bytes = Vec::new();
            for number in 0..100 {
                stream.write_all(&message(connection, number)).unwrap();
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read_to_end(&mut bytes).unwrap();
            replies.push(bytes);
        }
        (replies, target.stop())
    };
    let (replies, counters) = run();
    let count = |fault: &str| counters["faults"][fault].as_u64().unwrap();
    assert_eq!(counters["messages"], 400);
    // If both rules apply, the first one wins.
    assert_eq!(count("corrupt"), 4 * 10);
    assert!((1..=4 * 4).contains(&count("extra")), "{counters}");
    assert_eq!(counters["bytes_out"], 400 * SIZE as u64 + count("extra"));
    assert_eq!(run(), (replies, counters));
}
