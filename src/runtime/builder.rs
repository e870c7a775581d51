//! [`Builder`]: the settings of a runtime.

mod blocking;
mod build;
mod slow_poll_settings;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::Runtime;
use super::hooks::{Hook, Hooks};
use super::slow_poll;
use super::unhandled;
use crate::buf::Pool;
use crate::driver::{DriverChoice, RingSizes, SetupError};
use crate::error::Unhandled;
use crate::task::BlockingLimits;

/// Entries of the submission queue. A few suffice, because the queue is submitted once per turn.
const SQ_ENTRIES: u32 = 256;

/// Entries of the completion queue: the default, and the maximum of `connections_expected`.
const CQ_ENTRIES: u32 = 4096;
const CQ_ENTRIES_MAX: u32 = 16_384;

/// The receive buffers: number by default, maximum of `connections_expected`, and size in bytes.
///
/// 256 buffers of 4 KiB serve ten thousand busy connections: the number of buffers that are filled
/// at the same moment counts. Before Linux 6.13 that is the number of connections with bytes when
/// the loop enters the kernel (1 000 at once with 256 buffers: 0.74 `ENOBUFS` per message), so
/// `connections_expected` raises it up to [`BUFFER_COUNT_MAX`]. Further buffers are lent, and their
/// memory is touched, only after 256 were too few.
const BUFFER_COUNT: u16 = 256;
const BUFFER_COUNT_MAX: u16 = 2048;
const BUFFER_LEN: u32 = 4096;

/// The greatest buffer size. Results are `i32`, and lengths near its maximum misbehave (H21).
const RECV_BUFFER_LEN_MAX: u32 = 1 << 30;

/// The limits of blocking jobs: threads and keep-alive as tokio has them, and the jobs that wait
/// for a thread.
const BLOCKING_THREADS_MAX: usize = 512;
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(10);
const BLOCKING_QUEUE_MAX: usize = 65_536;

const BLOCKING: BlockingLimits = BlockingLimits {
    threads_max: BLOCKING_THREADS_MAX,
    queued_max: BLOCKING_QUEUE_MAX,
    keep_alive: BLOCKING_KEEP_ALIVE,
};

const LINGER: Duration = Duration::from_secs(5);
const SHUTDOWN_LINGER: Duration = Duration::from_secs(1);

impl Runtime {
    /// Builds a runtime with default settings.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if no driver works here. It names the failed step, the cause and what to do.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// assert_eq!(runtime.block_on(async { 42 }), 42);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    #[track_caller]
    pub fn new() -> Result<Runtime, SetupError> {
        Builder::new().build()
    }

    /// A builder with default settings.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// A builder of runtimes. [`Runtime::builder`] makes one.
///
/// ```
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
    start_paused: bool,
    blocking: BlockingLimits,
    on_unhandled: Option<unhandled::Hook>,
    hooks: Hooks,
    slow_polls: slow_poll::Settings,
    shuffle_seed: Option<u64>,
}

impl Builder {
    /// A builder with default settings: the first driver that works, small rings, 256 receive
    /// buffers of 4 KiB.
    pub fn new() -> Builder {
        Builder {
            driver: DriverChoice::Auto,
            sizes: RingSizes { sq_entries: SQ_ENTRIES, cq_entries: CQ_ENTRIES },
            buffer_count: BUFFER_COUNT,
            buffer_len: BUFFER_LEN,
            has_chosen_buffers: false,
            linger: LINGER,
            shutdown_linger: SHUTDOWN_LINGER,
            start_paused: false,
            blocking: BLOCKING,
            on_unhandled: None,
            hooks: Hooks::default(),
            slow_polls: slow_poll::Settings::default(),
            shuffle_seed: None,
        }
    }

    /// Sets the driver. The default is [`DriverChoice::Auto`]: io_uring, or epoll where io_uring
    /// does not work.
    ///
    /// ```
    /// use ringloop::{DriverChoice, DriverKind, Runtime};
    ///
    /// let runtime = Runtime::builder().driver(DriverChoice::Epoll).build()?;
    /// assert_eq!(runtime.handle().driver().kind(), DriverKind::Epoll);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn driver(mut self, choice: DriverChoice) -> Builder {
        self.driver = choice;
        self
    }

    /// Sets how many connections are expected to be open at once.
    ///
    /// It sizes the completion queue, so that a burst from all connections seldom overflows it; an
    /// overflow loses nothing and costs a system call. It also sizes the pool of receive buffers,
    /// unless [`recv_buffers`](Builder::recv_buffers) does: one for each connection, 256 to 2 048.
    /// The loop uses the memory of a buffer only after a burst has needed it.
    pub fn connections_expected(mut self, count: u32) -> Builder {
        let entries = count.min(CQ_ENTRIES_MAX).next_power_of_two();
        self.sizes.cq_entries = entries.clamp(CQ_ENTRIES, CQ_ENTRIES_MAX);
        if !self.has_chosen_buffers {
            let count = count.clamp(BUFFER_COUNT.into(), BUFFER_COUNT_MAX.into());
            self.buffer_count = count.next_power_of_two() as u16; // the bounds are powers of two
        }
        self
    }

    /// Sets the number of entries of the submission and completion queues (`io_uring_setup(2)`).
    ///
    /// The kernel rounds up to powers of two. The defaults are 256 and 4 096. The epoll driver has
    /// no rings.
    ///
    /// # Panics
    ///
    /// If either number is 0, or the completion queue is smaller than the submission queue.
    pub fn ring_entries(mut self, submission: u32, completion: u32) -> Builder {
        assert!(
            submission > 0,
            "Builder::ring_entries: the submission queue needs at least one entry"
        );
        assert!(
            completion >= submission,
            "Builder::ring_entries: {completion} completion entries are fewer than the \
             {submission} of the submission queue"
        );
        self.sizes = RingSizes { sq_entries: submission, cq_entries: completion };
        self
    }

    /// Sets the number and the size in bytes of the receive buffers, which all streams share.
    ///
    /// More filled buffers at once are not an error: further receives use memory of their own.
    /// Larger buffers suit streams with large messages: a message then arrives in fewer pieces,
    /// each of which costs processor time. The default is 256 buffers of 4 096 bytes.
    ///
    /// # Panics
    ///
    /// If the count is not a power of two up to 32 768, or the size is not 1 byte to 1 GiB.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::builder().recv_buffers(64, 64 * 1024).build()?;
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn recv_buffers(mut self, count: u16, len: u32) -> Builder {
        assert!(
            count.is_power_of_two() && count <= Pool::COUNT_MAX,
            "Builder::recv_buffers: {count} buffers, which is not a power of two up to {}",
            Pool::COUNT_MAX
        );
        assert!(
            len > 0 && len <= RECV_BUFFER_LEN_MAX,
            "Builder::recv_buffers: buffers of {len} bytes, which is not 1 to {RECV_BUFFER_LEN_MAX}"
        );
        (self.buffer_count, self.buffer_len) = (count, len);
        self.has_chosen_buffers = true;
        self
    }

    /// Sets how long a dropped stream tries to send without progress. The default is 5 seconds.
    ///
    /// If the peer takes none of the queued bytes for that time, the connection is reset and the
    /// loss is reported. The time starts again whenever the peer takes bytes, so a slow transfer is
    /// not cut, and a peer that takes one byte each time keeps its connection. To limit the whole
    /// transfer, await `flush()` under a [`timeout`](crate::time::timeout), and call `abort()` when
    /// the time has elapsed. It also applies to [`close`](crate::net::TcpStream::close).
    pub fn linger(mut self, linger: Duration) -> Builder {
        self.linger = linger;
        self
    }

    /// Limits how long dropping the runtime waits for dropped streams that still send. The default
    /// is 1 second.
    ///
    /// It limits the whole wait. The connections that remain are reset, and their loss is reported.
    /// See also [`Runtime::shutdown_timeout`].
    pub fn shutdown_linger(mut self, limit: Duration) -> Builder {
        self.shutdown_linger = limit;
        self
    }

    /// Builds the runtime with its clock paused, as by [`time::pause`](crate::time::pause). For
    /// tests. This is tokio's `start_paused`.
    ///
    /// ```
    /// use ringloop::time::{Instant, sleep};
    /// use std::time::Duration;
    ///
    /// let runtime = ringloop::Runtime::builder().start_paused(true).build()?;
    /// runtime.block_on(async {
    ///     let start = Instant::now();
    ///     sleep(Duration::from_secs(3600)).await; // takes no time
    ///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
    /// });
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn start_paused(mut self, start_paused: bool) -> Builder {
        self.start_paused = start_paused;
        self
    }

    /// Sets a hook for errors that no task awaits: panics of detached tasks and callbacks, bytes
    /// that a dropped stream could not send, and so on.
    ///
    /// The hook runs on the loop's thread and receives every report. Peers can choose the rate of
    /// some reports, so limit the work per report. A peer that resets a connection causes no report
    /// ([`Metrics::peer_resets`](crate::Metrics::peer_resets)).
    ///
    /// Without a hook, each report is one line on standard error, within limits. Of each kind at
    /// most five lines are printed at once, and then one per second. The next line has the number
    /// of omitted reports ("and 947 more of this kind in the last 3.2 s"), and the end of the
    /// runtime prints what remains. A line is written only if the write does not block.
    /// [`Metrics::reports_suppressed`](crate::Metrics::reports_suppressed) counts reports that were
    /// not printed. The panic hook of the standard library also prints the message of a panic,
    /// without such limits: see [`std::panic::set_hook`].
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let count = Rc::new(Cell::new(0));
    /// let counter = Rc::clone(&count);
    /// let runtime = ringloop::Runtime::builder()
    ///     .on_unhandled(move |_| counter.set(counter.get() + 1))
    ///     .build()?;
    /// runtime.block_on(async {
    ///     drop(ringloop::spawn(async { panic!("a bug") }));
    ///     ringloop::task::yield_now().await;
    /// });
    /// assert_eq!(count.get(), 1);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn on_unhandled(mut self, hook: impl Fn(&Unhandled) + 'static) -> Builder {
        self.on_unhandled = Some(Box::new(hook));
        self
    }

    /// Sets a hook that runs at the start of each turn of the loop.
    ///
    /// The hooks run on the loop's thread, where [`Handle::current`](crate::Handle::current) works.
    /// They are libuv's prepare and check handles, and those of tokio's builder. A hook that panics
    /// is reported to [`on_unhandled`](Builder::on_unhandled) and not called again; the loop and
    /// the other hooks go on. A second hook of the same kind replaces the first.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let turns = Rc::new(Cell::new(0));
    /// let counter = Rc::clone(&turns);
    /// let runtime = ringloop::Runtime::builder()
    ///     .on_turn_start(move || counter.set(counter.get() + 1))
    ///     .build()?;
    /// runtime.block_on(ringloop::task::yield_now());
    /// assert_eq!(turns.get(), runtime.handle().metrics().turns);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    #[track_caller]
    pub fn on_turn_start(mut self, hook: impl FnMut() + 'static) -> Builder {
        self.hooks.turn_start = Hook::new(Box::new(hook), Location::caller());
        self
    }

    /// Sets a hook that runs before the loop sleeps, in each turn that has found nothing to do.
    ///
    /// If the hook makes a task ready, the turn does not sleep. It still looks for completions and
    /// timers, so a hook that does so in every turn delays neither. Otherwise like
    /// [`on_turn_start`](Builder::on_turn_start).
    #[track_caller]
    pub fn on_before_park(mut self, hook: impl FnMut() + 'static) -> Builder {
        self.hooks.before_park = Hook::new(Box::new(hook), Location::caller());
        self
    }

    /// Sets a hook that runs when a turn that was allowed to sleep has waited, before the tasks
    /// that it has made ready.
    ///
    /// Otherwise like [`on_turn_start`](Builder::on_turn_start).
    #[track_caller]
    pub fn on_after_unpark(mut self, hook: impl FnMut() + 'static) -> Builder {
        self.hooks.after_unpark = Hook::new(Box::new(hook), Location::caller());
        self
    }

    /// Sets the seed of the order among what is ready at once, for tests.
    ///
    /// Ready tasks run in the order in which they became ready, and a [`select!`](crate::select)
    /// without `biased;` starts with a random branch. With a seed, each turn permutes its batch of
    /// ready tasks, and both orders follow from the seed. So a test that runs with many seeds meets
    /// many orders, and repeats the order of a seed that failed. The completions of the kernel keep
    /// the order in which they arrive.
    ///
    /// A permuted order is not for production: a task may run after one that became ready later.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    ///
    /// fn order(seed: u64) -> Vec<u32> {
    ///     let runtime = ringloop::Runtime::builder().shuffle_seed(seed).build().unwrap();
    ///     let order = Rc::new(RefCell::new(Vec::new()));
    ///     runtime.block_on(async {
    ///         for number in 0..8 {
    ///             let order = Rc::clone(&order);
    ///             ringloop::spawn(async move { order.borrow_mut().push(number) });
    ///         }
    ///         ringloop::task::yield_now().await;
    ///         ringloop::task::yield_now().await;
    ///     });
    ///     order.take()
    /// }
    /// assert_eq!(order(1), order(1));
    /// assert_ne!(order(1), order(2));
    /// ```
    pub fn shuffle_seed(mut self, seed: u64) -> Builder {
        self.shuffle_seed = Some(seed);
        self
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

    /// Goal: the pool follows the number of connections, within its bounds. `recv_buffers` takes
    /// precedence, in either order.
    ///
    /// Method: numbers at and around the bounds.
    ///
    /// Kills: no bound; a count that is not a power of two; `connections_expected` that overrides
    /// `recv_buffers`.
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
