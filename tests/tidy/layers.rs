//! Layers: what each module may import.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Import, crate_paths, imports};
use super::source::{line_of, sources, without_tests};
use super::{assert_none, assert_only};

/// What each top-level module may name of the others. An entry covers the paths below it.
const LAYERS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("buf", &["sys::memory"]),
    ("error", &["driver::DriverKind"]),
    ("documents", &[]),
    ("enumeration", &[]),
    ("driver", &["buf", "sys"]),
    ("op", &["buf", "driver::request", "sys::errno"]),
    ("loop_id", &["sys::fork"]),
    ("reactor", &["buf", "driver", "error", "loop_id", "op::OpResult", "sys::errno"]),
    ("primitives", &[]),
    ("task", &["__join", "__select", "error", "loop_id", "primitives", "sync", "task_local"]),
    ("sync", &["error", "loop_id", "primitives", "task::coop", "task::park", "task::queue"]),
    (
        "runtime",
        &["buf", "driver", "error", "loop_id", "reactor", "sys::signal", "sys::stderr", "task"],
    ),
    (
        "signal",
        &[
            "reactor",
            "runtime::Core",
            "runtime::Listening",
            "runtime::SignalListener",
            "runtime::context",
            "sync::waker_cell",
            "sys::signal",
            "task",
        ],
    ),
    (
        "testing",
        &["driver", "reactor", "runtime::builder", "runtime::context", "sys::stderr", "task"],
    ),
    (
        "time",
        &[
            "reactor",
            "runtime::Core",
            "runtime::Runtime",
            "runtime::context",
            "sync::waker_cell",
            "sys::clock",
            "task",
            "testing",
        ],
    ),
    (
        "io",
        &[
            "driver::request",
            "loop_id",
            "op",
            "reactor",
            "runtime::context",
            "sync::wait_list",
            "sys::errno",
            "task",
        ],
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
            "sync::CancellationToken",
            "sync::wait_list",
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
        &[
            "src/enumeration.rs",
            "src/io/",
            "src/net/",
            "src/reactor/",
            "src/runtime/",
            "src/signal/",
            "src/sync/",
            "src/task/",
            "src/testing/",
            "src/time/",
        ],
    ),
];

/// The layers of the load tester, from top to bottom. A layer imports only from those below it.
const LOADTEST_LAYERS: &[&str] = &[
    "cli", "doctor", "series", "run", "worker", "serve", "protocol", "net", "analysis", "report",
    "plan", "measure", "host", "base",
];

/// Directories of the load tester that may import only some files of another layer.
const LOADTEST_PARTS: &[(&str, &str, &str)] = &[
    // Conclusions are drawn from data, whatever it looks like in an output.
    ("loadtest/src/analysis/", "loadtest/src/report/", "loadtest/src/report/model/"),
    // The model is data: renderers depend on it, not the other way round.
    ("loadtest/src/report/model/", "loadtest/src/report/", "loadtest/src/report/model/"),
];

/// Imports of the load tester against the direction.
const LOADTEST_EXCEPTIONS: &[&str] = &[];

/// Goal: imports go one way, `net, time → op → reactor → driver → sys`, and a layer knows no more
/// than [`LAYERS`] says.
///
/// Method: every `crate::` path outside test code, and what `super::` reaches of the crate's root,
/// against the table. Words of outsiders against theirs.
///
/// Kills: `use crate::reactor::Reactor` in `driver/`; `std::task::Waker` in `driver/`; a `libc`
/// call in `net/`; an entry that is not used.
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
            wrong.push(format!("`{place}` no longer uses `crate::{entry}`"));
        }
    }
    assert_none(&wrong);
}

/// Goal: the load tester is built in layers: a layer is understood from those below it.
///
/// Method: each import between files of different layers goes down [`LOADTEST_LAYERS`], and those
/// of [`LOADTEST_PARTS`] reach only the files that they may.
///
/// Kills: `use crate::cli::Cli` in `run/`; a renderer of the report that imports a worker; a new
/// directory that is not on the list; a comparison that renders itself.
#[test]
fn imports_of_the_load_tester_go_down() {
    let layer = |file: &str| {
        let inner = file.strip_prefix("loadtest/src/").expect("a file of the load tester");
        let name = inner.split('/').next().expect("a name").trim_end_matches(".rs").to_owned();
        LOADTEST_LAYERS.iter().position(|layer| *layer == name).ok_or(name)
    };
    let mut wrong = BTreeMap::<String, String>::new();
    for Import { from, to, line } in imports("loadtest/src") {
        for (importer, layer, part) in LOADTEST_PARTS {
            if from.starts_with(importer) && to.starts_with(layer) && !to.starts_with(part) {
                let why = format!("imports {to} (line {line}), which is not in {part}");
                wrong.entry(from.clone()).or_default().push_str(&why);
            }
        }
        let why = match (layer(&from), layer(&to)) {
            (Ok(from), Ok(to)) if from <= to => continue,
            (Err(name), _) if name == "lib" => continue,
            (Ok(_), Ok(_)) => format!("imports {to} (line {line}), which is above"),
            (Err(name), _) | (_, Err(name)) => format!("`{name}` is not a layer of the list"),
        };
        wrong.entry(from).or_default().push_str(&why);
    }
    assert_only(&wrong, LOADTEST_EXCEPTIONS);
}
