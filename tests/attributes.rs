//! `#[ringloop::main]` and `#[ringloop::test]`, used as a program uses them.
//!
//! `macros/src/expand/tests.rs` has what they refuse.

mod common;
#[path = "common/raising.rs"]
mod raising;

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::LIMIT;
use ringloop::testing::EachDriver;
use ringloop::time::{Instant, sleep};
use ringloop::{DriverChoice, DriverKind, Handle};

/// The variable with which a test below fails, for the test that looks at the failure.
const FAILS_ON: &str = "RINGLOOP_ATTRIBUTE_FAILS_ON";

const SIGINT: i32 = 2;

const HOUR: Duration = Duration::from_secs(3600);

fn kind() -> DriverKind {
    Handle::current().driver().kind()
}

/// Goal: the option `start_paused` reaches the runtime.
/// Method: an hour. Kills: an option that is not passed on: the hour takes its time.
#[ringloop::test(start_paused = true)]
async fn an_hour_takes_no_time() {
    let start = Instant::now();
    sleep(HOUR).await;
    assert_eq!(start.elapsed(), HOUR);
}

/// Goal: a test that selects a driver runs on it.
/// Method: the driver of the loop. Kills: an option that is not passed on.
#[ringloop::test(driver = "epoll")]
async fn a_driver_is_selected_by_name() {
    assert_eq!(kind(), DriverKind::Epoll);
}

/// Goal: a test may return what a test of the standard library may.
/// Method: a result, with `?`. Kills: an expansion for tests without an output only.
#[ringloop::test]
async fn a_test_may_return_a_result() -> Result<(), std::num::ParseIntError> {
    assert_eq!("42".parse::<u32>()?, 42);
    Ok(())
}

/// Goal: the attribute `should_panic` holds for the runs, on either side of the other attribute.
/// Method: a panic with the expected text. Kills: a report of the failed run that replaces the
/// panic.
#[should_panic(expected = "on every driver")]
#[ringloop::test]
async fn a_test_may_panic_as_expected() {
    panic!("on every driver");
}

/// Goal: as above, below the other attribute.
/// Method: as above. Kills: attributes that are looked for on one side only.
#[ringloop::test]
#[should_panic(expected = "on every driver")]
async fn a_test_may_panic_as_expected_below() {
    panic!("on every driver");
}

/// Fails in the run on one driver, by an error or a panic, if `FAILS_ON` has its name.
#[ringloop::test]
async fn a_test_that_can_fail_on_one_driver() -> Result<(), String> {
    match std::env::var(FAILS_ON) {
        Ok(value) if value == format!("error {}", kind()) => Err("by an error".to_owned()),
        Ok(value) if value == format!("panic {}", kind()) => panic!("by a panic"),
        _ => Ok(()),
    }
}

/// Goal: a failure names the driver, and only the one on which the test has failed.
///
/// Method: run the test above in a process of its own, with an error and with a panic on epoll.
///
/// Kills: a failure without the driver's name; an error that the run on the other driver hides.
#[test]
fn a_failure_names_its_driver() {
    for (how, message) in [("error", "by an error"), ("panic", "by a panic")] {
        let output = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "a_test_that_can_fail_on_one_driver"])
            .env(FAILS_ON, format!("{how} epoll"))
            .env("RINGLOOP_DRIVER", "auto")
            .output()
            .expect("this binary");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{text}");
        let line = "a_test_that_can_fail_on_one_driver: failed on the epoll driver";
        assert!(text.contains(line) && text.contains(message), "{text}");
        assert!(!text.contains("failed on the io_uring driver"), "{text}");
    }
}

/// Goal: a body runs once per driver, each time on a new loop, and the environment can select one
/// driver.
///
/// Method: the drivers and the turns of the runs.
///
/// Kills: one runtime for all; a driver that is left out; an environment that is not read.
#[test]
fn a_body_runs_once_per_driver() {
    let (count, epoll_count) = (Cell::new(0), Cell::new(0));
    let code = EachDriver::new("once_per_driver").run(async || {
        count.set(count.get() + 1);
        epoll_count.set(epoll_count.get() + u32::from(kind() == DriverKind::Epoll));
        assert_eq!(Handle::current().metrics().turns, 1);
    });
    assert_eq!(code, ExitCode::SUCCESS);
    let forced = std::env::var("RINGLOOP_DRIVER").unwrap_or_default();
    let works = ringloop::Runtime::builder().driver(DriverChoice::Uring).build().is_ok();
    let expected = match forced.as_str() {
        "uring" => (1, 0),
        "epoll" => (1, 1),
        _ => (1 + u32::from(works), 1),
    };
    assert_eq!((count.get(), epoll_count.get()), expected);
}

/// Goal: a test that should panic fails if it does not panic on one of the drivers.
///
/// Method: a body that panics in its first run only, one that never does, and one that does.
///
/// Kills: a panic on one driver that counts for all.
#[test]
fn each_run_of_a_test_that_should_panic_must_panic() {
    let runs = Cell::new(0);
    let once = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        EachDriver::new("panics_once").run_should_panic(async || {
            runs.set(runs.get() + 1);
            assert!(runs.get() > 1, "the first run");
        });
    }));
    assert_eq!(once.is_err(), runs.get() == 1, "{} runs", runs.get());
    EachDriver::new("never_panics").driver(DriverChoice::Epoll).run_should_panic(async || ());
    let panicked = std::panic::catch_unwind(|| {
        EachDriver::new("panics").driver(DriverChoice::Epoll).run_should_panic(async || panic!());
    });
    assert!(panicked.is_err());
}

/// Goal: a main function runs on a loop, with the driver that it selects, and returns its output.
///
/// Method: three functions with the attribute, called as functions.
///
/// Kills: an option that is not passed on; an output that is lost.
#[test]
fn a_main_function_runs_on_its_driver() {
    #[ringloop::main]
    async fn plain() -> u32 {
        sleep(Duration::from_millis(1)).await;
        42
    }
    #[ringloop::main(driver = "epoll")]
    async fn on_epoll() -> DriverKind {
        kind()
    }
    #[ringloop::main(driver = "auto")]
    async fn fails() -> Result<(), String> {
        Err("as it should".to_owned())
    }
    common::within(LIMIT, || {
        assert_eq!(plain(), 42);
        assert_eq!(on_epoll(), DriverKind::Epoll);
        assert_eq!(fails(), Err("as it should".to_owned()));
    });
}

/// The variable with which the process of the test below is interrupted, as often as it has.
const INTERRUPTS: &str = "RINGLOOP_ATTRIBUTE_INTERRUPTS";

/// Prints a line when it is dropped.
struct Printed(&'static str);

impl Drop for Printed {
    fn drop(&mut self) {
        let is_inside = Handle::try_current().is_some();
        println!("{} was dropped, inside of the loop: {is_inside}", self.0);
    }
}

/// Goal: the option `ctrl_c` reaches the main function: the first SIGINT drops it inside the loop,
/// then its tasks, and the process ends with exit code 130; the second ends it by the signal (G5).
///
/// Method: this test again, in a process of its own, which sends itself no, one and two signals.
///
/// Kills: an option that is not passed on; an exit with the runtime alive, which drops no task; the
/// exit code of a panic.
#[test]
fn g5_an_interrupted_main_function_ends_with_its_own_code() {
    #[ringloop::main(ctrl_c = "graceful")]
    async fn interrupted() -> u32 {
        let (_guard, task) = (Printed("the main future"), Printed("a task"));
        ringloop::spawn(async move {
            let _task = task;
            std::future::pending::<()>().await;
        });
        ringloop::task::yield_now().await;
        let count = std::env::var(INTERRUPTS).map_or(0, |count| count.parse().expect("a number"));
        (0..count).for_each(|_| raising::raise(SIGINT));
        if count > 0 {
            std::future::pending::<()>().await;
        }
        42
    }
    if std::env::var(INTERRUPTS).is_ok() {
        raising::restore_defaults();
        interrupted();
        unreachable!("the process has ended");
    }
    common::within(LIMIT, || assert_eq!(interrupted(), 42));
    let run = |count| {
        Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "g5_an_interrupted_main_function_ends_with_its_own_code"])
            .arg("--nocapture")
            .env(INTERRUPTS, count)
            .output()
            .expect("this binary")
    };
    let once = run("1");
    let text = String::from_utf8_lossy(&once.stdout);
    assert_eq!(once.status.code(), Some(ringloop::signal::Interrupted::EXIT_CODE), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("was dropped")).collect();
    let [first, second] = lines[..] else { panic!("{text}") };
    assert!(first.ends_with("the main future was dropped, inside of the loop: true"), "{text}");
    assert!(second.starts_with("a task was dropped"), "{text}");

    let twice = run("2");
    assert_eq!(twice.status.signal(), Some(SIGINT), "{}", twice.status);
    assert!(!String::from_utf8_lossy(&twice.stdout).contains("was dropped"));
}
