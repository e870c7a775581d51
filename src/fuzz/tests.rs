//! Seeded runs.
//!
//! `RINGLOOP_FUZZ_RUNS` is how many, `RINGLOOP_FUZZ_SEED` the first seed; the seeds are
//! consecutive.
//! `RINGLOOP_FUZZ_BYTES` (hexadecimal) runs one input and prints what happened.
//! `RINGLOOP_FUZZ_SHRINK=0` leaves a failing input as it is.

use std::cell::Cell;
use std::io::Write as _;

use super::choices::Random;
use super::shrink::shrink;
use super::{Detail, descriptors, run};

/// Runs without further orders: some seconds in a debug build.
const RUNS: u64 = 3_000;

/// One seed in so many is run twice.
const REPEAT_EVERY: u64 = 16;

/// The bytes of a seed.
fn bytes_of_seed(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let len = match random.next() % 8 {
        0 => 16 + random.next() % 48,
        7 => 400 + random.next() % 800,
        _ => 64 + random.next() % 336,
    };
    (0..len).map(|_| (random.next() >> 24) as u8).collect()
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}"); // not captured
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

thread_local! {
    /// The run of this thread: its place and its seed.
    static RUNNING: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// A panic inside a run is reported at once, as a second one would end the process.
fn report_panics() {
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match RUNNING.take() {
        Some((index, seed)) => say_found(index, seed, &format!("{info}")),
        None => former(info),
    }));
}

fn say_found(index: u64, seed: u64, what: &str) {
    say(&format!(
        "fuzz: found after {index} runs\nfuzz: seed {seed}: {what}\n  again: \
         RINGLOOP_FUZZ_SEED={seed} RINGLOOP_FUZZ_RUNS=1 cargo test -p ringloop --lib fuzz::tests"
    ));
}

/// Prints a failing input in its shortest form.
fn explain(violation: &str, bytes: &[u8]) {
    if std::env::var("RINGLOOP_FUZZ_SHRINK").as_deref() == Ok("0") {
        return;
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let short = shrink(bytes, violation);
    let shortest = run(&short, Detail::Lines);
    std::panic::set_hook(hook);
    let lines = shortest.lines.join("\n    ");
    let digits = hex(&short);
    say(&format!(
        "  shortest: RINGLOOP_FUZZ_BYTES={digits}\n    {lines}\n  {:?}",
        shortest.violation
    ));
}

/// Goal: whatever the program does and whatever the kernel answers, no byte, descriptor, buffer,
/// completion or wake-up is lost or doubled, and nothing is left at the end.
/// Method: seeded runs against the oracle; see the module. One seed in sixteen is run twice and has
/// to give the same trace.
/// Kills: the bugs of `tests/planted`.
#[test]
fn no_seed_of_the_fuzzer_finds_a_violation() {
    descriptors::isolate();
    if let Ok(text) = std::env::var("RINGLOOP_FUZZ_BYTES") {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let outcome = run(&bytes, Detail::Lines);
        say(&format!("    {}\n  {:?}", outcome.lines.join("\n    "), outcome.violation));
        assert_eq!(outcome.violation, None);
        return;
    }
    let first = number_of("RINGLOOP_FUZZ_SEED").unwrap_or(1);
    let runs = number_of("RINGLOOP_FUZZ_RUNS");
    let count = runs.unwrap_or(RUNS);
    assert!(count > 0, "no run was asked for");
    report_panics();
    for index in 0..count {
        let seed = first + index;
        let bytes = bytes_of_seed(seed);
        RUNNING.set(Some((index + 1, seed)));
        let outcome = run(&bytes, Detail::Hash);
        if let Some(violation) = outcome.violation {
            if RUNNING.take().is_some() {
                say_found(index + 1, seed, &violation);
            }
            explain(&violation, &bytes);
            panic!("seed {seed}: {violation}");
        }
        if seed.is_multiple_of(REPEAT_EVERY) {
            let again = run(&bytes, Detail::Hash);
            RUNNING.set(None);
            assert_eq!(again.hash, outcome.hash, "seed {seed}: two traces of the same bytes");
        }
        RUNNING.set(None);
        if runs.is_some() && count >= 10 && (index + 1) % (count / 10) == 0 {
            say(&format!("fuzz: {} of {count} runs", index + 1));
        }
    }
}
