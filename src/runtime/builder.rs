//! Settings of a runtime.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::Runtime;
use super::core::Core;
use super::unhandled::{Hook, Reports};
use crate::buf::Pool;
use crate::driver::choose;
use crate::driver::diagnosis::{self, Diagnosis};
use crate::driver::{DriverChoice, DriverKind, Opened, RingSizes, SetupError, SetupStep};
use crate::error::Unhandled;
use crate::loop_id::LoopId;
use crate::reactor::Reactor;
use crate::task::{Executor, Remote};

/// Submission queue entries. Small, because the queue is emptied at least once per turn.
const SQ_ENTRIES: u32 = 256;

/// Completion queue entries by default, and the most that a number of connections asks for.
const CQ_ENTRIES: u32 = 4096;
const CQ_ENTRIES_MAX: u32 = 16_384;

/// 256 buffers of 4 KiB serve ten thousand saturating connections: what counts is how many are
/// filled at the same moment. Before Linux 6.13 that is as many as connections have bytes when the
/// loop enters (1 000 at once with 256 buffers: 0.74 `ENOBUFS` for each message), so a number of
/// connections asks for as many, at most for [`BUFFER_COUNT_MAX`]. They are lent, and their memory
/// is touched, only after 256 were too few.
const BUFFER_COUNT: u16 = 256;
const BUFFER_COUNT_MAX: u16 = 2048;
const BUFFER_LEN: u32 = 4096;

/// Results are `i32`, and lengths near its end misbehave (H21).
const RECV_BUFFER_LEN_MAX: u32 = 1 << 30;

const LINGER: Duration = Duration::from_secs(5);
const SHUTDOWN_LINGER: Duration = Duration::from_secs(1);

impl Runtime {
    /// A runtime with default settings.
    ///
    /// # Errors
    ///
    /// If no driver works here. The error says why and what usually helps.
    #[track_caller]
    pub fn new() -> Result<Runtime, SetupError> {
        Builder::new().build()
    }

    /// A builder with default settings.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// Builds a [`Runtime`].
///
/// ```no_run
/// let runtime = ringloop::Runtime::builder()
///     .connections_expected(10_000)
///     .on_unhandled(|unhandled| eprintln!("server: {unhandled}"))
///     .build()?;
/// runtime.block_on(async { /* serve */ });
/// # Ok::<(), ringloop::SetupError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    driver: DriverChoice,
    sizes: RingSizes,
    buffer_count: u16,
    buffer_len: u32,
    /// Whether the program has chosen the buffers.
    has_chosen_buffers: bool,
    linger: Duration,
    shutdown_linger: Duration,
    on_unhandled: Option<Hook>,
}

impl Builder {
    /// Default settings: the driver that works, small rings, 256 receive buffers of 4 KiB.
    pub fn new() -> Builder {
        Builder {
            driver: DriverChoice::Auto,
            sizes: RingSizes { sq_entries: SQ_ENTRIES, cq_entries: CQ_ENTRIES },
            buffer_count: BUFFER_COUNT,
            buffer_len: BUFFER_LEN,
            has_chosen_buffers: false,
            linger: LINGER,
            shutdown_linger: SHUTDOWN_LINGER,
            on_unhandled: None,
        }
    }

    /// Which driver to use. Default: [`DriverChoice::Auto`].
    pub fn driver(mut self, choice: DriverChoice) -> Builder {
        self.driver = choice;
        self
    }

    /// How many connections there will be at once. Sizes the completion queue, so that a burst
    /// from all of them seldom overflows it; an overflow loses nothing and costs a system call. And
    /// sizes the receive buffers, unless [`recv_buffers`](Builder::recv_buffers) does: one for each
    /// connection, 256 to 2048, of which a loop touches the memory that a burst has needed.
    pub fn connections_expected(mut self, count: u32) -> Builder {
        let entries = count.min(CQ_ENTRIES_MAX).next_power_of_two();
        self.sizes.cq_entries = entries.clamp(CQ_ENTRIES, CQ_ENTRIES_MAX);
        if !self.has_chosen_buffers {
            let count = count.clamp(BUFFER_COUNT.into(), BUFFER_COUNT_MAX.into());
            self.buffer_count = count.next_power_of_two() as u16; // the bounds are powers of two
        }
        self
    }

    /// Entries of the submission and completion queues. The kernel rounds up to powers of two.
    ///
    /// # Panics
    ///
    /// If either is 0, or the completion queue is smaller than the submission queue.
    pub fn ring_entries(mut self, submission: u32, completion: u32) -> Builder {
        assert!(submission > 0, "a submission queue has entries");
        assert!(completion >= submission, "{completion} completion entries for {submission}");
        self.sizes = RingSizes { sq_entries: submission, cq_entries: completion };
        self
    }

    /// Number and size in bytes of the shared receive buffers. More than this many filled buffers
    /// at once is no error: further receives use memory of their own. Larger ones are for streams
    /// that bring much: a message then comes in fewer pieces, each of which costs processor time.
    ///
    /// # Panics
    ///
    /// If the count is not a power of two up to 32 768, or the size is not 1 byte to 1 GiB.
    pub fn recv_buffers(mut self, count: u16, len: u32) -> Builder {
        assert!(count.is_power_of_two() && count <= Pool::COUNT_MAX, "{count} buffers");
        assert!(len > 0 && len <= RECV_BUFFER_LEN_MAX, "buffers of {len} bytes");
        (self.buffer_count, self.buffer_len) = (count, len);
        self.has_chosen_buffers = true;
        self
    }

    /// How long the peer of a dropped stream may take nothing of what was queued on it, before the
    /// connection is reset and the loss reported. The time begins anew whenever the peer has taken
    /// something, so a slow transfer is not cut. Default: 5 seconds.
    ///
    /// A peer that reads one byte each time keeps its connection for as long as it does so. For a
    /// limit on the whole, await `flush()` under a [`timeout`](crate::time::timeout), and `abort()`
    /// when it has elapsed.
    pub fn linger(mut self, linger: Duration) -> Builder {
        self.linger = linger;
        self
    }

    /// How long the end of the runtime may wait for streams that were dropped with bytes queued and
    /// are still sending. A limit on the whole: what is left is reset and reported. Default: 1
    /// second. See also [`Runtime::shutdown_timeout`].
    pub fn shutdown_linger(mut self, limit: Duration) -> Builder {
        self.shutdown_linger = limit;
        self
    }

    /// Called with every error that no task awaits: panics of detached tasks and callbacks, bytes a
    /// dropped stream could not deliver, and so on. Runs on the loop's thread.
    ///
    /// The hook receives every report, at the rate at which they happen, and peers can choose that
    /// rate: limit what it does with each. A peer that resets a connection makes no report
    /// ([`Metrics::peer_resets`](crate::Metrics::peer_resets)).
    ///
    /// Without a hook each report is one line on standard error, within limits. Of each kind at
    /// most five lines are printed at once and one per second after that; the next one carries the
    /// number of those left out ("and 947 more of this kind in the last 3.2 s"), and the end of the
    /// runtime prints what remains. A line is written only if standard error takes it without
    /// blocking. [`Metrics::reports_suppressed`](crate::Metrics::reports_suppressed) counts what
    /// was not printed. A panic's message is also printed by the panic hook of the standard
    /// library, which has no such limits: see [`std::panic::set_hook`].
    pub fn on_unhandled(mut self, hook: impl Fn(&Unhandled) + 'static) -> Builder {
        self.on_unhandled = Some(Box::new(hook));
        self
    }

    /// Builds the runtime on this thread.
    ///
    /// # Errors
    ///
    /// If no driver works here. The error says at which step, why, and what usually helps.
    #[track_caller]
    pub fn build(self) -> Result<Runtime, SetupError> {
        let pool = self.pool()?;
        let opened = choose::open(self.driver, self.sizes, &pool)?;
        Ok(self.assemble(LoopId::new(), opened, pool))
    }

    /// Tries out both drivers with these settings, step by step, and says which one
    /// [`build`](Builder::build) would get and why.
    ///
    /// It opens and closes what `build` opens, in the same way, so it takes as long: normally less
    /// than a millisecond, some seconds at worst. io_uring is not touched where the environment
    /// (`RINGLOOP_DRIVER=epoll`) or [`driver`](Builder::driver) rules it out.
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
    /// print!("{diagnosis}"); // all of it, for people
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
        let reports = Reports::new(id, self.on_unhandled, clock.clone());
        let reactor = Reactor::new(id, driver, clock, pool, nanos(self.linger));
        let remote = Remote::new(id, Box::new(move || unparker.unpark()));
        let executor = Executor::new(remote, Rc::clone(&reports) as Rc<_>);
        let core = Core {
            reactor: Rc::new(reactor),
            executor,
            reports,
            info,
            turns: Cell::new(0),
            idle_turns: Cell::new(0),
            idle_since_ns: Cell::new(0),
            spin_backoffs: Cell::new(0),
            shutdown_linger_ns: Cell::new(nanos(self.shutdown_linger)),
        };
        Runtime { core: Rc::new(core) }
    }
}

#[cfg(any(test, fuzzing))]
impl Builder {
    /// A runtime whose kernel is a script.
    #[track_caller]
    pub(crate) fn build_scripted(self, script: &crate::driver::uring::scripted::Script) -> Runtime {
        let pool = Pool::new(self.buffer_count, self.buffer_len).expect("memory for a pool");
        let ring = script.ring(self.sizes);
        let opened = choose::open_scripted(ring, &pool);
        self.assemble(LoopId::new(), opened, pool)
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Builder { driver, sizes, linger, on_unhandled, .. } = self;
        f.debug_struct("Builder")
            .field("driver", driver)
            .field("sizes", sizes)
            .field("buffers", &(self.buffer_count, self.buffer_len))
            .field("linger", linger)
            .field("on_unhandled", &on_unhandled.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the pool follows the number of connections, within its bounds, and what the program
    /// has set for buffers counts more, in either order.
    /// Method: numbers at and around the bounds. Kills: no bound; a count that is no power of two;
    /// `connections_expected` that overrides `recv_buffers`.
    #[test]
    fn connections_size_the_pool() {
        for (connections, count) in
            [(0, 256), (256, 256), (257, 512), (1000, 1024), (10_000, 2048), (u32::MAX, 2048)]
        {
            let builder = Builder::new().connections_expected(connections);
            assert_eq!((builder.buffer_count, builder.buffer_len), (count, 4096), "{connections}");
            let builder = builder.recv_buffers(4, 64);
            assert_eq!((builder.buffer_count, builder.buffer_len), (4, 64));
            assert_eq!(builder.connections_expected(connections).buffer_count, 4);
        }
    }
}
