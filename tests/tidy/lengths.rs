//! Lengths: of files, functions and lines.

use std::collections::BTreeMap;

use super::assert_only;
use super::source::{everything, functions};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;

/// Places that exceed a length.
const LONG_FILES: &[&str] = &[];
const LONG_FUNCTIONS: &[&str] = &[];
const WIDE_FILES: &[&str] = &[];

/// Goal: a file can be read in one sitting and a function on one screen.
///
/// Method: count the lines of every file; match the braces of every `fn`.
///
/// Kills: a file of 501 lines; a function of 71 lines, in any package; an entry of something that
/// has become short.
#[test]
fn files_and_functions_are_short() {
    let mut files = BTreeMap::new();
    let mut long_functions = BTreeMap::new();
    for file in everything() {
        let lines_count = file.text.lines().count();
        if lines_count > FILE_LINES_MAX {
            files.insert(file.path.clone(), format!("{lines_count} lines"));
        }
        for (name, lines_count) in functions(&file.code) {
            if lines_count > FUNCTION_LINES_MAX {
                let place = format!("{}::{name}", file.path);
                long_functions.insert(place, format!("{lines_count} lines"));
            }
        }
    }
    assert_only(&files, LONG_FILES);
    assert_only(&long_functions, LONG_FUNCTIONS);
}

/// Goal: lines fit on half a screen, those of comments too, which rustfmt does not wrap.
///
/// Method: the characters of every line of every file.
///
/// Kills: a comment of 101 characters in any package.
#[test]
fn lines_are_short() {
    let mut wide = BTreeMap::new();
    for file in everything() {
        let is_wide = |line: &str| line.chars().count() > LINE_CHARS_MAX;
        let lines: Vec<String> = file
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| is_wide(line))
            .map(|(index, _)| (index + 1).to_string())
            .collect();
        if !lines.is_empty() {
            wide.insert(
                file.path.clone(),
                format!("more than 100 columns at {}", lines.join(", ")),
            );
        }
    }
    assert_only(&wide, WIDE_FILES);
}
