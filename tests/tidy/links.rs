//! References between documents and sources: links, paths, and the numbers of kernel facts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::assert_none;
use super::source::{root, sources};

/// The directories whose Markdown files are checked.
const PLACES: &[&str] = &["", "docs/", "loadtest/", "benches/peers/"];

/// A word in backquotes that begins like this is a path from the root.
const PATH_STARTS: &[&str] =
    &["src/", "tests/", "docs/", "loadtest/", "benches/", "examples/", "scripts/", "fuzz/"];

/// Goal: each relative link and each path that a document names exists.
///
/// Method: the targets of links, relative to their document, and the words in backquotes that begin
/// with a directory of the repository. Blocks of code are left out.
///
/// Kills: a document that was renamed; a source file that was moved and is still named.
#[test]
fn links_and_paths_in_documents_exist() {
    let mut wrong = Vec::new();
    let mut found_count = 0;
    for (path, text) in texts() {
        let text = without_blocks(&text);
        let base = root().join(&path);
        let base = base.parent().expect("a directory");
        for target in between(&text, "](", ')') {
            let target = target.split('#').next().expect("a part");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            found_count += 1;
            if !base.join(target).exists() {
                wrong.push(format!("{path}: the link to {target}"));
            }
        }
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = PATH_STARTS.iter().any(|start| word.starts_with(start));
            if is_path && !word.contains(char::is_whitespace) && !root().join(word).exists() {
                wrong.push(format!("{path}: `{word}`"));
            }
        }
    }
    assert!(found_count > 20, "{found_count} links: the documents were not read");
    assert_none(&wrong);
}

/// Goal: the map in ARCHITECTURE.md covers the whole tree.
///
/// Method: each directory of the root that is not hidden or built, and each module of `src`, has
/// to be in the section in backquotes.
///
/// Kills: a new module or directory without a line in the map.
#[test]
fn the_map_covers_the_whole_tree() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document");
    let (_, section) = text.split_once("\n## The map\n").expect("the section");
    let section = section.split("\n## ").next().expect("a part");
    let mut wrong = Vec::new();
    for place in ["", "src/"] {
        for entry in fs::read_dir(root().join(place)).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            let is_directory = entry.path().is_dir();
            let is_outside = name.starts_with('.') || ["target", "src"].contains(&name.as_str());
            if is_outside || !(is_directory || place == "src/") {
                continue;
            }
            let name = format!("`{place}{name}{}", if is_directory { "/" } else { "`" });
            if !section.contains(&name) {
                wrong.push(format!("{name} is not in the map"));
            }
        }
    }
    assert_none(&wrong);
}

/// Goal: each fact about the kernel that the sources name is in the list, once, and the list names
/// the files that depend on it.
///
/// Method: the headings of docs/KERNEL-FACTS.md against the numbers in `src`, and the files of each
/// `Code:` or `Tests:` item against their texts.
///
/// Kills: a number without a fact; a fact that is listed twice, or that no code names any more; a
/// file that no longer depends on a fact.
#[test]
fn facts_about_the_kernel_are_listed_once() {
    let page = fs::read_to_string(root().join("docs/KERNEL-FACTS.md")).expect("the page");
    let files: BTreeMap<String, String> =
        sources("src").into_iter().map(|file| (file.path.clone(), file.text.clone())).collect();
    let named: BTreeSet<&str> = files.values().flat_map(|text| numbers(text)).collect();
    let mut listed = BTreeSet::new();
    let mut wrong = Vec::new();
    for section in page.split("\n### ").skip(1) {
        let number = section.split(':').next().expect("a number");
        if !listed.insert(number) {
            wrong.push(format!("{number} is listed twice"));
        }
        let items = section.split_once("\n- Code: ").or(section.split_once("\n- Tests: "));
        let (_, code) = items.unwrap_or_default();
        let code = code.split("\n#").next().expect("a part");
        let paths: Vec<&str> = code.split('`').skip(1).step_by(2).collect();
        if paths.is_empty() {
            wrong.push(format!("{number} names no file"));
        }
        for path in paths {
            let is_there = files.get(path).is_some_and(|text| numbers(text).contains(&number));
            if !is_there {
                wrong.push(format!("{number}: {path} does not name it"));
            }
        }
    }
    for number in named.symmetric_difference(&listed) {
        wrong.push(format!("{number} is only in one of `src` and docs/KERNEL-FACTS.md"));
    }
    assert_none(&wrong);
}

fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for place in PLACES {
        for entry in fs::read_dir(root().join(place)).expect("a directory") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                let path = format!("{place}{name}");
                let text = fs::read_to_string(root().join(&path)).expect("a document");
                found.push((path, text));
            }
        }
    }
    found
}

/// `text` without its fenced blocks.
fn without_blocks(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What stands between each `start` and the next `end`.
fn between<'t>(text: &'t str, start: &str, end: char) -> Vec<&'t str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// The numbers of facts in `text`: an H and two digits.
fn numbers(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_number = |word: &&str| {
        word.len() == 3 && word.starts_with('H') && word[1..].chars().all(|c| c.is_ascii_digit())
    };
    words.filter(is_number).collect()
}
