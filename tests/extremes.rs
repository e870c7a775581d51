//! Settings of the builder at their extremes: each works, or the error names the setting to change.

mod common;

use std::io::{Read, Write};
use std::time::Duration;

use common::{LIMIT, std_pair, within};
use ringloop::{Builder, DriverChoice, DriverKind, Runtime};

/// The expected outcome of a setting.
#[derive(Clone, Copy)]
enum Expected {
    Works,
    /// Works, or fails with advice about this setting, depending on memory.
    WorksOrNames(&'static str),
    /// io_uring fails with advice about this setting. epoll, which does not use it, works.
    RingNames(&'static str),
}

type Setting = fn(Builder) -> Builder;

/// Advice must not name another cause.
const WRONG: [&str; 2] = ["too old", "seccomp"];

const SETTINGS: [(&str, Setting, Expected); 20] = [
    ("rings 1, 1", |b| b.ring_entries(1, 1), Expected::Works),
    ("rings 1, 2", |b| b.ring_entries(1, 2), Expected::Works),
    ("rings 3, 3", |b| b.ring_entries(3, 3), Expected::Works),
    ("rings 33, 33", |b| b.ring_entries(33, 33), Expected::Works),
    ("rings 1, 65 536", |b| b.ring_entries(1, 65_536), Expected::WorksOrNames("ulimit -l")),
    ("largest rings", |b| b.ring_entries(32_768, 65_536), Expected::WorksOrNames("ulimit -l")),
    ("long SQ", |b| b.ring_entries(32_769, 65_536), Expected::RingNames("ring_entries")),
    ("long CQ", |b| b.ring_entries(1, 65_537), Expected::RingNames("ring_entries")),
    ("long rings", |b| b.ring_entries(65_536, 131_072), Expected::RingNames("ring_entries")),
    ("rings MAX", |b| b.ring_entries(u32::MAX, u32::MAX), Expected::RingNames("ring_entries")),
    ("no connections", |b| b.connections_expected(0), Expected::Works),
    ("connections MAX", |b| b.connections_expected(u32::MAX), Expected::Works),
    ("buffers 1 of 1", |b| b.recv_buffers(1, 1), Expected::Works),
    ("many of 1", |b| b.recv_buffers(32_768, 1), Expected::WorksOrNames("ulimit -l")),
    ("1 of 1 GiB", |b| b.recv_buffers(1, 1 << 30), Expected::WorksOrNames("recv_buffers")),
    ("32 TiB", |b| b.recv_buffers(32_768, 1 << 30), Expected::WorksOrNames("recv_buffers")),
    ("no linger", |b| b.linger(Duration::ZERO), Expected::Works),
    ("linger MAX", |b| b.linger(Duration::MAX), Expected::Works),
    ("no linger at the end", |b| b.shutdown_linger(Duration::ZERO), Expected::Works),
    ("linger MAX at the end", |b| b.shutdown_linger(Duration::MAX), Expected::Works),
];

/// The drivers that are chosen by name.
fn choices() -> Vec<DriverChoice> {
    let has_ring = Builder::new().driver(DriverChoice::Uring).build().is_ok();
    if !has_ring {
        println!("SKIP: no io_uring here");
        return vec![DriverChoice::Epoll];
    }
    vec![DriverChoice::Uring, DriverChoice::Epoll]
}

/// An echo that reads everything, in pieces of any size.
fn serves(runtime: &Runtime) {
    let echoed = runtime.block_on(async {
        let (mut stream, mut peer) = std_pair();
        peer.write_all(b"ping").expect("an open stream");
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.expect("four bytes");
        stream.write_all(&bytes).await.expect("an open stream");
        stream.close().await.expect("a peer that reads");
        let mut echoed = Vec::new();
        peer.read_to_end(&mut echoed).expect("the echo, and the end");
        echoed
    });
    assert_eq!(echoed, b"ping");
}

/// Goal: every setting at its extremes works, or fails with advice about this setting, without a
/// panic, and without blaming the kernel or a sandbox.
///
/// Method: a table of settings; an echo where the runtime starts. epoll has no rings.
///
/// Kills: advice by the errno alone; a division, a sum or a multiplication that overflows.
#[test]
fn extreme_settings_work_or_say_what_to_change() {
    for choice in choices() {
        for (name, set, expected) in SETTINGS {
            println!("{choice:?}, {name}");
            let built = set(Builder::new().driver(choice)).build();
            let is_ring = choice == DriverChoice::Uring;
            match (built, expected) {
                (Ok(_), Expected::RingNames(_)) if is_ring => panic!("{name} is too large"),
                (Ok(runtime), _) => within(LIMIT, || serves(&runtime)),
                (Err(error), Expected::Works) => panic!("{name}: {error}"),
                (Err(error), Expected::RingNames(_)) if !is_ring => panic!("{name}: {error}"),
                (Err(error), Expected::RingNames(word) | Expected::WorksOrNames(word)) => {
                    let advice = error.advice().unwrap_or_else(|| panic!("{name}: {error}"));
                    assert!(advice.contains(word), "{name}: {error}");
                    let is_wrong = WRONG.iter().any(|wrong| advice.contains(wrong));
                    assert!(!is_wrong, "{name}: {error}");
                    assert!(is_ring || !error.to_string().contains("io_uring"), "{name}: {error}");
                }
            }
        }
    }
}

/// Goal: a ring that is too large makes the default choice fall back, and the runtime keeps the
/// right advice.
///
/// Method: the same size with and without a choice.
///
/// Kills: advice that differs from the error's.
#[test]
fn a_fallback_keeps_the_advice() {
    if std::env::var_os("RINGLOOP_DRIVER").is_some() || choices().len() == 1 {
        return;
    }
    let set = |builder: Builder| builder.ring_entries(65_536, 131_072);
    let runtime = set(Runtime::builder()).build().expect("epoll is there");
    let info = runtime.handle().driver().clone();
    assert_eq!(info.kind(), DriverKind::Epoll);
    let error = set(Runtime::builder()).driver(DriverChoice::Uring).build().expect_err("too large");
    assert_eq!(info.advice(), error.advice());
    assert!(info.to_string().contains("ring_entries"), "{info}");
}
