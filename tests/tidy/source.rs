//! Reading sources without a parser: enough to find words, braces and paths, and no more.
//!
//! Comments and the contents of strings are blanked, line by line, so that what is left can be
//! searched for words and its braces matched. Not understood: macros that build paths from pieces.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub(super) struct Source {
    /// Relative to the workspace, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// The text with comments and strings blanked, line by line as it was.
    pub(super) code: String,
}

impl Source {
    /// The top-level module of `src` that this file belongs to.
    pub(super) fn module(&self) -> String {
        let inner = self.path.strip_prefix("src/").expect("a file of src");
        let module = inner.split('/').next().expect("a name");
        module.trim_end_matches(".rs").to_owned()
    }

    /// How many `super` lead from this file's module to the crate's root.
    pub(super) fn depth(&self) -> usize {
        let names = self.path.trim_end_matches(".rs").split('/').skip(1);
        names.filter(|name| *name != "mod").count()
    }

    /// Whether the whole file is test code, by its name.
    pub(super) fn is_test(&self) -> bool {
        // Built with tests and by cargo-fuzz only.
        let is_fuzzer = self.path.starts_with("src/fuzz/");
        is_fuzzer || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

/// Every Rust file of the repository, read once for all tests.
pub(super) fn everything() -> &'static [Source] {
    static ALL: OnceLock<Vec<Source>> = OnceLock::new();
    ALL.get_or_init(|| {
        let root = root();
        let mut files = Vec::new();
        collect(&root, &mut files);
        let mut all: Vec<Source> = files.iter().map(|path| read(path, &root)).collect();
        assert!(all.len() > 300, "{} files of Rust below {}", all.len(), root.display());
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    })
}

/// Every Rust file below one directory of the repository.
pub(super) fn sources(directory: &str) -> Vec<&'static Source> {
    let start = format!("{directory}/");
    let found: Vec<&Source> =
        everything().iter().filter(|file| file.path.starts_with(&start)).collect();
    assert!(!found.is_empty(), "no sources in {directory}");
    found
}

fn read(path: &Path, root: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let relative = path.strip_prefix(root).expect("below the root");
    Source { path: relative.display().to_string(), code: code_of(&text), text }
}

pub(super) fn root() -> PathBuf {
    // Asked for at run time, so that the same binary can be pointed at a changed copy.
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("run me through cargo"))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            let is_built = path.ends_with("target") && directory.join("Cargo.toml").exists();
            let name = path.file_name().expect("a name").to_string_lossy();
            if is_built || name.starts_with('.') {
                continue;
            }
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `source` with comments and the contents of strings and characters replaced by spaces.
fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => end_of_line(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => end_of_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' if !is_word_before(bytes, at) => end_of_raw_string(bytes, at).unwrap_or(at),
            b'\'' => end_of_character(bytes, at).unwrap_or(at),
            _ => at,
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("only whole strings and comments were blanked")
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    let len = bytes[at..].iter().position(|byte| *byte == b'\n');
    len.map_or(bytes.len(), |len| at + len)
}

fn end_of_comment(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (1, at + 2);
    while depth > 0 && end < bytes.len() {
        let step = match &bytes[end..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        (depth, end) = (depth + step.0, end + step.1);
    }
    end
}

fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

fn end_of_raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes_count = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let quote = at + 1 + hashes_count;
    if bytes.get(quote) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes_count]].concat();
    let len = bytes[quote + 1..].windows(close.len()).position(|window| window == close)?;
    Some(quote + 1 + len + close.len())
}

/// The end of a character, or nothing for a lifetime.
fn end_of_character(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes[at + 1..] {
        [b'\\', _, ..] => {
            let len = bytes[at + 3..].iter().position(|byte| *byte == b'\'')?;
            Some(at + 3 + len + 1)
        }
        [b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_', other, ..] if other != b'\'' => None,
        _ => {
            let len = bytes[at + 1..].iter().position(|byte| *byte == b'\'')?;
            Some(at + 1 + len + 1)
        }
    }
}

/// `code` without the items marked `#[cfg(test)]`.
pub(super) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(start) = code[from..].find(MARK).map(|at| from + at) {
        let end = end_of_item(code.as_bytes(), start + MARK.len());
        for byte in &mut rest[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8(rest).expect("whole items were blanked")
}

/// An item ends with its braces, or with a `;` or `,` outside all brackets. A `,` between angle
/// brackets is part of a type.
fn end_of_item(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut angle_depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'<' => angle_depth += 1,
            b'>' if !matches!(bytes[at - 1], b'-' | b'=') => angle_depth -= 1,
            b'{' => return end_of_braces(bytes, at),
            b';' if depth == 0 => return at + 1,
            b',' if depth == 0 && angle_depth <= 0 => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

pub(super) fn end_of_braces(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.len()
}

/// The name and the number of lines of every function that has a body.
pub(super) fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for range in words(code, "fn") {
        let rest = code[range.end..].trim_start();
        let name_len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
        if name_len == 0 {
            continue; // a type such as `fn(u8)`
        }
        let end = end_of_item(code.as_bytes(), range.end);
        if code.as_bytes()[end - 1] == b'}' {
            let lines_count = code[range.start..end].lines().count();
            found.push((rest[..name_len].to_owned(), lines_count));
        }
    }
    found
}

/// One function that has a body.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) is_public: bool,
    pub(super) is_async: bool,
    pub(super) line: usize,
    pub(super) body: String,
}

/// Every function that has a body, with the body.
pub(super) fn bodies(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for range in words(code, "fn") {
        let rest = code[range.end..].trim_start();
        let name_len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
        let end = end_of_item(code.as_bytes(), range.end);
        if name_len == 0 || code.as_bytes()[end - 1] != b'}' {
            continue;
        }
        let line_start = code[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let before: Vec<&str> = code[line_start..range.start].split_whitespace().collect();
        let open = range.end + code[range.end..end].find('{').expect("it ends with a brace");
        found.push(Function {
            name: rest[..name_len].to_owned(),
            is_public: before.contains(&"pub"),
            is_async: before.contains(&"async"),
            line: line_at(code, range.start),
            body: code[open..end].to_owned(),
        });
    }
    found
}

/// Whether std's `Instant` is named, alone or in a list.
pub(super) fn names_std_instant(code: &str) -> bool {
    words(code, "std::time::").iter().any(|range| {
        let rest = &code[range.end..];
        let list = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
        let names =
            list.unwrap_or_else(|| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(""));
        names.split(|c: char| !c.is_alphanumeric()).any(|name| name == "Instant")
    })
}

/// The line of the first occurrence of a word.
pub(super) fn line_of(code: &str, word: &str) -> Option<usize> {
    words(code, word).first().map(|range| line_at(code, range.start))
}

/// Where `word` stands as a word of its own. At an end that is punctuation, anything may follow.
pub(super) fn words(code: &str, word: &str) -> Vec<Range<usize>> {
    let bytes = code.as_bytes();
    let is_bounded_after = |end: usize| {
        !word.ends_with(|c: char| c.is_alphanumeric()) || !bytes.get(end).is_some_and(is_word_byte)
    };
    code.match_indices(word)
        .map(|(at, _)| at..at + word.len())
        .filter(|range| !is_word_before(bytes, range.start) && is_bounded_after(range.end))
        .collect()
}

fn is_word_before(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word_byte(&bytes[at - 1])
}

fn is_word_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

pub(super) fn line_at(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Goal: the reading of sources that all of the above rests on.
///
/// Method: one source with everything that can hide a word or a brace.
///
/// Kills: a quote in a character, a brace in a string, a lifetime or a comma in a type that derails
/// the rest.
#[test]
fn sources_are_read_right() {
    let source = "let a = '\"'; // unsafe\nlet b: &'static str = \"{ \\\" unsafe\";\n\
                  /* unsafe /* } */ */ let c = r#\"unsafe \"{\"#; let d = '\\''; let e = b'{';\n\
                  fn f<'a>(x: &'a u8) -> Result<(), u8> { unsafe_code(); }\n";
    let code = code_of(source);
    assert_eq!(code.lines().count(), source.lines().count());
    assert_eq!(line_of(&code, "unsafe"), None, "{code}");
    assert_eq!(line_of(&code, "unsafe_code"), Some(4));
    assert_eq!(functions(&code), [("f".to_owned(), 1)]);

    let tested = "#[cfg(test)]\nmod tests { fn a() { b() } }\nenum E { #[cfg(test)] A(u8), B }";
    let rest = without_tests(tested);
    assert!(!rest.contains("tests") && !rest.contains('A') && rest.contains('B'), "{rest}");

    assert!(names_std_instant("use std::time::{Duration, Instant};"));
    assert!(!names_std_instant("use std::time::Duration; use super::Instant;"));
}
