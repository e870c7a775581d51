//! The first paragraph of documentation comments.

use std::collections::BTreeMap;

use super::assert_only;
use super::source::sources;

/// Names that have no capital letter.
const NAMES: &[&str] = &["epoll", "io_uring"];

/// How lines begin that are no part of a paragraph.
const BLOCKS: &[&str] = &["- ", "|", "```", "1. "];

/// Files with summaries of another form.
const EXCEPTIONS: &[&str] = &[];

/// Goal: the first paragraph of a documentation comment is one or more whole sentences, which
/// rustdoc shows in lists of items.
///
/// Method: of each block of `///` or `//!` in the sources of the library, of its macros and of the
/// load tester: the first paragraph begins with a capital letter, a digit or code, and ends in a
/// full stop, or in a colon if a list, a table or a block follows. In files with arguments for clap
/// it may end otherwise.
///
/// Kills: "of the ring."; "Wakes the task" without a full stop.
#[test]
fn summaries_are_sentences() {
    let mut wrong = BTreeMap::<String, Vec<String>>::new();
    let mut count = 0;
    for file in [sources("src"), sources("loadtest/src"), sources("macros/src")].concat() {
        let is_help = file.code.contains("use clap::");
        for (line, summary, is_followed) in summaries(&file.text) {
            count += 1;
            if let Some(why) = fault(&summary, is_followed, is_help) {
                let entry = format!("line {line}: {why}: {summary}");
                wrong.entry(file.path.clone()).or_default().push(entry);
            }
        }
    }
    assert!(count > 1_000, "{count} summaries");
    let wrong = wrong.into_iter().map(|(path, lines)| (path, lines.join("\n    "))).collect();
    assert_only(&wrong, EXCEPTIONS);
}

/// The first paragraph of each comment: its line, its text, and whether a paragraph follows.
fn summaries(text: &str) -> Vec<(usize, String, bool)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let is_start = |mark: &&str| line.trim_start().starts_with(*mark);
        let Some(mark) = ["///", "//!"].into_iter().find(is_start) else { continue };
        let content =
            |line: &str| line.trim_start().strip_prefix(mark).map(|l| l.trim().to_owned());
        let mut summary = content(line).expect("it begins with the mark");
        let mut is_followed = false;
        while let Some(next) = lines.peek().and_then(|(_, line)| content(line)) {
            lines.next();
            is_followed |= next.is_empty() || BLOCKS.iter().any(|block| next.starts_with(block));
            if !is_followed {
                summary = format!("{summary} {next}");
            }
        }
        found.push((index + 1, summary, is_followed));
    }
    found
}

/// What is wrong with a summary. The lines of clap's help have no full stop.
fn fault(summary: &str, is_followed: bool, is_help: bool) -> Option<&'static str> {
    let is_name = NAMES.iter().any(|name| summary.starts_with(name));
    let is_capital = |c: char| c.is_uppercase() || c.is_ascii_digit() || c == '`' || c == '[';
    if !is_name && !summary.trim_start_matches('*').starts_with(is_capital) {
        return Some("begins with a small letter");
    }
    let is_end = summary.trim_end_matches(['*', ')']).ends_with(['.', '?']);
    let is_announcement = is_followed && summary.ends_with(':');
    if !is_end && !is_announcement && !is_help {
        return Some("does not end in a full stop");
    }
    None
}

/// Goal: the first paragraphs are read right.
///
/// Method: comments of each form, with and without a fault.
///
/// Kills: a paragraph that is cut at its first line; a list that counts as a part of it.
#[test]
fn summaries_are_read_right() {
    let text = "//! Head\n//! line.\n//!\n//! More\n/// A list:\n/// - a\nfn f() {}\n/// no\n";
    let expected = [(1, "Head line.", true), (5, "A list:", true), (8, "no", false)];
    let expected = expected.map(|(line, text, is_followed)| (line, text.to_owned(), is_followed));
    assert_eq!(summaries(text), expected);
    let faults = [("Head line.", true), ("A list:", true), ("no.", false), ("No", false)];
    let faults = faults.map(|(text, is_followed)| fault(text, is_followed, false).is_some());
    assert_eq!(faults, [false, false, true, true]);
}
