//! [`EachDriver`]: one test body on every driver.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{ExitCode, Termination};
use std::sync::Once;

use crate::driver::choose::choice_of_environment;
use crate::driver::{DriverChoice, DriverKind, SetupError};
use crate::runtime::builder::Builder;
use crate::sys::stderr;

/// Runs a test on every driver that this machine allows, each time on a new runtime.
///
/// `#[ringloop::test]` expands to this. The drivers are io_uring and epoll, or the one that
/// [`driver`](EachDriver::driver) or the environment variable `RINGLOOP_DRIVER` selects. Where
/// io_uring is refused and was not selected, one line on standard error has the reason, once per
/// process, and the test runs on epoll.
///
/// ```
/// use ringloop::testing::EachDriver;
/// use ringloop::time::{Instant, sleep};
/// use std::time::Duration;
///
/// EachDriver::new("an_hour_passes").start_paused(true).run(async || {
///     let start = Instant::now();
///     sleep(Duration::from_secs(3600)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// });
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a test does nothing until `run`"]
pub struct EachDriver {
    name: &'static str,
    choice: DriverChoice,
    start_paused: bool,
}

impl EachDriver {
    /// A test with this name, which reports of failures contain.
    pub fn new(name: &'static str) -> EachDriver {
        EachDriver { name, choice: DriverChoice::Auto, start_paused: false }
    }

    /// Runs the test on one driver only. [`DriverChoice::Auto`] is the default and means every
    /// driver.
    pub fn driver(mut self, choice: DriverChoice) -> EachDriver {
        self.choice = choice;
        self
    }

    /// Starts each runtime with a paused clock, as
    /// [`Builder::start_paused`](crate::Builder::start_paused) does.
    pub fn start_paused(mut self, start_paused: bool) -> EachDriver {
        self.start_paused = start_paused;
        self
    }

    /// Runs `body` on each driver. Returns success if every run has.
    ///
    /// # Panics
    ///
    /// With the panic of the first run that has panicked, after the runs on the other drivers; a
    /// line on standard error names the driver. If a driver that was selected does not work here,
    /// or if none does. If a loop runs on this thread.
    pub fn run<T: Termination, F: Future<Output = T>>(self, body: impl Fn() -> F) -> ExitCode {
        let mut exit_code = ExitCode::SUCCESS;
        let mut first_panic = None;
        for RunResult { driver, result } in self.run_all(&body) {
            match result {
                Ok(code) if code == ExitCode::SUCCESS => continue,
                Ok(code) => exit_code = code,
                Err(payload) => first_panic = first_panic.or(Some(payload)),
            }
            eprintln!("{}: failed on the {driver} driver", self.name);
        }
        match first_panic {
            Some(payload) => resume_unwind(payload),
            None => exit_code,
        }
    }

    /// Runs `body` on each driver, for a test with the attribute `#[should_panic]`: panics if every
    /// run has panicked, with the panic of the first.
    ///
    /// # Panics
    ///
    /// As documented above, and as [`run`](EachDriver::run) does if no driver works.
    pub fn run_should_panic<F: Future<Output = ()>>(self, body: impl Fn() -> F) {
        let mut first_panic = None;
        let mut have_all_panicked = true;
        for RunResult { driver, result } in self.run_all(&body) {
            match result {
                Ok(_) => {
                    eprintln!("{}: did not panic on the {driver} driver", self.name);
                    have_all_panicked = false;
                }
                Err(payload) => first_panic = first_panic.or(Some(payload)),
            }
        }
        if let Some(payload) = first_panic.filter(|_| have_all_panicked) {
            resume_unwind(payload);
        }
    }

    fn run_all<T: Termination, F: Future<Output = T>>(
        self,
        body: impl Fn() -> F,
    ) -> Vec<RunResult> {
        let run = |choice| {
            let built = self.builder(choice).build();
            let runtime = built.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            let driver = runtime.handle().driver().kind();
            let run = || runtime.block_on(body()).report();
            RunResult { driver, result: catch_unwind(AssertUnwindSafe(run)) }
        };
        self.choices().into_iter().map(run).collect()
    }

    /// The drivers to use. Only io_uring may be missing, and only if it was not selected.
    fn choices(self) -> Vec<DriverChoice> {
        if self.choice != DriverChoice::Auto {
            return vec![self.choice];
        }
        match choice_of_environment() {
            Ok(DriverChoice::Auto) => {}
            Ok(choice) => return vec![choice],
            Err(error) => panic!("{}: {error}", self.name),
        }
        match self.builder(DriverChoice::Uring).build() {
            Ok(_works) => vec![DriverChoice::Uring, DriverChoice::Epoll],
            Err(refusal) => {
                report_once(&refusal);
                vec![DriverChoice::Epoll]
            }
        }
    }

    fn builder(self, choice: DriverChoice) -> Builder {
        Builder::new().driver(choice).start_paused(self.start_paused)
    }
}

/// The outcome of a run on one driver: the exit code of the value, or a panic.
struct RunResult {
    driver: DriverKind,
    result: Result<ExitCode, Box<dyn Any + Send>>,
}

/// Prints why tests run on epoll only. Not with `eprintln!`, which the harness captures.
fn report_once(refusal: &SetupError) {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| {
        stderr::try_write_line(&format!("ringloop: tests run on epoll only: {refusal}"));
    });
}
