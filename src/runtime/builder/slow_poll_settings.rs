//! The settings of the builder for polls that block the loop.

use std::time::Duration;

use super::Builder;
use crate::runtime::slow_poll::SlowPoll;

impl Builder {
    /// Sets how long a poll or a callback may take before it is reported, or turns the measurement
    /// off.
    ///
    /// A task that computes for long stops the whole loop. Each poll of a task or of the main
    /// future and each callback (`call_soon`, `call_later`, `call_at`) that takes `limit` or longer
    /// is reported when it has returned, with its name, the place where it was spawned or
    /// scheduled, and its duration. This is asyncio's debug mode and `slow_callback_duration`.
    ///
    /// The default is 100 ms in debug builds and no measurement in release builds, which then costs
    /// one branch per poll. The environment variable `RINGLOOP_DEBUG=1` turns it on with 100 ms in
    /// every build, and `RINGLOOP_DEBUG=0` turns it off. A call of this method takes precedence
    /// over both. The measurement reads the clock twice per poll.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = ringloop::Runtime::builder()
    ///     .slow_poll(Some(Duration::from_millis(20)))
    ///     .build()?;
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn slow_poll(mut self, limit: Option<Duration>) -> Builder {
        self.slow_polls.chosen = Some(limit);
        self
    }

    /// Sets a hook for polls that take longer than the limit of [`slow_poll`](Builder::slow_poll).
    ///
    /// The hook runs on the loop's thread, between two polls. It receives every report, and does
    /// not turn the measurement on. Without a hook, each report is one line on standard error,
    /// within the limits of [`on_unhandled`](Builder::on_unhandled).
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use std::time::Duration;
    ///
    /// let names = Rc::new(RefCell::new(Vec::new()));
    /// let seen = Rc::clone(&names);
    /// let runtime = ringloop::Runtime::builder()
    ///     .slow_poll(Some(Duration::ZERO)) // each poll, for this example
    ///     .on_slow_poll(move |slow| seen.borrow_mut().extend(slow.name().map(str::to_owned)))
    ///     .build()?;
    /// runtime.block_on(async {
    ///     ringloop::task::Builder::new().name("report").spawn(async {}).await.unwrap();
    /// });
    /// assert_eq!(names.take(), ["report"]);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn on_slow_poll(mut self, hook: impl Fn(&SlowPoll) + 'static) -> Builder {
        self.slow_polls.hook = Some(Box::new(hook));
        self
    }
}
