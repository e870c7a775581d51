//! The one place where executor and reactor meet.
//!
//! What lives here: [`Runtime`] and its [`Builder`](builder::Builder), the [`Handle`], the loop's
//! [turn](turn), and the thread-local that holds the loop of this thread ([`context`]).

pub(crate) mod builder;
pub(crate) mod context;
mod core;
mod handle;
mod limiter;
#[cfg(test)]
mod tests;
mod turn;
mod unhandled;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use self::core::Core;
pub use handle::{Handle, Metrics};

use crate::reactor::Reactor;
use crate::task::{MainWaker, is_large};

/// Runs `future` to its end on a fresh loop, and closes the loop.
///
/// This is asyncio's `run`: tasks that are left over when `future` ends are dropped, streams that
/// were dropped with bytes queued may send them for a moment, and panics of leftover tasks reach
/// standard error. To choose a driver, set limits, or handle a failed set-up, use
/// [`Runtime::builder`].
///
/// ```no_run
/// let answer = ringloop::run(async {
///     ringloop::time::sleep(std::time::Duration::from_millis(10)).await;
///     42
/// });
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
///
/// If a loop is already running on this thread, and if no driver works here; the message then says
/// what to do about it.
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    if const { is_large::<F>() } { run_small(Box::pin(future)) } else { run_small(future) }
}

#[track_caller]
fn run_small<F: Future>(future: F) -> F::Output {
    match Runtime::new() {
        Ok(runtime) => runtime.drive(future),
        Err(error) => panic!("{error}"),
    }
}

/// A loop: one thread, one ring, its tasks and timers.
///
/// A `Runtime` belongs to the thread that built it. Use one per core when one core is not enough.
///
/// Dropping it drops every task, lets streams that were dropped before send what they had queued
/// (for at most the builder's [`shutdown_linger`](crate::Builder::shutdown_linger)), cancels every
/// operation, waits until the kernel has let go of all memory, and closes the ring.
///
/// # Forked processes
///
/// A loop belongs to the process that built it. In a child of `fork(2)`, which has a copy:
///
/// - Using the parent's loop panics, with a text that names the fork: `block_on`, `spawn`, timers,
///   and whatever is awaited on its streams and listeners. Wakers do nothing.
/// - Dropping the runtime, streams, listeners and everything else of the parent's is safe at any
///   time and changes nothing for the parent. Streams and listeners close the child's descriptors.
///   The tasks of a dropped runtime are not dropped: they are the parent's, and what they own stays
///   open in the child until it ends or executes another program.
/// - A runtime that the child builds works, also if the child was forked inside of a task, where
///   [`Handle::try_current`] finds no loop. A [`RecvBuf`](crate::buf::RecvBuf) keeps its bytes.
///
/// So a server with several processes forks first and builds a runtime in each. A connection stays
/// open for its peer while a child has a copy of its descriptor: see
/// [`TcpStream::shutdown`](crate::net::TcpStream::shutdown).
pub struct Runtime {
    core: Rc<Core>,
}

impl Runtime {
    /// Runs `future` to its end. Tasks spawned meanwhile run beside it, and go on in the next
    /// `block_on`; between two calls nothing runs.
    ///
    /// # Panics
    ///
    /// If a loop is already running on this thread, if the future panics, and in a forked child of
    /// the process that built the runtime.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if const { is_large::<F>() } { self.drive(Box::pin(future)) } else { self.drive(future) }
    }

    #[track_caller]
    fn drive<F: Future>(&self, future: F) -> F::Output {
        let core = &self.core;
        core.id().check_process();
        let _context = context::enter(core);
        let mut future = pin!(future);
        let main = MainWaker::queued(core.executor.remote());
        let waker = Waker::from(std::sync::Arc::clone(&main));
        core.executor.push_main();

        let mut output = None;
        while output.is_none() {
            core.id().check_process(); // a poll may have forked, and this may be the child
            core.turn(|| {
                main.polling();
                if output.is_none()
                    && let Poll::Ready(value) =
                        future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    output = Some(value);
                }
            });
        }
        if !core.id().is_of_parent() {
            core.submit_pending();
        }
        output.expect("the loop above ends with an output")
    }

    /// Ends the runtime as a drop does, but lets streams that were dropped with bytes queued send
    /// for up to `limit` rather than for the builder's
    /// [`shutdown_linger`](crate::Builder::shutdown_linger). Streams that have sent everything
    /// before are not waited for.
    ///
    /// What is left then is lost: the connection is reset and the loss reported. A server that must
    /// deliver its last replies awaits `close()` of its streams before it ends.
    ///
    /// ```no_run
    /// # let runtime = ringloop::Runtime::new()?;
    /// runtime.block_on(async { /* serve until told to stop */ });
    /// runtime.shutdown_timeout(std::time::Duration::from_secs(30));
    /// # Ok::<(), ringloop::SetupError>(())
    /// ```
    pub fn shutdown_timeout(self, limit: Duration) {
        self.core.shutdown_linger_ns.set(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A handle to this runtime.
    pub fn handle(&self) -> Handle {
        Handle::new(Rc::clone(&self.core))
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("driver", &self.core.info).finish_non_exhaustive()
    }
}

/// Drains the ring whatever user code does meanwhile: memory is freed behind a drained ring only.
struct Finish<'a>(&'a Reactor);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.core.reactor.disown() {
            std::mem::forget(Rc::clone(&self.core)); // the tasks are the parent's
            return;
        }
        // Destructors of futures may look for their loop. If another runtime runs on this thread
        // just now, they find that one, which is the lesser evil.
        let _context = context::try_enter(&self.core);
        let _queue = self.core.executor.enter();
        let finish = Finish(&self.core.reactor);
        self.core.executor.shut_down();
        self.core.reactor.linger(self.core.shutdown_linger_ns.get());
        drop(finish);
        self.core.report_unhandled();
        self.core.reports.print_omitted();
    }
}
