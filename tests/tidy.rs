//! What the compiler does not check: layers, unsafe code, clocks, lengths, leftovers.
//!
//! These tests read the sources and nothing else. Comments and the contents of strings are blanked
//! first, so that a word in prose never counts (`source`). Every list below is exact: an entry
//! that is no longer needed fails as well, so a list never permits more than it has to.

#[path = "tidy/bounds.rs"]
mod bounds;
#[path = "tidy/constants.rs"]
mod constants;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/leaves.rs"]
mod leaves;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{
    crate_paths, everything, functions, line_at, line_of, names_std_instant, root, sources,
    without_tests, words,
};

/// What each top-level module may name of the others. An entry covers the paths below it.
const LAYERS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("buf", &["sys::memory"]),
    ("error", &["driver::DriverKind"]),
    ("documents", &[]),
    ("driver", &["buf", "sys"]),
    ("op", &["buf", "driver::request", "sys::errno"]),
    ("loop_id", &["sys::fork"]),
    ("reactor", &["buf", "driver", "error", "loop_id", "op::OpResult", "sys::errno"]),
    ("primitives", &[]),
    ("task", &["error", "loop_id", "primitives"]),
    ("runtime", &["buf", "driver", "error", "loop_id", "reactor", "sys::stderr", "task"]),
    ("spawn", &["runtime::context", "task"]),
    ("time", &["reactor", "runtime::Core", "runtime::context", "sys::clock", "task"]),
    (
        "io",
        &["driver::request", "loop_id", "op", "reactor", "runtime::context", "sys::errno", "task"],
    ),
    (
        "net",
        &[
            "buf",
            "driver::request",
            "error",
            "loop_id",
            "op",
            "primitives",
            "reactor",
            "runtime::context",
            "sys::errno",
            "sys::fork",
            "sys::inherited",
            "sys::socket",
            "task",
            "time",
        ],
    ),
];

/// Imports against the direction, each with its reason.
const LAYER_EXCEPTIONS: &[(&str, &str)] = &[
    // The probe accepts a connection before there is an op table, and has to own the descriptor.
    ("src/driver/uring/probe.rs", "op::accept::adopt"),
];

/// Words of other crates and of std, and the only places of `src` that may say them.
const OUTSIDERS: &[(&str, &[&str])] = &[
    ("async_task", &["src/task/"]),
    ("io_uring", &["src/driver/uring/"]),
    ("libc", &["src/driver/", "src/sys/"]),
    ("socket2", &["src/driver/uring/probe.rs", "src/net/", "src/op/connect.rs"]),
    // Drivers deal in keys; who waits for one is known only above. Buffers and operations are data.
    (
        "std::task",
        &["src/io/", "src/net/", "src/reactor/", "src/runtime/", "src/task/", "src/time/"],
    ),
];

/// The files with unsafe code. Each says `#![allow(unsafe_code)]` and why.
const UNSAFE_FILES: &[&str] = &[
    "loadtest/src/sys.rs",
    "src/buf/pool.rs",
    "src/driver/epoll/mod.rs",
    "src/driver/uring/ring.rs",
    "src/driver/uring/scripted.rs",
    "src/fuzz/descriptors.rs",
    "src/fuzz/memory.rs",
    "src/op/accept.rs",
    "src/sys/clock.rs",
    "src/sys/epoll.rs",
    "src/sys/eventfd.rs",
    "src/sys/fork.rs",
    "src/sys/inherited.rs",
    "src/sys/memory.rs",
    "src/sys/stderr.rs",
    "src/sys/socket.rs",
    "tests/allocations.rs",
    "tests/async_fd/readiness.rs",
    "tests/common/limits.rs",
    "tests/denied/server.rs",
    "tests/denied/syscalls.rs",
    "tests/races/primitives.rs",
    "tests/hostile/counting.rs",
    "tests/forked.rs",
    "tests/forked/process.rs",
];

/// The files of `src` that look at a clock or sleep without the loop's doing.
const CLOCK_FILES: &[&str] = &[
    "src/driver/uring/setup.rs",  // waits for memory; there is no loop yet
    "src/driver/uring/timing.rs", // waits for a timeout; there is no loop yet
    "src/runtime/turn.rs",        // the break of a loop that spins
    "src/primitives.rs",          // a shutdown that waits for another thread's wake
    "src/sys/clock.rs",           // the one clock
];

const FILE_LINES_MAX: usize = 500;
const LONG_FILES: &[&str] = &[];

const FUNCTION_LINES_MAX: usize = 70;
const LONG_FUNCTIONS: &[&str] = &[];

/// What must not be left behind.
const LEFTOVERS: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore", "unbounded"];

/// Goal: imports go one way, `net, time → op → reactor → driver → sys`, and a layer knows no more
/// than [`LAYERS`] says.
///
/// Method: every `crate::` path outside test code, and what `super::` reaches of the crate's root,
/// against the table. Words of outsiders against theirs.
///
/// Kills: `use crate::reactor::Reactor` in `driver/`; `std::task::Waker` in `driver/`; a `libc`
/// call in `net/`; an entry nobody uses.
#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for file in sources("src") {
        let module = file.module();
        if file.is_test() || module == "lib" {
            continue;
        }
        let code = without_tests(&file.code);
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{}: `{module}` has no row in LAYERS", file.path));
        for (path, line) in crate_paths(&code, file.depth()) {
            let covers = |entry: &&&str| path == **entry || path.starts_with(&format!("{entry}::"));
            if path == module || path.starts_with(&format!("{module}::")) {
                continue;
            }
            if let Some(entry) = allowed.iter().find(covers) {
                used.insert((module.clone(), (*entry).to_owned()));
            } else if LAYER_EXCEPTIONS.contains(&(file.path.as_str(), path.as_str())) {
                used.insert((file.path.clone(), path));
            } else {
                wrong.push(format!("{}:{line}: `{module}` uses `crate::{path}`", file.path));
            }
        }
        for (word, places) in OUTSIDERS {
            let is_place = places.iter().any(|place| file.path.starts_with(place));
            if !is_place && let Some(line) = line_of(&code, word) {
                wrong.push(format!("{}:{line}: `{word}`", file.path));
            }
        }
    }
    let table =
        LAYERS.iter().flat_map(|(module, entries)| entries.iter().map(move |e| (module, e)));
    let exceptions = LAYER_EXCEPTIONS.iter().map(|(file, path)| (file, path));
    for (place, entry) in table.chain(exceptions) {
        if !used.contains(&((*place).to_owned(), (*entry).to_owned())) {
            wrong.push(format!("nobody in `{place}` uses `crate::{entry}` any more"));
        }
    }
    assert_none(&wrong);
}

/// Goal: unsafe code is in the files that the list names, and nowhere else.
///
/// Method: the keyword in the code of every file of the workspace, and the attribute that allows
/// it, against [`UNSAFE_FILES`].
///
/// Kills: an unsafe block in another file, with or without the attribute; the attribute on a file
/// that does not need it; an entry that is no longer true.
#[test]
fn unsafe_code_is_in_named_files() {
    let mut wrong = Vec::new();
    for file in everything() {
        let is_named = UNSAFE_FILES.contains(&file.path.as_str());
        let has_unsafe = line_of(&file.code, "unsafe").is_some();
        let has_attribute = file.code.contains("#![allow(unsafe_code)]");
        // Anything narrower than a file would hide in it.
        let mentions = words(&file.code, "unsafe_code").len();
        if (has_unsafe, has_attribute, mentions) != (is_named, is_named, usize::from(is_named)) {
            wrong.push(format!(
                "{}: on the list {is_named}, unsafe {has_unsafe}, file attribute {has_attribute}, \
                 {mentions} mentions of the lint",
                file.path
            ));
        }
    }
    assert_all_exist(UNSAFE_FILES, &mut wrong);
    assert_none(&wrong);
}

/// Goal: the library has one clock, and nothing in it sleeps behind the loop's back or depends on
/// the order of a hash.
///
/// Method: std's clocks, its sleep and its hash tables in the code of `src`.
///
/// Kills: `std::time::Instant` in place of the loop's; `thread::sleep` in a turn; a `HashMap`.
#[test]
fn there_is_one_clock() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let clock_words = ["clock_gettime", "SystemTime", "thread::sleep"];
        let mut uses = clock_words.iter().any(|word| line_of(&file.code, word).is_some());
        uses |= names_std_instant(&file.code);
        if uses != CLOCK_FILES.contains(&file.path.as_str()) {
            wrong.push(format!("{}: a clock or a sleep of std: {uses}", file.path));
        }
        for word in ["HashMap", "HashSet", "RandomState"] {
            if let Some(line) = line_of(&file.code, word) {
                wrong.push(format!("{}:{line}: {word}", file.path));
            }
        }
    }
    assert_all_exist(CLOCK_FILES, &mut wrong);
    assert_none(&wrong);
}

/// Goal: a file can be read in one sitting and a function on one screen.
///
/// Method: count lines of every file; match the braces of every `fn` of `src`.
///
/// Kills: a file of 501 lines, a function of 71; an entry of something that has become short.
#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    let mut long_functions = BTreeSet::new();
    for file in everything() {
        let lines_count = file.code.lines().count();
        let is_long = lines_count > FILE_LINES_MAX;
        if is_long != LONG_FILES.contains(&file.path.as_str()) {
            wrong.push(format!("{}: {lines_count} lines", file.path));
        }
        if !file.path.starts_with("src/") {
            continue;
        }
        for (name, lines_count) in functions(&file.code) {
            if lines_count > FUNCTION_LINES_MAX {
                let place = format!("{}::{name}", file.path);
                if !LONG_FUNCTIONS.contains(&place.as_str()) {
                    wrong.push(format!("{place}: {lines_count} lines"));
                }
                long_functions.insert(place);
            }
        }
    }
    for place in LONG_FUNCTIONS {
        if !long_functions.contains(*place) {
            wrong.push(format!("{place} is on the list and not long"));
        }
    }
    assert_all_exist(LONG_FILES, &mut wrong);
    assert_none(&wrong);
}

/// Goal: nothing unfinished, switched off or without a limit is left behind.
///
/// Method: the words in the code of every file.
///
/// Kills: `todo!()`; a test that is ignored; a channel called unbounded.
#[test]
fn nothing_is_left_behind() {
    let mut wrong = Vec::new();
    for file in everything() {
        for word in LEFTOVERS {
            if let Some(at) = file.code.find(word) {
                let line = line_at(&file.code, at);
                wrong.push(format!("{}:{line}: {word}", file.path));
            }
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
