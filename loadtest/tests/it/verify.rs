//! `--verify`: the classes of wrong replies.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest};
use crate::targets::{Counter, hold, read_message, target};

fn run(arguments: &[&str], exit: i32) -> Value {
    let output = loadtest(&[&["--format", "json", "--warmup", "0"], arguments].concat());
    assert_exit(&output, exit);
    json(&output)
}

/// Goal: a correct echo passes, over connections that are reopened.
///
/// Method: pipelined messages on connections that are closed after seven messages each.
///
/// Kills: numbers that do not restart with a connection.
#[test]
fn a_correct_echo_passes_verification() {
    let report = run(&["-c", "3", "-p", "4", "-s", "64", "-r", "7", "-n", "300", "--verify"], 0);
    assert_eq!(report["load"]["completed"], 300, "{}", report["failures"]);
    assert_eq!(report["config"]["verify"], true);
}

/// Goal: replies in the wrong order and replies of another connection are detected, which equal
/// messages do not allow.
///
/// Method: a target that answers two messages of a connection in reverse, and one that exchanges
/// the replies of two connections, each without and with `--verify`.
///
/// Kills: messages that are all equal; one class for both.
#[test]
fn order_and_cross_talk_are_detected() {
    let reversed = || {
        target(|mut stream| {
            let messages = [(); 2].map(|()| read_message(&mut stream));
            for message in messages.iter().rev() {
                stream.write_all(message).unwrap();
            }
            hold(stream);
        })
    };
    let exchanged = || {
        let first = Arc::new(Mutex::new(None));
        target(move |mut stream| {
            let message = read_message(&mut stream);
            // The second connection's thread answers both.
            let mut place = first.lock().unwrap();
            let Some((other_message, mut other_stream)) = place.take() else {
                *place = Some((message, stream));
                return;
            };
            let answer =
                |stream: &mut TcpStream, message: &[u8]| stream.write_all(message).unwrap();
            answer(&mut stream, &other_message);
            answer(&mut other_stream, &message);
            hold(stream);
        })
    };
    let two_outstanding = ["-c", "1", "-p", "2", "-n", "2"];
    assert_eq!(run(&[&two_outstanding[..], &[&reversed()]].concat(), 0)["load"]["completed"], 2);
    let url = reversed();
    let verified = [&two_outstanding[..], &["--verify", &url]].concat();
    assert_eq!(run(&verified, 3)["load"]["errors"]["order"], 2);

    let two_connections = ["-c", "2", "-n", "2"];
    assert_eq!(run(&[&two_connections[..], &[&exchanged()]].concat(), 0)["load"]["completed"], 2);
    let url = exchanged();
    let verified = [&two_connections[..], &["--verify", &url]].concat();
    assert_eq!(run(&verified, 3)["load"]["errors"]["cross-talk"], 2);
}

/// Goal: one wrong byte anywhere in a message is detected.
///
/// Method: a flipped bit in the last byte of each reply.
///
/// Kills: checking the start only.
#[test]
fn one_wrong_byte_is_detected() {
    let url = target(|mut stream| {
        let mut message = read_message(&mut stream);
        message[63] ^= 1;
        stream.write_all(&message).unwrap();
        hold(stream);
    });
    assert_eq!(run(&["-c", "1", "--verify", &url], 3)["load"]["errors"]["mismatch"], 1);
    let counter = Counter::default();
    let url = target(move |stream| counter.echo(stream, || ()));
    assert_eq!(run(&["-c", "1", "-n", "9", "--verify", &url], 0)["load"]["completed"], 9);
}
