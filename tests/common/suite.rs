//! A list of bodies, run on every driver of this machine, for the conformance suite and the hostile
//! suite. The header of `tests/conformance/main.rs` describes the environment and the
//! counts.
#![allow(dead_code)] // each test binary uses its own part

use std::future::Future;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};
use ringloop::{Builder, DriverChoice, Runtime};

use crate::common::{LIMIT, within_as};

/// The driver on which a body runs.
#[derive(Clone, Copy)]
pub(crate) struct Driver {
    name: &'static str,
    choice: DriverChoice,
}

impl Driver {
    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    pub(crate) fn builder(self) -> Builder {
        Builder::new().driver(self.choice)
    }

    pub(crate) fn runtime(self) -> Runtime {
        self.builder().build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs `future` on a fresh loop.
    pub(crate) fn run<F: Future>(self, future: F) -> F::Output {
        self.runtime().block_on(future)
    }
}

/// One behaviour.
pub(crate) struct Body {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Driver),
}

/// A table of bodies, by the names of the functions.
macro_rules! bodies {
    ($($name:ident),* $(,)?) => {
        &[$($crate::suite::Body { name: stringify!($name), run: $name }),*]
    };
}
pub(crate) use bodies;

const URING: Driver = Driver { name: "uring", choice: DriverChoice::Uring };
const EPOLL: Driver = Driver { name: "epoll", choice: DriverChoice::Epoll };

/// Held for reading by ordinary trials, for writing by those that must run alone.
static PROCESS: RwLock<()> = RwLock::new(());

/// The results of the trials of one driver.
#[derive(Default)]
struct Tally {
    begun: AtomicU32,
    passed: AtomicU32,
}

/// Runs every body on every driver of this machine, and counts per driver. Bodies of `alone` run
/// while no other body does.
pub(crate) fn run(shared: &[&'static [Body]], alone: &[&'static [Body]]) -> ExitCode {
    let arguments = Arguments::from_args();
    let forced = std::env::var("RINGLOOP_DRIVER").unwrap_or_default();
    let drivers = match forced.as_str() {
        "" | "auto" => vec![URING, EPOLL],
        "uring" => vec![URING],
        "epoll" => vec![EPOLL],
        other => panic!("RINGLOOP_DRIVER must be auto, uring or epoll, not {other:?}"),
    };
    // Only io_uring may be missing, and only if `RINGLOOP_DRIVER` does not select it.
    let refusal = match drivers.len() {
        1 => None,
        _ => URING.builder().build().err(),
    };
    if let Some(error) = refusal.as_ref().filter(|_| !arguments.list) {
        println!("SKIP uring: {error}");
    }

    let mut tallies = Vec::new();
    let mut trials = Vec::new();
    for driver in drivers {
        let tally = Arc::new(Tally::default());
        let is_skipped = driver.choice == DriverChoice::Uring && refusal.is_some();
        trials.extend(
            all_trials(driver, shared, alone, &tally)
                .map(|trial| trial.with_ignored_flag(is_skipped)),
        );
        tallies.push((driver, is_skipped, tally));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for (driver, is_skipped, tally) in tallies.iter().filter(|_| !arguments.list) {
        let passed = tally.passed.load(Ordering::Relaxed);
        let failed = tally.begun.load(Ordering::Relaxed) - passed;
        let skipped = if *is_skipped { conclusion.num_ignored } else { 0 };
        println!("{}: {passed} passed, {failed} failed, {skipped} skipped", driver.name);
    }
    conclusion.exit_code()
}

/// One trial per body.
fn all_trials(
    driver: Driver,
    shared: &[&'static [Body]],
    alone: &[&'static [Body]],
    tally: &Arc<Tally>,
) -> impl Iterator<Item = Trial> {
    let shared = shared.iter().flat_map(|table| table.iter()).map(|body| (body, false));
    let alone = alone.iter().flat_map(|table| table.iter()).map(|body| (body, true));
    shared.chain(alone).map(move |(body, is_alone)| {
        let name = format!("{}::{}", driver.name, body.name);
        let tally = Arc::clone(tally);
        Trial::test(name.clone(), move || {
            attempt(driver, body, &name, is_alone, &tally);
            Ok(())
        })
    })
}

/// Runs one trial under the watchdog, alone if it must.
fn attempt(driver: Driver, body: &Body, name: &str, is_alone: bool, tally: &Tally) {
    let run = || {
        tally.begun.fetch_add(1, Ordering::Relaxed);
        within_as(name, LIMIT, || (body.run)(driver));
        tally.passed.fetch_add(1, Ordering::Relaxed);
    };
    // A failed trial has poisoned the lock. The others still run.
    if is_alone {
        let _alone = PROCESS.write().unwrap_or_else(PoisonError::into_inner);
        run();
    } else {
        let _shared = PROCESS.read().unwrap_or_else(PoisonError::into_inner);
        run();
    }
}
