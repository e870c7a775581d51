//! Unfinished work.

use super::assert_none;
use super::source::{everything, line_at};

/// What must not be left behind.
const LEFTOVERS: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore", "unbounded"];

/// Where a word of the list is meant: the file and the word.
const MEANT: &[(&str, &str)] = &[
    // Its users ask for it by this name, and its documentation names the danger.
    ("src/sync/cross/mpsc.rs", "unbounded"),
    ("src/sync/mpsc/mod.rs", "unbounded"),
    ("src/sync/mpsc/unbounded.rs", "unbounded"),
    ("src/sync/queue/fifo.rs", "unbounded"),
    ("src/sync/queue/priority.rs", "unbounded"),
    ("src/sync/queue/tests.rs", "unbounded"),
    ("tests/vocabulary/channel_budget.rs", "unbounded"),
    ("tests/vocabulary/channels.rs", "unbounded"),
];

/// Goal: nothing unfinished, switched off or without a limit is left behind.
///
/// Method: the words in the code of every file.
///
/// Kills: `todo!()`; a test that is ignored; a channel called unbounded.
#[test]
fn nothing_is_left_behind() {
    let mut wrong = Vec::new();
    for file in everything() {
        for word in LEFTOVERS {
            let is_meant = MEANT.contains(&(file.path.as_str(), word));
            if is_meant != file.code.contains(word) && is_meant {
                wrong.push(format!("{}: has no {word}; remove the exception", file.path));
            }
            if let Some(at) = file.code.find(word).filter(|_| !is_meant) {
                let line = line_at(&file.code, at);
                wrong.push(format!("{}:{line}: {word}", file.path));
            }
        }
    }
    assert_none(&wrong);
}
