//! The documents of the repository: their Rust blocks are compiled, and are whole for a reader.

use std::fs;

use super::assert_none;
use super::source::root;

/// The Markdown files of some directories, with their texts.
pub(super) fn documents(directories: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for directory in directories {
        let entries = fs::read_dir(root().join(directory)).expect("a directory");
        for entry in entries {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            if name.ends_with(".md") {
                let path = format!("{directory}{name}");
                let text = fs::read_to_string(root().join(&path)).expect("a document");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// Goal: the Rust in the documents compiles, and a reader on a web page sees all of it.
///
/// Method: `src/documents.rs` makes doctests of documents; it has to name each of them. In the
/// fenced blocks: each names its language, and Rust has no line that only rustdoc hides.
///
/// Kills: a document that `src/documents.rs` does not name; one that it names and that is gone;
/// `# fn main() {` in a Rust block; a fence without a language, which rustdoc takes for Rust.
#[test]
fn rust_in_documents_is_compiled_and_visible() {
    let mut wrong = Vec::new();
    let list = fs::read_to_string(root().join("src/documents.rs")).expect("the list");
    let documents = documents(&["", "docs/"]);
    for (path, text) in &documents {
        if !list.contains(&format!("\"../{path}\"")) {
            wrong.push(format!("{path} is not in src/documents.rs"));
        }
        let mut language = None;
        for (index, line) in text.lines().enumerate() {
            let (at, line) = (index + 1, line.trim_start());
            language = match (line.strip_prefix("```"), language) {
                (Some(""), None) => {
                    wrong.push(format!("{path}:{at}: a block without a language"));
                    Some("")
                }
                (Some(_), Some(_)) => None,
                (Some(name), None) => Some(name),
                (None, language) => language,
            };
            let is_rust = language.is_some_and(|name| name.starts_with("rust"));
            if is_rust && (line == "#" || line.starts_with("# ")) {
                wrong.push(format!("{path}:{at}: a hidden line"));
            }
        }
    }
    let count = list.matches("\"../").count();
    if count != documents.len() {
        wrong.push(format!("src/documents.rs has {count} of {} documents", documents.len()));
    }
    assert_none(&wrong);
}
