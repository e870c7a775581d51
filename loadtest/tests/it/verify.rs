//! `--verify`: a wrong reply is told what it is.

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

/// Goal: a right echo passes, over connections that come and go.
///
/// Method: pipelined messages of an odd size on connections that are closed after seven messages.
///
/// Kills: numbers that do not start anew with a connection.
#[test]
fn a_right_echo_passes() {
    let report = run(&["-c", "3", "-p", "4", "-s", "64", "-r", "7", "-n", "300", "--verify"], 0);
    assert_eq!(report["load"]["completed"], 300, "{}", report["failures"]);
    assert_eq!(report["config"]["verify"], true);
}

/// Goal: replies out of turn and replies to others are noticed, which equal messages cannot do.
///
/// Method: a target that answers two messages of a connection in reverse, and one that exchanges the
/// replies of two connections; each without `--verify` and with.
///
/// Kills: messages that are all the same; one class for both.
#[test]
fn disorder_and_cross_talk() {
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
            // Whoever comes second answers both.
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

/// Goal: a byte that is wrong anywhere in a large message is noticed.
///
/// Method: the last byte of each reply is turned over.
///
/// Kills: looking at the head only.
#[test]
fn corruption() {
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
