//! The table of bounds in ARCHITECTURE.md, compared with the constants of `src`.
//!
//! The form of a row: the first column has the names, in backquotes; the second has their files,
//! below `src`; the third has one value for each name, in the same order and separated by commas.
//! A value is a number, with spaces between groups of digits, and a unit if it has one; words may
//! follow. An array has a value for each element. The last column is prose.

use std::fs;

use super::assert_none;
use super::constants::{Constant, constant};
use super::source::{Source, root, sources};

const SIZES: &[(&str, u128)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

const TIMES_NS: &[(&str, u128)] =
    &[("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// Goal: each bound of the table is a constant of the file that the table names, with the value
/// that the table has.
///
/// Method: for each row, compute the constants of its first column from the files of its second,
/// and compare them with its third. Settings of the program are in lower case and have no
/// constant; `Pool::is_scarce` is a function.
///
/// Kills: a constant that was renamed, moved, removed or changed and is still in the table; 1000
/// for `SHUTDOWN_ROUNDS_MAX`; `1 s` for a bound of one millisecond; a value too few.
#[test]
fn bounds_are_those_of_the_table() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document");
    let (_, section) = text.split_once("\n## Bounds\n").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let all = sources("src");
    let mut wrong = Vec::new();
    let mut found_count = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        match differences(row, &all) {
            Ok(count) => found_count += count,
            Err(why) => wrong.push(why),
        }
    }
    assert!(found_count > 50 || !wrong.is_empty(), "{found_count} bounds: the table was not read");
    assert_none(&wrong);
}

/// The number of constants of one row, or what is wrong with it.
fn differences(row: &str, all: &[&Source]) -> Result<usize, String> {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [bounds, files, values, _] = cells[..] else {
        return Err(format!("not four columns: {row}"));
    };
    let is_named = |file: &&Source| names(files).any(|name| file.path == format!("src/{name}"));
    let mut places: Vec<&Source> = all.iter().copied().filter(is_named).collect();
    let named_count = places.len();
    // A constant may be computed from one of another file.
    places.extend(all.iter().copied().filter(|file| !file.is_test()));
    let (mut expected, mut count) = (Vec::new(), 0);
    for bound in names(bounds) {
        let name = bound.rsplit("::").next().expect("a name");
        if name.chars().all(|letter| letter.is_lowercase() || letter == '_') {
            let is_function = |file: &&Source| file.code.contains(&format!("fn {name}("));
            if name != bound && !places[..named_count].iter().any(is_function) {
                return Err(format!("{bound} is not in {files}"));
            }
            continue;
        }
        if constant(name, &places[..named_count]).is_none() {
            return Err(format!("{bound} is not in {files}"));
        }
        let Constant { values, is_time } = constant(name, &places).expect("found above")?;
        expected.extend(values.into_iter().map(|value| (name, value, is_time)));
        count += 1;
    }
    if expected.is_empty() {
        return Ok(count);
    }
    let given: Vec<&str> = values.split(',').map(str::trim).collect();
    if given.len() != expected.len() {
        return Err(format!("{bounds}: {} values for {}", given.len(), expected.len()));
    }
    for (given, (name, value, is_time)) in given.into_iter().zip(expected) {
        if number(given, is_time) != Some(value) {
            return Err(format!("{name} is {value}, the table has `{given}`"));
        }
    }
    Ok(count)
}

/// The names in backquotes of one cell.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The number at the start of a value, in bytes, nanoseconds or pieces. A time has a unit.
fn number(given: &str, is_time: bool) -> Option<u128> {
    let is_digit = |c: char| c.is_ascii_digit() || c == ' ' || c == '\u{a0}';
    let digits_len = given.find(|c| !is_digit(c)).unwrap_or(given.len());
    let digits: String = given[..digits_len].chars().filter(char::is_ascii_digit).collect();
    let unit = given[digits_len..].split_whitespace().next().unwrap_or("");
    let units = if is_time { TIMES_NS } else { SIZES };
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = if is_time { factor? } else { factor.unwrap_or(1) };
    Some(digits.parse::<u128>().ok()? * factor)
}
