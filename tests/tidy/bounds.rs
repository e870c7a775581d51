//! The table of bounds in ARCHITECTURE.md, compared with the sources.

use std::fs;

use super::assert_none;
use super::source::root;

/// The names in backquotes of one cell.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Goal: each bound that the table names is a constant of the file that the table names.
///
/// Method: for each row, search the files of its second column for the names of its first. Settings
/// of the program are in lower case and have no constant; `Pool::is_scarce` is a function.
///
/// Kills: a constant that was renamed, moved or removed and is still in the table.
#[test]
fn bounds_are_where_the_table_has_them() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document");
    let (_, section) = text.split_once("\n## Bounds\n").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut wrong = Vec::new();
    let mut found_count = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.trim_matches('|').split(" | ");
        let (bounds, files) = (cells.next().expect("a name"), cells.next().expect("a file"));
        let sources: Vec<String> = names(files)
            .map(|file| fs::read_to_string(root().join("src").join(file)).unwrap_or_default())
            .collect();
        for bound in names(bounds) {
            let name = bound.rsplit("::").next().expect("a name");
            if name.chars().all(|letter| letter.is_lowercase() || letter == '_') && name == bound {
                continue; // a setting
            }
            let forms = [format!("const {name}:"), format!("fn {name}(")];
            let has = |source: &String| forms.iter().any(|form| source.contains(form));
            match sources.iter().any(has) {
                true => found_count += 1,
                false => wrong.push(format!("{bound} is not in {files}")),
            }
        }
    }
    assert!(found_count > 50, "{found_count} bounds: the table was not read");
    assert_none(&wrong);
}
