//! The settings of blocking jobs.

use std::time::Duration;

use super::Builder;

impl Builder {
    /// Sets how many threads run blocking jobs at once ([`spawn_blocking`](crate::spawn_blocking)),
    /// and how long an idle one is kept. The defaults are 512 and 10 seconds, as in tokio.
    ///
    /// Threads are made when jobs need them, and belong to this runtime. If the system refuses to
    /// make one, jobs wait for the others.
    ///
    /// # Panics
    ///
    /// If `max` is 0.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = ringloop::Runtime::builder().blocking_threads(4, Duration::from_secs(60));
    /// let runtime = builder.build()?;
    /// let six = runtime.block_on(async { ringloop::spawn_blocking(|| 1 + 2 + 3).await });
    /// assert_eq!(six.unwrap(), 6);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn blocking_threads(mut self, max: usize, keep_alive: Duration) -> Builder {
        assert!(max > 0, "Builder::blocking_threads: blocking jobs need at least one thread");
        self.blocking.threads_max = max;
        self.blocking.keep_alive = keep_alive;
        self
    }

    /// Sets how many blocking jobs may wait for a thread. The default is 65 536.
    ///
    /// A further job is refused: its closure is dropped, and its handle returns
    /// [`JoinError::Refused`](crate::JoinError::Refused). A program that awaits its jobs, or limits
    /// them by a semaphore, does not reach the limit. The queues of tokio and asyncio have none.
    ///
    /// # Panics
    ///
    /// If `max` is 0.
    pub fn blocking_queue(mut self, max: usize) -> Builder {
        assert!(max > 0, "Builder::blocking_queue: a job is queued before it runs");
        self.blocking.queued_max = max;
        self
    }
}
