//! What the vocabulary costs: each operation on ringloop and on tokio, in one process.
//!
//! ```text
//! vocabulary [--rounds 7] [--only NAME]
//! ```
//!
//! Each round runs every contestant once per operation, in turn, so that other activity of the
//! machine affects all of them alike. A claim needs both ratios, that of the minima and that of the
//! medians. The contestants are this library, tokio's current-thread runtime with `tokio::spawn`,
//! and the same runtime with a `LocalSet`, whose tasks need not be `Send`.

mod on_localset;
mod on_ringloop;
mod on_tokio;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use table::Table;

/// Runs one operation `count` times, and returns how long that took.
pub(crate) type Run = fn(count: u32) -> Duration;

/// An operation, with how it is run on each contestant.
struct Operation {
    name: &'static str,
    count: u32,
    runs: [Run; CONTESTANTS.len()],
}

const CONTESTANTS: [&str; 3] = ["ringloop", "tokio", "LocalSet"];

macro_rules! operations {
    ($($name:literal, $count:literal, $function:ident;)*) => {
        &[$(Operation {
            name: $name,
            count: $count,
            runs: [on_ringloop::$function, on_tokio::$function, on_localset::$function],
        }),*]
    };
}

const OPERATIONS: &[Operation] = operations![
    "spawn and join, one at a time", 200_000, spawn_join;
    "spawn 1000, then join them", 200_000, spawn_many;
    "yield, one task", 500_000, yield_alone;
    "yield, 100 tasks", 500_000, yield_among;
    "select of two", 500_000, select_of_two;
    "mpsc, send and receive", 500_000, mpsc_stream;
    "semaphore, free", 1_000_000, semaphore_free;
    "semaphore, four tasks", 200_000, semaphore_contended;
    "oneshot, there and back", 100_000, oneshot_round;
    "spawn_blocking, and back", 20_000, blocking_round;
    "wake from another thread, and reply", 20_000, remote_wake;
];

const USAGE: &str = "usage: vocabulary [--rounds 7] [--only PART-OF-A-NAME]";

fn main() -> ExitCode {
    let (mut rounds, mut only) = (7, String::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--rounds", Some(value)) if value.parse::<usize>().is_ok_and(|n| n > 0) => {
                rounds = value.parse().expect("parsed above");
            }
            ("--only", Some(value)) => only = value,
            _ => {
                eprintln!("{arg}: not understood\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let mut table = Table::new(&CONTESTANTS);
    for operation in OPERATIONS.iter().filter(|operation| operation.name.contains(&only)) {
        let mut ns = vec![Vec::new(); CONTESTANTS.len()];
        for round in 0..=rounds {
            for (run, ns) in operation.runs.iter().zip(&mut ns) {
                let took = run(operation.count);
                if round > 0 {
                    // The first round warms caches and allocators.
                    ns.push(took.as_nanos() as f64 / f64::from(operation.count));
                }
            }
        }
        table.add(operation.name, ns);
        eprintln!("{}: done", operation.name);
    }
    print!("{table}");
    ExitCode::SUCCESS
}

/// Runs `body` and returns how long it took.
pub(crate) async fn timed(body: impl Future<Output = ()>) -> Duration {
    let begun = Instant::now();
    body.await;
    begun.elapsed()
}

/// With the drivers of I/O and time, as `tokio::main` makes it. Without them a turn makes no system
/// call and a wake needs no descriptor, but the runtime cannot serve connections.
pub(crate) fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
