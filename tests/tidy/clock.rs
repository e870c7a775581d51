//! Clocks, sleeps, and orders that differ from run to run.

use super::source::{line_of, names_std_instant, sources, without_tests};
use super::{assert_all_exist, assert_none};

/// The files of `src` that look at a clock or sleep without the loop's doing.
const CLOCK_FILES: &[&str] = &[
    "src/driver/uring/setup.rs",  // waits for memory; there is no loop yet
    "src/driver/uring/timing.rs", // waits for a timeout; there is no loop yet
    "src/runtime/turn.rs",        // the break of a loop that spins
    "src/primitives.rs",          // a shutdown that waits for another thread's wake
    "src/sys/clock.rs",           // the one clock
];

/// The layers of the load tester that read no clock: a time is an argument.
const LOADTEST_WITHOUT_CLOCK: &[&str] =
    &["analysis", "base", "measure", "plan", "protocol", "report"];

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

/// Goal: in the load tester, the layers that compute and render are functions of their arguments.
///
/// Method: readings of clocks and sleeps in the code of [`LOADTEST_WITHOUT_CLOCK`] outside of
/// tests.
///
/// Kills: `Instant::now()` in `measure/`; an age by `elapsed()` in a renderer.
#[test]
fn layers_without_a_clock_are_given_the_time() {
    let readings = ["Instant::now", "SystemTime::now", "elapsed", "thread::sleep"];
    let mut wrong = Vec::new();
    for layer in LOADTEST_WITHOUT_CLOCK {
        for file in sources(&format!("loadtest/src/{layer}")) {
            let code = without_tests(&file.code);
            for word in readings.iter().filter(|_| !file.is_test()) {
                if let Some(line) = line_of(&code, word) {
                    wrong.push(format!("{}:{line}: `{word}`", file.path));
                }
            }
        }
    }
    assert_none(&wrong);
}
