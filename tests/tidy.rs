//! What the compiler does not check: layers, unsafe code, clocks, lengths, words, documents.
//!
//! These tests read the sources and nothing else. One file of `tidy/` has the rules of one topic.
//! Rules about code read it with comments and the contents of strings blanked (`source`), so that a
//! word in prose does not count. Every list of exceptions is exact: an entry that is no longer
//! needed fails as well, so a list never permits more than it has to.

#[path = "tidy/bounds.rs"]
mod bounds;
#[path = "tidy/clock.rs"]
mod clock;
#[path = "tidy/constants.rs"]
mod constants;
#[path = "tidy/cycles.rs"]
mod cycles;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/leaves.rs"]
mod leaves;
#[path = "tidy/leftovers.rs"]
mod leftovers;
#[path = "tidy/lengths.rs"]
mod lengths;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/safety.rs"]
mod safety;
#[path = "tidy/semantics.rs"]
mod semantics;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/summaries.rs"]
mod summaries;
#[path = "tidy/walk.rs"]
mod walk;
#[path = "tidy/words.rs"]
mod words;

use std::collections::BTreeMap;

use source::root;

/// Fails for each place that breaks a rule and is not on the list of exceptions, and for each entry
/// of the list below which no place breaks it. An entry that ends in `/` is a directory.
#[track_caller]
fn assert_only(broken: &BTreeMap<String, String>, exceptions: &[&str]) {
    let covers = |entry: &str, place: &str| match entry.ends_with('/') {
        true => place.starts_with(entry),
        false => place == entry,
    };
    let mut wrong = Vec::new();
    for (place, why) in broken {
        if !exceptions.iter().any(|entry| covers(entry, place)) {
            wrong.push(format!("{place}: {why}"));
        }
    }
    for entry in exceptions {
        if !broken.keys().any(|place| covers(entry, place)) {
            wrong.push(format!("{entry}: an exception that is no longer needed; remove it"));
        }
    }
    assert_none(&wrong);
}

fn assert_all_exist(list: &[&str], wrong: &mut Vec<String>) {
    for path in list {
        if !root().join(path).is_file() {
            wrong.push(format!("{path} is on a list and does not exist"));
        }
    }
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}
