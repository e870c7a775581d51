//! Building a runtime from its settings.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::Runtime;
use super::super::core::Core;
use super::super::signals::LoopSignals;
use super::super::unhandled::Reports;
use super::Builder;
use crate::buf::Pool;
use crate::driver::choose;
use crate::driver::diagnosis::{self, Diagnosis};
use crate::driver::{DriverChoice, DriverKind, Opened, SetupError, SetupStep};
use crate::loop_id::LoopId;
use crate::reactor::{ClockHolds, Reactor};
use crate::task::{BlockingPool, Executor, OnBusy, Remote};

/// How long the end of a runtime waits for blocking jobs that run. It is asyncio's limit.
const SHUTDOWN_BLOCKING: Duration = Duration::from_secs(300);

impl Builder {
    /// Builds the runtime on this thread.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if no driver works here. It names the failed step, the cause and what to do.
    #[track_caller]
    pub fn build(self) -> Result<Runtime, SetupError> {
        let pool = self.pool()?;
        let opened = choose::open(self.driver, self.sizes, &pool)?;
        Ok(self.assemble(LoopId::new(), opened, pool))
    }

    /// Tries both drivers with these settings, step by step, and returns the outcome of each step.
    ///
    /// The verdict is the driver that [`build`](Builder::build) would use, and the reason. It opens
    /// and closes what `build` opens, so it takes as long: normally less than a millisecond, some
    /// seconds at worst. io_uring is not tried where the environment (`RINGLOOP_DRIVER=epoll`) or
    /// [`driver`](Builder::driver) excludes it.
    ///
    /// ```
    /// let diagnosis = ringloop::Runtime::builder().connections_expected(10_000).diagnose();
    /// match diagnosis.verdict() {
    ///     Ok(driver) => println!("{}, {:?}", driver.kind(), driver.reason()),
    ///     Err(error) => println!("{error}"),
    /// }
    /// for candidate in diagnosis.candidates() {
    ///     for step in candidate.steps() {
    ///         println!("{}: {} {}", candidate.kind(), step.outcome().word(), step.name());
    ///     }
    /// }
    /// print!("{diagnosis}"); // the whole report, as text
    /// ```
    pub fn diagnose(&self) -> Diagnosis {
        match self.pool() {
            Ok(pool) => diagnosis::diagnose(self.driver, self.sizes, &pool),
            Err(error) => Diagnosis::impossible(error),
        }
    }

    fn pool(&self) -> Result<Rc<Pool>, SetupError> {
        let driver = match self.driver {
            DriverChoice::Auto | DriverChoice::Uring => DriverKind::Uring,
            DriverChoice::Epoll => DriverKind::Epoll,
        };
        Pool::new(self.buffer_count, self.buffer_len)
            .map_err(|cause| SetupError::new(driver, SetupStep::ReceiveBuffers, cause))
    }

    fn assemble(self, id: LoopId, opened: Opened, pool: Rc<Pool>) -> Runtime {
        let Opened { driver, info, unparker, clock } = opened;
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let stopwatch = self.slow_polls.stopwatch(&clock);
        let reports = Reports::new(id, self.on_unhandled, self.slow_polls.hook, clock.clone());
        let signals = LoopSignals::new(unparker.clone());
        let wake = unparker.clone();
        let remote = Remote::new(id, Box::new(move || wake.unpark()));
        let seed = self.shuffle_seed.unwrap_or_else(|| clock.now_ns());
        let reactor = Reactor::new(id, driver, clock, unparker, pool, nanos(self.linger));
        let on_busy = hold_while_busy(Arc::clone(reactor.clock_holds()));
        let blocking = BlockingPool::new(&remote, self.blocking, on_busy);
        let executor = Executor::new(remote, Rc::clone(&reports) as Rc<_>, blocking);
        executor.watch(stopwatch.is_some());
        executor.seed_shuffle(seed, self.shuffle_seed.is_some());
        if self.start_paused {
            let _ = reactor.pause_clock();
        }
        let core = Core {
            reactor: Rc::new(reactor),
            executor: Rc::new(executor),
            reports,
            info,
            turns: Cell::new(0),
            idle_turns: Cell::new(0),
            idle_since_ns: Cell::new(0),
            spin_backoffs: Cell::new(0),
            is_stopping: Cell::new(false),
            hooks: self.hooks,
            stopwatch,
            signals,
            shutdown_linger_ns: Cell::new(nanos(self.shutdown_linger)),
            shutdown_blocking_ns: Cell::new(Some(nanos(SHUTDOWN_BLOCKING))),
        };
        Runtime { core: Rc::new(core) }
    }
}

#[cfg(any(test, fuzzing))]
impl Builder {
    /// Builds a runtime whose kernel is a script.
    #[track_caller]
    pub(crate) fn build_scripted(self, script: &crate::driver::uring::scripted::Script) -> Runtime {
        let pool = Pool::new(self.buffer_count, self.buffer_len).expect("memory for a pool");
        let ring = script.ring(self.sizes);
        let opened = choose::open_scripted(ring, &pool);
        self.assemble(LoopId::new(), opened, pool)
    }
}

/// Makes a pool of threads hold the paused clock of its loop while it has jobs.
fn hold_while_busy(holds: Arc<ClockHolds>) -> OnBusy {
    let held = Mutex::new(None);
    Box::new(move |is_busy| {
        let hold = is_busy.then(|| holds.hold());
        *held.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    })
}
