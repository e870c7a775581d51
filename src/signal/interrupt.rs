//! [`until_ctrl_c`]: runs a future until it ends or Ctrl-C interrupts it.
//!
//! ```text
//!            the future is ready
//!  Running ────────────────────────────────────────────────────▶ Ok(output)
//!     │
//!     │ SIGINT: the disposition is restored     the next poll drops the future
//!     └──────────────────────────▶ Received ───────────────────▶ Err(Interrupted)
//! ```

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::kind::SignalKind;
use super::shutdown::Shutdown;
use crate::task::coop;

/// The signals that interrupt the future.
const KINDS: [SignalKind; 1] = [SignalKind::interrupt()];

/// Begins to listen for SIGINT, and returns a future that runs `future` until the signal comes.
///
/// The first Ctrl-C drops `future` at its next await: inside the loop, so destructors may use it.
/// The output is then `Err(Interrupted)`. When the loop has seen the signal, and before any task
/// runs, the former disposition is restored: **the second Ctrl-C ends the process**, for example
/// while a destructor blocks, unless another listener has the signal. The second one also ends a
/// process whose loop is blocked and has not seen the first. This is `asyncio.Runner`, except that
/// a future cannot refuse: it is dropped.
///
/// Tasks that `future` has spawned run on. A `TaskGroup` in `future` ends with it, and the
/// end of the runtime drops the rest. `#[ringloop::main(ctrl_c = "graceful")]` runs the main
/// function in this way, and then ends the process with [`Interrupted::EXIT_CODE`].
///
/// # Cancel safety
///
/// Dropping the returned future drops `future` and ends the listening. A signal that has come and
/// has interrupted nothing is then sent again.
///
/// # Errors
///
/// Those of [`signal`](super::signal).
///
/// # Panics
///
/// If no loop runs on this thread. The returned future panics when it is polled on another loop.
///
/// ```
/// use ringloop::signal::{Interrupted, until_ctrl_c};
///
/// let outcome = ringloop::run(async {
///     let work = async { 42 }; // or a server that runs until Ctrl-C
///     Ok::<_, std::io::Error>(until_ctrl_c(work)?.await)
/// })?;
/// match outcome {
///     Ok(output) => assert_eq!(output, 42),
///     Err(Interrupted) => std::process::exit(Interrupted::EXIT_CODE),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn until_ctrl_c<F: Future>(future: F) -> io::Result<UntilCtrlC<F>> {
    let interrupt = Shutdown::listen(&KINDS)?;
    Ok(UntilCtrlC { future: Some(future), interrupt })
}

pin_project! {
    /// A future that Ctrl-C interrupts. [`until_ctrl_c`] makes it.
    #[must_use = "futures do nothing unless awaited"]
    pub struct UntilCtrlC<F> {
        // `None` when it was interrupted. Dropped before the listening ends.
        #[pin]
        future: Option<F>,
        interrupt: Shutdown,
    }
}

impl<F: Future> Future for UntilCtrlC<F> {
    type Output = Result<F::Output, Interrupted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.interrupt.check_home();
        coop::combinator(cx, |cx| {
            if this.interrupt.poll_received(cx).is_ready() {
                this.future.set(None);
                return Poll::Ready(Err(Interrupted));
            }
            let future = this.future.as_pin_mut().expect("a future that has not ended");
            future.poll(cx).map(Ok)
        })
    }
}

impl<F> fmt::Debug for UntilCtrlC<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_interrupted = self.future.is_none();
        f.debug_struct("UntilCtrlC")
            .field("is_interrupted", &is_interrupted)
            .finish_non_exhaustive()
    }
}

/// The error of a future that was dropped because of Ctrl-C. See [`until_ctrl_c`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted;

impl Interrupted {
    /// The exit code of a process that was interrupted: 128 and the number of SIGINT, as shells
    /// report a process that the signal has ended.
    ///
    /// ```
    /// assert_eq!(ringloop::signal::Interrupted::EXIT_CODE, 130);
    /// ```
    pub const EXIT_CODE: i32 = 128 + SignalKind::interrupt().as_raw();
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted by Ctrl-C (SIGINT)")
    }
}

impl Error for Interrupted {}
