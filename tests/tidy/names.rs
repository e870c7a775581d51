//! The names of tests.

use std::collections::BTreeMap;

use super::assert_only;
use super::semantics::{documented_tests, is_row};
use super::source::everything;

/// The fewest words of a sentence: a subject, a verb and what it is about.
const WORDS_MIN: usize = 3;

/// Files with names that are no sentences.
const EXCEPTIONS: &[&str] = &[];

/// Goal: the name of a test that fails shows what no longer holds.
///
/// Method: the words of each name, without the row of the table of promises at its start. That the
/// words are a sentence is for the reviewer.
///
/// Kills: a test called `smoke`, `limits` or `bad_arguments`.
#[test]
fn names_of_tests_are_sentences() {
    let mut short = BTreeMap::<String, Vec<String>>::new();
    let mut count = 0;
    for file in everything() {
        for (name, _) in documented_tests(file) {
            count += 1;
            let words_count = name.split('_').filter(|word| !is_row(&word.to_uppercase())).count();
            if words_count < WORDS_MIN {
                short.entry(file.path.clone()).or_default().push(name);
            }
        }
    }
    assert!(count > 500, "{count} tests");
    let short = short.into_iter().map(|(path, names)| (path, names.join(", "))).collect();
    assert_only(&short, EXCEPTIONS);
}
