//! Soaks: a million rounds of one mechanism, after which nothing is lost and no memory is kept.
//!
//! ```text
//! cargo test --test soak                  a short run of each soak, on each driver
//! cargo test --test soak -- select        of those whose name contains the word
//! scripts/soak.sh [NAME]...               a million rounds each, in a release build
//! ```
//!
//! `RINGLOOP_SOAK_ROUNDS` sets the number of rounds, and `RINGLOOP_DRIVER` the driver. A new soak
//! is a file here and a row of [`SOAKS`].

mod blocking_jobs;
#[path = "../common/mod.rs"]
mod common;
mod progress;
mod remote_wakes;
mod select;

use std::time::Duration;

use ringloop::{Builder, DriverChoice, Runtime};

use common::{scaled, within_as};
use progress::Progress;

/// A soak: its name, the rounds of a short run, and the function that runs them.
type Soak = (&'static str, u64, fn(&Runtime, &mut Progress));

const SOAKS: &[Soak] = &[
    ("select", 20_000, select::soak),
    ("remote_wakes", 20_000, remote_wakes::soak),
    ("blocking_jobs", 10_000, blocking_jobs::soak),
];

/// A soak that takes longer counts as hung. A million rounds take minutes.
const LIMIT: Duration = Duration::from_secs(1800);

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let rounds: Option<u64> = std::env::var("RINGLOOP_SOAK_ROUNDS")
        .ok()
        .map(|text| text.parse().expect("RINGLOOP_SOAK_ROUNDS is a number of rounds"));
    let mut passed_count = 0;
    for &(name, short, soak) in SOAKS {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        for choice in drivers() {
            let title = format!("{name} on {choice:?}").to_lowercase();
            let mut progress =
                Progress::new(title.clone(), rounds.unwrap_or_else(|| scaled(short)));
            within_as(&title, LIMIT, || {
                let runtime = Builder::new().driver(choice).build();
                soak(&runtime.unwrap_or_else(|error| panic!("{error}")), &mut progress);
            });
            progress.finish();
            passed_count += 1;
        }
    }
    println!("{passed_count} passed, 0 failed");
}

/// The driver that the environment selects, or each of this machine.
fn drivers() -> Vec<DriverChoice> {
    match std::env::var("RINGLOOP_DRIVER").as_deref() {
        Ok("uring") => vec![DriverChoice::Uring],
        Ok("epoll") => vec![DriverChoice::Epoll],
        _ => match Builder::new().driver(DriverChoice::Uring).build() {
            Ok(_) => vec![DriverChoice::Uring, DriverChoice::Epoll],
            Err(error) => {
                println!("SKIP uring: {error}");
                vec![DriverChoice::Epoll]
            }
        },
    }
}
