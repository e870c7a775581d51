//! Import cycles: files of one crate that need each other to be understood.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_only;
use super::imports::{Import, imports};

/// The directories of crates, each with a `lib.rs` or a `main.rs`.
const CRATES: &[&str] = &[
    "benches/growth",
    "benches/peers/src",
    "benches/peers/src/bin/compare",
    "benches/peers/src/bin/ring_floor",
    "loadtest/src",
    "src",
];

/// Files that are still in a cycle.
const FILES_IN_CYCLES: &[&str] = &[];

/// Goal: a file can be read after those that it imports from, and before those that import from it.
///
/// Method: the strongly connected components of the imports between the files of each crate.
///
/// Kills: a module that imports a type from the module above it that imports the module; a cycle
/// of three files; a cycle that a re-export hides.
#[test]
fn imports_have_no_cycles() {
    let (mut found, mut count) = (BTreeMap::new(), 0);
    for directory in CRATES {
        let imports = imports(directory);
        count += imports.len();
        for cycle in cycles(&imports) {
            for file in &cycle {
                let in_cycle =
                    |import: &&Import| import.from == *file && cycle.contains(&import.to);
                let edges = imports.iter().filter(in_cycle);
                let edges: Vec<String> =
                    edges.map(|import| format!("{} (line {})", import.to, import.line)).collect();
                found.insert(file.clone(), format!("in a cycle through {}", edges.join(", ")));
            }
        }
    }
    assert!(count > 500, "{count} imports");
    assert_only(&found, FILES_IN_CYCLES);
}

/// The components of more than one file: those that can be reached from each other.
fn cycles(imports: &[Import]) -> Vec<BTreeSet<String>> {
    let mut next = BTreeMap::<&str, Vec<&str>>::new();
    for import in imports {
        next.entry(&import.from).or_default().push(&import.to);
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|&from| (from, reachable(from, &next))).collect();
    let mut found = BTreeSet::new();
    for (from, reached) in &reach {
        let is_mutual = |to: &&&str| reach.get(**to).is_some_and(|back| back.contains(from));
        let cycle: BTreeSet<String> =
            reached.iter().filter(is_mutual).map(|to| (*to).to_owned()).collect();
        if !cycle.is_empty() {
            found.insert(cycle);
        }
    }
    found.into_iter().collect()
}

fn reachable<'a>(from: &'a str, next: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut rest = vec![from];
    while let Some(file) = rest.pop() {
        for &to in next.get(file).into_iter().flatten() {
            if reached.insert(to) {
                rest.push(to);
            }
        }
    }
    reached
}

/// Goal: the search finds cycles and nothing else.
///
/// Method: a cycle of two and a cycle of three, a path between them, and files in front and behind.
///
/// Kills: a component that takes in a file that only leads to it.
#[test]
fn cycles_are_found() {
    let edges =
        [("0", "1"), ("1", "2"), ("2", "1"), ("2", "3"), ("3", "4"), ("4", "5"), ("5", "3")];
    let import = |(from, to): (&str, &str)| Import { from: from.into(), to: to.into(), line: 1 };
    let mut imports: Vec<Import> = edges.into_iter().map(import).collect();
    imports.push(import(("5", "6")));
    let set = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect();
    assert_eq!(cycles(&imports), [set(&["1", "2"]), set(&["3", "4", "5"])]);
}
