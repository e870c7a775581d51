//! Messages to an echo: given payloads and random sizes.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest, scratch_file, stdout};
use crate::serve::Target;
use crate::targets::target;

#[track_caller]
fn run(arguments: &[&str]) -> Value {
    let common = ["--format", "json", "--warmup", "0", "--drain", "60s"];
    let output = loadtest(&[&common[..], arguments].concat());
    assert_exit(&output, 0);
    let report = json(&output);
    assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    report
}

/// Goal: a payload from the command line or from a file is sent unchanged.
///
/// Method: a target that stores the received bytes and echoes them, over TCP; and our own target
/// over WebSocket, where the payload of `--text` must be UTF-8.
///
/// Kills: sending the name of the file; a payload that is cut, or filled up to the default size.
#[test]
fn a_given_payload_is_sent_unchanged() {
    let file = scratch_file("payload");
    let bytes: Vec<u8> = (0..3_000_u32).map(|at| (at % 256) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let from_file = format!("@{}", file.display());
    for (payload, wanted) in [("grüße\n", "grüße\n".as_bytes()), (&from_file, &bytes)] {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeper = Arc::clone(&kept);
        let url = target(move |mut stream| {
            let mut buffer = [0; 4_096];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                keeper.lock().unwrap().extend_from_slice(&buffer[..len]);
                stream.write_all(&buffer[..len]).unwrap();
            }
        });
        let report = run(&["-c", "1", "-n", "30", "-p", "3", "--payload", payload, &url]);
        assert_eq!(report["load"]["completed"], 30);
        assert_eq!(report["config"]["message_bytes"], wanted.len());
        assert!(*kept.lock().unwrap() == wanted.repeat(30), "{payload}");
    }
    let target = Target::start(&["ws"]);
    let url = format!("ws://{}", target.addr);
    for arguments in [&["--payload", &from_file][..], &["--payload", "grüße", "--text"]] {
        let report = run(&[&["-c", "2", "-n", "20", &url][..], arguments].concat());
        assert_eq!(report["load"]["completed"], 20, "{report}");
    }
    assert_eq!(target.stop()["messages"], 40);
}

/// Goal: the size of each message is random, and every reply is as long as its message.
///
/// Method: an echo over TCP and one over WebSocket, with reopened connections and several
/// outstanding messages, verified and not. The number of bytes is between the bounds, and the same
/// with the same seed.
///
/// Kills: a reader that waits for the longest message; sizes that are always a bound; reporting the
/// mean as the size.
#[test]
fn random_sizes_are_within_their_bounds() {
    let echo = Target::start(&["echo"]);
    let ws = Target::start(&["ws"]);
    for url in [format!("tcp://{}", echo.addr), format!("ws://{}", ws.addr)] {
        for verify in [&[][..], &["--verify"]] {
            let load = ["-c", "1", "-n", "300", "-p", "8", "-r", "40", "-s", "100..500", &url];
            let bytes = |seed: &str| {
                let report = run(&[&load[..], verify, &["--seed", seed]].concat());
                assert_eq!(report["load"]["completed"], 300, "{}", report["failures"]);
                assert_eq!(report["config"]["message_bytes"], 500);
                assert_eq!(report["config"]["message_bytes_min"], 100);
                report["load"]["bytes_sent"].as_u64().unwrap()
            };
            let first = bytes("1");
            assert!((300 * 200..300 * 400).contains(&first), "{url}: {first}");
            assert_eq!(bytes("1"), first, "{url}");
            assert_ne!(bytes("2"), first, "{url}");
        }
    }
    let output = loadtest(&["-c", "1", "-n", "20", "--warmup", "0", "-s", "10..2KiB"]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("10 B to 2.00 KiB   TCP_NODELAY"), "{}", stdout(&output));
}
