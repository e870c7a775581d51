//! Which file of a crate imports from which other one.
//!
//! Paths that begin with `crate`, `self`, `super`, a child module or an imported name are followed
//! to the file that defines their item, through re-exports. A declaration `mod a;` alone is no
//! import. Test code does not count. Not understood: names that a glob import brings, and paths
//! that macros build from pieces.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, end_of_braces, line_at, sources, without_tests, words};

/// How many re-exports may lie between a path and its item.
const REEXPORTS_MAX: usize = 8;

type Path = Vec<String>;

struct Module {
    file: String,
    /// Names that are imported or re-exported, and the absolute paths that they stand for.
    names: BTreeMap<String, Path>,
    /// Absolute paths of the whole file.
    paths: Vec<(Path, usize)>,
}

/// One import: the file that has it, the file that it reaches, and the line.
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
}

/// Every import between files of the crate in `directory`, once for each pair of files.
pub(super) fn imports(directory: &str) -> Vec<Import> {
    let files = sources(directory);
    let has_library = files.iter().any(|file| file.path == format!("{directory}/lib.rs"));
    let is_root = |file: &Source| !has_library || file.path != format!("{directory}/main.rs");
    let is_code = |file: &&Source| !file.is_test() && is_root(file);
    let code: Vec<&Source> = files.into_iter().filter(is_code).collect();
    imports_of(&code, directory)
}

fn imports_of(files: &[&Source], directory: &str) -> Vec<Import> {
    let mut paths: BTreeMap<Path, &Source> =
        files.iter().map(|file| (module_path(&file.path, directory), *file)).collect();
    // A file that is declared for tests is test code.
    let declared: BTreeSet<Path> =
        paths.iter().flat_map(|(path, file)| children(path, file)).collect();
    paths.retain(|path, _| path.is_empty() || declared.contains(path));
    let modules: BTreeMap<Path, Module> =
        paths.iter().map(|(path, file)| (path.clone(), module(path, file, &paths))).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for module in modules.values() {
        for (path, line) in &module.paths {
            let to = &modules[&definition(path, &modules)].file;
            if *to != module.file && seen.insert((module.file.clone(), to.clone())) {
                found.push(Import { from: module.file.clone(), to: to.clone(), line: *line });
            }
        }
    }
    found
}

/// `src/net/mod.rs` is the module `net`; `src/lib.rs`, or `main.rs` without it, is the root.
fn module_path(file: &str, directory: &str) -> Path {
    let inner = file.strip_prefix(directory).expect("below the directory");
    let parts = inner.trim_end_matches(".rs").split('/').filter(|part| !part.is_empty());
    parts.filter(|part| !["lib", "main", "mod"].contains(part)).map(str::to_owned).collect()
}

/// The modules that a file declares outside of tests.
fn children(path: &Path, file: &Source) -> Vec<Path> {
    let code = without_tests(&file.code);
    let declarations = words(&code, "mod").into_iter().filter_map(|range| {
        let name = code[range.end..].split(';').next()?.trim();
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| name.to_owned())
    });
    declarations.map(|name| [path.clone(), vec![name]].concat()).collect()
}

fn module(path: &Path, file: &Source, all: &BTreeMap<Path, &Source>) -> Module {
    let code = without_tests(&file.code);
    let is_child = |name: &str| all.contains_key(&[path.clone(), vec![name.to_owned()]].concat());
    let mut module = Module { file: file.path.clone(), names: BTreeMap::new(), paths: Vec::new() };
    for (line, tree) in uses(&code) {
        for (used, name) in expanded(&tree) {
            if let Some(used) = absolute(&used, path, &is_child) {
                module.names.insert(name, used.clone());
                module.paths.push((used, line));
            }
        }
    }
    for (line, inline) in inline_paths(&code) {
        if let Some(used) = absolute(&inline, path, &is_child) {
            module.paths.push((used, line));
        }
    }
    module
}

/// The `use` declarations: their lines and trees.
fn uses(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for range in words(code, "use") {
        let rest = &code[range.end..];
        let is_declaration = rest.starts_with(char::is_whitespace);
        if let (true, Some(len)) = (is_declaration, rest.find(';')) {
            let line = line_at(code, range.start);
            found.push((line, rest[..len].split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

/// The paths of a tree and the names that they have here: `a::{self, b as c}` is `a` and `a::b`.
fn expanded(tree: &str) -> Vec<(Path, String)> {
    let tree = tree.trim();
    let Some((stem, list)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").map_or((tree, None), |(p, n)| (p, Some(n)));
        let path: Path = path.split("::").map(|part| part.trim().to_owned()).collect();
        let name = name.unwrap_or(path.last().expect("a part")).trim().to_owned();
        return vec![(path, name)];
    };
    let stem: Path =
        stem.split("::").map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect();
    let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
    let mut found = Vec::new();
    for item in items(list) {
        for (path, name) in expanded(item) {
            match path.as_slice() {
                [only] if only == "self" => {
                    let own = if name == "self" { stem.last().cloned() } else { Some(name) };
                    found.push((stem.clone(), own.unwrap_or_default()));
                }
                _ => found.push(([stem.clone(), path].concat(), name)),
            }
        }
    }
    found
}

/// Paths from the crate's root, each item of a list as a path of its own, and their lines. Chains
/// of `super` that lead to the root count too; `depth` of them do.
pub(super) fn crate_paths(code: &str, depth: usize) -> Vec<(String, usize)> {
    let to_root = "super::".repeat(depth);
    let mut paths = Vec::new();
    for start in ["crate::", to_root.as_str()] {
        for range in words(code, start) {
            let rest = &code[range.end..];
            if rest.starts_with("super") {
                continue; // the tail of a longer chain
            }
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let stem_len = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            let len = match rest[stem_len..].starts_with('{') {
                true => end_of_braces(rest.as_bytes(), stem_len),
                false => stem_len,
            };
            let tree = rest[..len].trim_end_matches("::");
            let line = line_at(code, range.start);
            paths.extend(expanded(tree).into_iter().map(|(path, _)| (path.join("::"), line)));
        }
    }
    paths
}

/// The items of a list, split at the commas outside of braces.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&list[start..]);
    found.into_iter().filter(|item| !item.trim().is_empty()).collect()
}

/// Paths of two parts or more, anywhere in the code but in visibilities: `pub(in crate::net)`.
fn inline_paths(code: &str) -> Vec<(usize, Path)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let code = code.replace("(in crate::", "(");
    for (index, line) in code.lines().enumerate() {
        // The stem of a list is no import by itself: its items are.
        let is_path = |word: &&str| word.contains("::") && !word.ends_with("::");
        for word in line.split(|c| !is_part(c)).filter(is_path) {
            let parts = word.split("::").take_while(|part| !part.is_empty());
            found.push((index + 1, parts.map(str::to_owned).collect()));
        }
    }
    found
}

/// The path from the crate's root, if it is a path of this crate.
fn absolute(path: &Path, module: &Path, is_child: &dyn Fn(&str) -> bool) -> Option<Path> {
    let mut base = module.clone();
    let mut rest = path.as_slice();
    match rest.first()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop()?;
                rest = &rest[1..];
            }
            return Some([base, rest.to_vec()].concat());
        }
        name if is_child(name) => return Some([base, rest.to_vec()].concat()),
        _ => return None,
    }
    Some([base, rest[1..].to_vec()].concat())
}

/// The module that defines the item of an absolute path.
fn definition(path: &Path, modules: &BTreeMap<Path, Module>) -> Path {
    let mut path = path.clone();
    for _ in 0..REEXPORTS_MAX {
        let len = (0..=path.len()).rev().find(|&len| modules.contains_key(&path[..len]));
        let len = len.expect("the root is a module");
        let (module, rest) = path.split_at(len);
        let stands_for = rest.first().and_then(|name| modules[module].names.get(name));
        match stands_for {
            Some(other) if *other != path => path = [other.as_slice(), &rest[1..]].concat(),
            _ => return module.to_vec(),
        }
    }
    panic!("more than {REEXPORTS_MAX} re-exports: {path:?}");
}

/// Goal: imports lead to the file that defines an item.
///
/// Method: a crate of six files, with a re-export, a nested list, a path in the code, and paths in
/// test code and in declarations, which do not count.
///
/// Kills: an import that ends at a re-export; a list that is cut at its first brace; `super` that
/// is resolved from the crate's root; a declaration, a visibility or the stem of a list that
/// counts.
#[test]
fn imports_lead_to_definitions() {
    let file = |path: &str, code: &str| Source {
        path: format!("x/{path}"),
        text: String::new(),
        code: code.to_owned(),
    };
    let files = [
        file("lib.rs", "mod a;\nmod b;\npub use a::{A, deep::{Deep, self}};\n"),
        file(
            "a/mod.rs",
            "mod deep;\nmod other;\n#[cfg(test)]\nmod fixture;\npub use deep::Deep;\nstruct A;\n",
        ),
        file("a/deep.rs", "use super::A;\npub struct Deep;\n"),
        file(
            "a/other.rs",
            "use super::super::{b};\n#[cfg(test)]\nmod tests { use super::super::A; }",
        ),
        file("a/fixture.rs", "use super::other;"),
        file("b.rs", "fn f() { crate::a::Deep::new(); }\npub(in crate::a) struct B;\n"),
    ];
    let files: Vec<&Source> = files.iter().collect();
    let found: Vec<String> =
        imports_of(&files, "x").into_iter().map(|i| format!("{} {}", i.from, i.to)).collect();
    let expected = [
        ("lib.rs", "a/mod.rs"),
        ("lib.rs", "a/deep.rs"),
        ("a/mod.rs", "a/deep.rs"),
        ("a/deep.rs", "a/mod.rs"),
        ("a/other.rs", "b.rs"),
        ("b.rs", "a/deep.rs"),
    ];
    assert_eq!(found, expected.map(|(from, to)| format!("x/{from} x/{to}")));
}

/// Goal: a list of imports is read whole.
///
/// Method: a list in a list, `self`, another name, and a chain of `super` to the root.
///
/// Kills: a list that ends at its first brace, which lets the rest import anything.
#[test]
fn lists_of_imports_are_read_whole() {
    let code = "use crate::a::{self, B, c::{D, E as F}, g};\nuse super::super::e;";
    let expected = [("a", 1), ("a::B", 1), ("a::c::D", 1), ("a::c::E", 1), ("a::g", 1), ("e", 2)];
    assert_eq!(crate_paths(code, 2), expected.map(|(path, line)| (path.to_owned(), line)));
}
