//! No future of the library completes without spending the budget of its poll.
//!
//! `task/coop.rs` has the budget. A future that goes around it never yields in a loop, and then no
//! other task, timer or completion runs again. What is checked here is what a reviewer would look
//! for: where futures are made by hand, and where an async function may return without an await.

use std::collections::BTreeSet;

use crate::source::{Source, bodies, line_of, root, sources, without_tests, words};
use crate::{assert_all_exist, assert_none};

/// The files that may make a future of a poll function of their own.
const POLL_FN_FILES: &[&str] = &[
    "src/task/coop.rs",      // where leaves are made
    "src/task/yield_now.rs", // is pending once, whatever is left of the budget
];

/// Poll functions of hand-written futures and streams that need no leaf of their own: they are
/// ready only after a leaf of this list's second column, or of the program's, was ready.
const POLLS_ON_OTHERS: &[(&str, &str)] = &[
    ("src/net/serve/shared.rs::poll", "the accept of the listener"),
    ("src/task/abort_on_drop.rs::poll", "JoinHandle"),
    ("src/task/budget.rs::poll", "the future of the program, which asked for no budget"),
    ("src/task/local.rs::poll", "the future of the program"),
    ("src/task/supervised.rs::poll", "the future of the task"),
    ("src/task/cancel/shielded.rs::poll", "the future of the program"),
    ("src/task/group/child.rs::poll", "the future of the child, or a JoinHandle"),
    ("src/task/group/start.rs::poll", "the future of the child"),
    ("src/task/remote_join.rs::poll", "the future of the task"),
    ("src/time/interval.rs::poll_next", "poll_tick"),
    ("src/time/interval.rs::poll_tick", "Sleep"),
    ("src/time/op_deadline.rs::poll", "the operation, or Sleep"),
    ("src/time/timeout.rs::poll", "Sleep, or the future of the program"),
];

/// What spends the budget.
const LEAVES: &[&str] = &["coop::leaf", "coop::leaf_anywhere", "coop::combinator"];

/// The names of poll functions that others than this library call.
const POLL_NAMES: &[&str] = &["poll", "poll_next", "poll_tick"];

/// Where each public async function is polled in a loop.
const BUDGET_TESTS: &[&str] = &[
    "tests/conformance/budget.rs",
    "tests/vocabulary/budget.rs",
    "tests/vocabulary/budget/groups.rs",
    "tests/vocabulary/channel_budget.rs",
    "tests/vocabulary/lock_budget.rs",
];

/// Where each public async function is polled on another loop than its own.
const ELSEWHERE_TEST: &str = "tests/conformance/elsewhere.rs";

/// The modules whose async functions need no loop of their own.
const AT_HOME_EVERYWHERE: &[&str] = &["src/sync/", "src/task/"];

/// Goal: every future and stream of the library is polled through `coop::leaf`, and an async
/// function that is done before its first await spends the budget as well.
///
/// Method: `poll_fn` outside of [`POLL_FN_FILES`]; poll functions that do not name `coop::leaf`;
/// async functions with a `?` or a `return` before the first await, or without one; public async
/// functions that [`BUDGET_TESTS`] or [`ELSEWHERE_TEST`] do not call.
///
/// Kills: `poll_fn` in place of `coop::leaf_fn`; `return Ok(0)` for an empty slice; a new public
/// async function without a test; an entry that is no longer true.
#[test]
fn leaves_spend_the_budget() {
    let tested: BTreeSet<String> =
        BUDGET_TESTS.iter().flat_map(|test| names_called(test)).collect();
    let elsewhere = names_called(ELSEWHERE_TEST);
    let mut wrong = Vec::new();
    let mut exempt = BTreeSet::new();
    for file in sources("src").into_iter().filter(|file| !file.is_test()) {
        let code = without_tests(&file.code);
        let makes_futures = line_of(&code, "poll_fn").is_some();
        if makes_futures != POLL_FN_FILES.contains(&file.path.as_str()) {
            wrong.push(format!("{}: uses poll_fn: {makes_futures}", file.path));
        }
        for function in bodies(&code) {
            let place = format!("{}:{}: `{}`", file.path, function.line, function.name);
            if function.is_async && !makes_futures && may_end_before_an_await(&function.body) {
                wrong.push(format!("{place} may end without an await; use `coop::ready`"));
            }
            if function.is_async && function.is_public && !tested.contains(&function.name) {
                wrong.push(format!("{place} is not polled in a loop by {BUDGET_TESTS:?}"));
            }
            let needs_loop = !AT_HOME_EVERYWHERE.iter().any(|dir| file.path.starts_with(dir));
            let is_public = function.is_async && function.is_public;
            if is_public && needs_loop && !elsewhere.contains(&function.name) {
                wrong.push(format!("{place} is not polled elsewhere by {ELSEWHERE_TEST}"));
            }
            let is_poll = POLL_NAMES.contains(&function.name.as_str())
                && (function.is_public || is_in_a_trait(file, &function.name));
            if is_poll && LEAVES.iter().all(|leaf| words(&function.body, leaf).is_empty()) {
                let entry = format!("{}::{}", file.path, function.name);
                if !POLLS_ON_OTHERS.iter().any(|(known, _)| *known == entry) {
                    wrong.push(format!("{place} does not go through `coop::leaf`"));
                }
                exempt.insert(entry);
            }
        }
    }
    for (entry, _) in POLLS_ON_OTHERS.iter().filter(|(entry, _)| !exempt.contains(*entry)) {
        wrong.push(format!("{entry} is on the list and goes through `coop::leaf`, or is gone"));
    }
    assert_all_exist(POLL_FN_FILES, &mut wrong);
    assert_none(&wrong);
}

/// Whether control may leave an async function before its first await. A `return` of
/// `coop::ready` is an await.
fn may_end_before_an_await(body: &str) -> bool {
    let Some(first) = body.find(".await") else {
        return true;
    };
    let start = &body[..first];
    let returns = words(start, "return");
    let is_leaf = |end: usize| start[end..].trim_start().starts_with("coop::ready");
    start.contains('?') || returns.iter().any(|range| !is_leaf(range.end))
}

/// Whether a file implements `Future` or `Stream`, if that is where such a function belongs.
fn is_in_a_trait(file: &Source, name: &str) -> bool {
    let of_trait = match name {
        "poll" => "Future for",
        "poll_next" => "Stream for",
        _ => return false,
    };
    file.code.contains(of_trait)
}

/// The functions and methods that a test calls.
fn names_called(test: &str) -> BTreeSet<String> {
    let path = root().join(test);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{test}: {e}"));
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let calls = text.match_indices('(').map(|(at, _)| {
        let start = text[..at].rfind(|c: char| !is_name(c)).map_or(0, |before| before + 1);
        text[start..at].to_owned()
    });
    calls.collect()
}
