//! Words that are not used, each with what to write instead.

use std::collections::BTreeMap;

use super::assert_only;
use super::documents::documents;
use super::source::{everything, line_at, words};

/// Not used in prose, in strings or in names: in any case, and also as a part of a name.
const WORDS: &[(&str, &str)] = &[
    ("addressee", "recipient"),
    ("afterwards", "then, after that; of code that runs once borrows end: deferred"),
    ("anybody", "any task, any caller"),
    ("as there.", "write the documentation out"),
    ("as there,", "write the documentation out"),
    ("audit", "watchdog"),
    ("bell", "wake fd"),
    ("breakdown", "driver failure"),
    ("campaign", "series"),
    ("climb", "try in order"),
    ("conductor", "coordinator"),
    ("deeds", "activity"),
    ("enobufs", "pool_exhausted; the errno is written ENOBUFS"),
    ("everybody", "all tasks, all callers"),
    ("evidence", "server stats"),
    ("farewell", "thread exit guard"),
    ("for ever", "endlessly, without end"),
    ("is said", "is reported, is documented"),
    ("ladder", "fallbacks"),
    ("nobody", "no task, no caller, none"),
    ("rung", "fallback"),
    ("somebody", "another process, another task"),
    ("stray", "stale completion"),
    ("strays", "stale completions"),
    ("vigil", "idle spin"),
    ("whoever", "the task that, the caller that"),
];

/// Words of the list above that are part of another name.
const PARTS_OF_OTHERS: &[&str] = &["ENOBUFS"];

/// Not used as a name in code: the name, what to write instead, and where. In prose these are
/// ordinary words, and elsewhere they may name something else.
const NAMES: &[(&str, &str, &str)] = &[
    ("Answer", "OpResult", ""),
    ("Besides", "SpuriousEvents", ""),
    ("REST_NS", "ACCEPT_BACKOFF", ""),
    ("Verb", "OpKind", ""),
    // In `sync`, it is the name that tokio has for it.
    ("forget", "deregister; of a value: mem::forget", "loadtest/"),
    ("forget", "deregister; of a value: mem::forget", "src/driver/"),
    ("forget", "deregister; of a value: mem::forget", "src/net/"),
    ("forget", "deregister; of a value: mem::forget", "src/reactor/"),
    ("Cleared", "Admission", "loadtest/"),
    ("Conversation", "ConnState", "loadtest/"),
    ("Fate", "Outcome", "loadtest/"),
    ("Patience", "ReplyTimeout", "loadtest/"),
    ("Reached", "Connected", "loadtest/"),
    ("Seat", "ThreadSpec", "loadtest/"),
    ("Speech", "ProtocolConfig", "loadtest/"),
    ("Stop", "Error", "loadtest/"),
    ("Surprise", "UnexpectedBytes", "loadtest/"),
    ("Talk", "ConnState", "loadtest/"),
    ("Told", "Notified", "loadtest/"),
    ("Took", "ConnectTimings", "loadtest/"),
    ("naming", "ids", "loadtest/"),
    ("parting", "lingering_close", "loadtest/"),
    ("patience", "reply_timeout", "loadtest/"),
    ("settle", "apply_gates", "loadtest/"),
    ("spun", "spin_time", "loadtest/"),
    ("Signs", "RingFlags", "src/"),
    ("rests", "is_in_backoff", "src/"),
    ("Left", "LeaveOutcome", "src/net/"),
    ("Place", "Waiter", "src/net/"),
    ("Ticket", "WaiterId", "src/net/"),
    ("Waiting", "Waiter", "src/net/"),
    ("closing", "closing_streams", "src/runtime/"),
    ("enters", "enter_calls", "src/runtime/"),
];

/// Files that still have such words.
const EXCEPTIONS: &[&str] = &[
    "loadtest/src/report/html/resources.rs",
    "loadtest/src/report/html/tests.rs",
    "loadtest/src/report/model/generator.rs",
];

/// Goal: the terms are those of the field, and one thing has one name.
///
/// Method: the lists above, searched in the Rust files of every package and in the documents. The
/// names are searched in code only, because in prose they are ordinary words.
///
/// Kills: `nobody` in a comment; `afterwards` in the name of a function; a type `Ticket`; a retired
/// name in a document.
#[test]
fn words_are_those_of_the_field() {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    let mut add = |path: &str, text: &str, at: usize, word: &str, instead: &str| {
        let line = line_at(text, at);
        let entry = format!("line {line}: `{word}`, write: {instead}");
        found.entry(path.to_owned()).or_default().push(entry);
    };
    let mut texts = documents(&["", "docs/", "loadtest/", "benches/peers/"]);
    // Users of the last version look for the names of that version.
    let changelog = texts.iter_mut().find(|(path, _)| path == "CHANGELOG.md").expect("a document");
    changelog.1 = without_code(&changelog.1);
    for file in everything().iter().filter(|file| !file.path.ends_with("tidy/words.rs")) {
        for (name, instead, _) in NAMES.iter().filter(|name| file.path.starts_with(name.2)) {
            for at in names_in(&file.code, name) {
                add(&file.path, &file.code, at, name, instead);
            }
        }
        texts.push((file.path.clone(), file.text.clone()));
    }
    for (path, text) in &texts {
        let lower = text.to_ascii_lowercase();
        for (word, instead) in WORDS {
            for at in places(text, &lower, word) {
                add(path, text, at, word, instead);
            }
        }
    }
    let found = found.into_iter().map(|(path, places)| (path, places.join("\n    "))).collect();
    assert_only(&found, EXCEPTIONS);
}

/// `text` with what stands in backquotes blanked.
fn without_code(text: &str) -> String {
    let mut is_code = false;
    let blank = |c| {
        is_code ^= c == '`';
        if is_code && c != '\n' { ' ' } else { c }
    };
    text.chars().map(blank).collect()
}

/// Where `name` is a name of this library's. `std::mem::forget` is another one.
fn names_in(code: &str, name: &str) -> Vec<usize> {
    let starts = words(code, name).into_iter().map(|range| range.start);
    starts.filter(|&at| !code[..at].ends_with("mem::")).collect()
}

/// Where `phrase` stands in any case, alone or as a part of a name. A line break and the marks of a
/// comment may stand between its words. `lower` is the text in small letters.
fn places(text: &str, lower: &str, phrase: &str) -> Vec<usize> {
    let mut parts = phrase.split(' ');
    let first = parts.next().expect("a word");
    let is_phrase = |at: usize| {
        let (before, rest) = lower.split_at(at);
        let mut rest = &rest[first.len()..];
        for part in parts.clone() {
            let next = rest.trim_start_matches([' ', '\n', '/', '!']);
            match next.strip_prefix(part) {
                Some(after) if next.len() < rest.len() => rest = after,
                _ => return false,
            }
        }
        !before.ends_with(char::is_alphanumeric) && !rest.starts_with(char::is_alphanumeric)
    };
    let is_other = |at: usize| PARTS_OF_OTHERS.contains(&&text[at..at + first.len()]);
    let found = lower.match_indices(first).map(|(at, _)| at);
    found.filter(|&at| is_phrase(at) && !is_other(at)).collect()
}

/// Goal: the search finds each form of a word, and no other word.
///
/// Method: a text with a word alone, in a name, at the start of a sentence, and inside of others.
///
/// Kills: a search that `_` or a capital letter hides a word from; one that finds `bell` in
/// `label`.
#[test]
fn words_are_found_in_names_and_prose() {
    let places = |text: &str, word| places(text, &text.to_ascii_lowercase(), word);
    assert_eq!(places("Nobody, nobody_waits, NOBODY; nobodys", "nobody"), [0, 8, 22]);
    assert_eq!(places("a label, ENOBUFS, enobufs", "bell"), []);
    assert_eq!(places("a label, ENOBUFS, enobufs", "enobufs"), [18]);
    assert_eq!(places("is said. This\n    /// is\n    /// said, is saids", "is said"), [0, 22]);
    assert_eq!(names_in("mem::forget(a); x.forget(b); forgets()", "forget"), [18]);
}
