//! Unfinished work.

use super::assert_none;
use super::source::{everything, line_at};

/// What must not be left behind.
const LEFTOVERS: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore", "unbounded"];

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
            if let Some(at) = file.code.find(word) {
                let line = line_at(&file.code, at);
                wrong.push(format!("{}:{line}: {word}", file.path));
            }
        }
    }
    assert_none(&wrong);
}
