//! The walk of one `recv` in ARCHITECTURE.md, compared with the sources.
//!
//! The form: the section has three numbered lists, of the hops down, up and to the finish. An item
//! begins with the file and the function of its hop, both in backquotes: `` `src/a.rs` `f` ``.

use std::collections::BTreeSet;
use std::fs;

use super::assert_none;
use super::source::{Function, bodies, root, sources, words};

/// How many hops each list may have: down, up, finish.
const HOPS_MAX: [usize; 3] = [9, 9, 2];

/// How many files the whole walk may touch.
const FILES_MAX: usize = 10;

struct Hop {
    file: String,
    name: String,
    /// The functions of this name in the file.
    functions: Vec<Function>,
}

/// Goal: the way of one `recv` through the layers is short, and is what the document has.
///
/// Method: each hop of the three lists is a function of its file; each but the first of a list is
/// named in the body of a hop before it; and the lists have no more hops than [`HOPS_MAX`].
///
/// Kills: a function that was renamed or moved; a hop that was left out where the one before it
/// calls another function; one hop more.
#[test]
fn hops_of_the_walk_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document");
    let (_, section) = text.split_once("\n## A walk: one `recv`\n").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let lists = lists(section);
    let mut wrong = Vec::new();
    let counts: Vec<usize> = lists.iter().map(Vec::len).collect();
    let is_short = counts.iter().zip(HOPS_MAX).all(|(&count, max)| count <= max);
    if counts.len() != HOPS_MAX.len() || !is_short {
        wrong.push(format!("{counts:?} hops, at most {HOPS_MAX:?}"));
    }
    let files: BTreeSet<&str> = lists.iter().flatten().map(|hop| hop.file.as_str()).collect();
    if files.len() > FILES_MAX {
        wrong.push(format!("{} files, at most {FILES_MAX}", files.len()));
    }
    // The task is polled by async-task, so the last list has no calls from hop to hop.
    for (number, list) in lists.iter().enumerate() {
        for (index, hop) in list.iter().enumerate() {
            let Hop { file, name, .. } = hop;
            let is_named = |function: &Function| !words(&function.body, name).is_empty();
            let mut before = list[..index].iter().flat_map(|hop| &hop.functions);
            if hop.functions.is_empty() {
                wrong.push(format!("`{file}` has no function `{name}`"));
            } else if index > 0 && number < 2 && !before.any(is_named) {
                wrong.push(format!("`{file}` `{name}` is in the body of no hop before it"));
            }
        }
    }
    assert_none(&wrong);
}

fn lists(section: &str) -> Vec<Vec<Hop>> {
    let mut lists = Vec::<Vec<Hop>>::new();
    for line in section.lines() {
        let Some((number, rest)) = line.split_once(". `src/") else { continue };
        let Ok(number) = number.parse::<usize>() else { continue };
        let mut names = rest.split('`');
        let (file, name) = (names.next().expect("a file"), names.nth(1).unwrap_or(""));
        let file = format!("src/{file}");
        let sources = sources("src");
        let source = sources.into_iter().find(|source| source.path == file);
        let all = source.map(|source| bodies(&source.code)).unwrap_or_default();
        let functions = all.into_iter().filter(|function| function.name == name);
        let hop = Hop { name: name.to_owned(), functions: functions.collect(), file };
        match number {
            1 => lists.push(vec![hop]),
            _ => lists.last_mut().expect("a first hop").push(hop),
        }
    }
    lists
}
