//! The loop as an object: running it until it is stopped, and one turn at a time.
//!
//! `block_on` is in the parent module. The three ways to run a loop share the turn (`turn.rs`) and
//! differ in when they end and in how long a turn may sleep.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::core::{Core, Run};
use super::turn::TurnStats;
use super::{Handle, Runtime, context};
use crate::driver::request::Wait;

impl Runtime {
    /// Runs the loop until [`Handle::stop`].
    ///
    /// Tasks, callbacks and timers run; there is no main future. A stop lets the current turn
    /// finish. What that turn has scheduled runs only when the loop runs again. After a stop that
    /// was requested before this call, the loop makes exactly one turn, which does not sleep. These
    /// are the semantics of asyncio's `run_forever` and `stop`.
    ///
    /// The request to stop ends with the run, also if the run panics. So a later run is not stopped
    /// by it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = ringloop::Runtime::new()?;
    /// let handle = runtime.handle();
    /// runtime.block_on(async {
    ///     ringloop::call_later(Duration::from_millis(1), move || handle.stop());
    /// });
    /// runtime.run_until_stopped();
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a loop already runs on this thread, and in a forked child of the process that built the
    /// runtime.
    #[track_caller]
    pub fn run_until_stopped(&self) {
        let core = &self.core;
        core.id().check_process();
        let _context = context::enter(core);
        let _run = Run(core);
        loop {
            core.id().check_process(); // a poll may have forked, and this may be the child
            let limit = if core.is_stopping.get() { Wait::Poll } else { Wait::Forever };
            core.turn(limit, || {});
            if core.is_stopping.get() {
                break;
            }
        }
        if !core.id().is_of_parent() {
            core.submit_pending();
            core.park();
        }
    }

    /// Runs one turn of the loop, which sleeps for at most `timeout`, or without a limit.
    ///
    /// The turn sleeps only if no task is ready, until an operation completes, a timer is due,
    /// another thread wakes the loop, or the time has passed. `Some(Duration::ZERO)` never sleeps.
    /// Then it runs what is due and what is ready, each at most once: the time that it takes is
    /// bounded by the program's own polls. Requests of the turn are submitted before it returns. A
    /// [paused](crate::time::pause) clock moves only in a turn that may sleep.
    ///
    /// This drives a ringloop from another loop, together with
    /// [`next_deadline`](Runtime::next_deadline). It is libuv's `uv_run` with `UV_RUN_ONCE`, or
    /// with `UV_RUN_NOWAIT` for a timeout of zero.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = ringloop::Runtime::new()?;
    /// let task = runtime.handle().spawn(async { 42 });
    /// let stats = runtime.turn(Some(Duration::ZERO));
    /// assert_eq!(stats.polls, 1);
    /// assert_eq!(runtime.block_on(task).unwrap(), 42);
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a loop already runs on this thread, and in a forked child of the process that built the
    /// runtime.
    #[track_caller]
    pub fn turn(&self, timeout: Option<Duration>) -> TurnStats {
        let core = &self.core;
        core.id().check_process();
        let _context = context::enter(core);
        let limit = match timeout {
            None => Wait::Forever,
            Some(Duration::ZERO) => Wait::Poll,
            Some(timeout) => {
                let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                Wait::Until(core.reactor.kernel_now_ns().saturating_add(timeout_ns))
            }
        };
        core.reactor.begin_foreign_turn();
        let stats = core.turn(limit, || {});
        if !core.id().is_of_parent() {
            core.submit_pending();
            core.park();
        }
        stats
    }

    /// A descriptor by which a foreign loop waits for this one (`poll(2)`, `epoll(7)`).
    ///
    /// After each [`turn`](Runtime::turn) it is readable if another turn would do something, and it
    /// becomes readable when that is so: an operation completes, or another thread wakes a task.
    /// Timers do not make it readable: sleep no longer than until
    /// [`next_deadline`](Runtime::next_deadline). It is level-triggered, stays the same for the
    /// life of the runtime, and nothing must be read from it. A turn that finds nothing may follow.
    ///
    /// A program that uses objects of the loop between two turns, for example drops a stream, then
    /// runs a turn, which submits what that has requested. From the first call of this method on,
    /// each completion notifies an eventfd. This is libuv's `uv_backend_fd`; there the descriptor
    /// of the driver itself is used, which an io_uring that defers its work does not allow.
    ///
    /// # Errors
    ///
    /// In the first call, those of `epoll_create1(2)`, `eventfd(2)` and `io_uring_register(2)`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = ringloop::Runtime::new()?;
    /// let descriptor = runtime.poll_fd().unwrap(); // add it to the foreign loop
    /// let task = runtime.handle().spawn(async { 42 });
    /// while !task.is_finished() {
    ///     // poll(descriptor, timeout until runtime.next_deadline())
    ///     runtime.turn(Some(Duration::ZERO));
    /// }
    /// # let _ = descriptor;
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// In a forked child of the process that built the runtime.
    #[track_caller]
    pub fn poll_fd(&self) -> io::Result<BorrowedFd<'_>> {
        let core = &self.core;
        core.id().check_process();
        let is_first = !core.reactor.has_poll_fd();
        let descriptor = core.reactor.poll_fd()?;
        if is_first {
            core.park();
        }
        Ok(descriptor)
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }
}

impl Handle {
    /// Ends [`Runtime::run_until_stopped`] when the current turn has finished.
    ///
    /// If no such run is in progress, the next one makes one turn that does not sleep. A
    /// [`block_on`](Runtime::block_on) ends with its future: it ignores the request, and drops it
    /// at its end. This is asyncio's `loop.stop`.
    ///
    /// Another thread, which has no `Handle`, wakes a task of the loop that calls this.
    ///
    /// ```
    /// let runtime = ringloop::Runtime::new()?;
    /// let handle = runtime.handle();
    /// runtime.handle().spawn(async move { handle.stop() });
    /// runtime.run_until_stopped();
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn stop(&self) {
        self.core.is_stopping.set(true);
    }
}
