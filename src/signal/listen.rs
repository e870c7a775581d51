//! [`Signal`], and [`ctrl_c`].

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::kind::SignalKind;
use crate::reactor::Reactor;
use crate::runtime::{Core, Listening, SignalListener, context};
use crate::sync::waker_cell::{Waited, WakerCell};
use crate::task::coop;

/// Waits for one SIGINT, which Ctrl-C sends.
///
/// It listens from the first poll until it returns or is dropped. Then, unless there is another
/// listener, the next Ctrl-C ends the process. To receive several, or to wait in a `select!` in a
/// loop, use [`signal`] with [`SignalKind::interrupt`]. The name is tokio's; there the process is
/// never ended by a later Ctrl-C.
///
/// # Cancel safety
///
/// Cancel safe: a signal that the dropped future has not returned is sent again, so it reaches
/// another listener or ends the process.
///
/// # Errors
///
/// Those of [`signal`].
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```no_run
/// ringloop::run(async {
///     ringloop::signal::ctrl_c().await?;
///     println!("Ctrl-C: stopping, press it again to end at once");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    let mut interrupts = match signal(SignalKind::interrupt()) {
        Ok(interrupts) => interrupts,
        Err(error) => return coop::ready(Err(error)).await,
    };
    match interrupts.recv().await {
        Some(()) => Ok(()),
        None => Err(io::Error::new(io::ErrorKind::NotConnected, "the runtime has been closed")),
    }
}

/// Begins to listen for a signal, on the loop of this thread.
///
/// Signals that come from now on are received, also before the first
/// [`recv`](Signal::recv). The signal does not have its default effect until the last listener of
/// the process is dropped. This is tokio's `unix::signal`.
///
/// # Errors
///
/// `InvalidInput` for SIGKILL and SIGSTOP, which no process can handle, for signals that report
/// faults (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS), and for numbers that are no signals.
/// Those of `sigaction(2)`, and `EMFILE` if there is no descriptor left for the first listener of
/// the loop.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::signal::{SignalKind, signal};
///
/// ringloop::run(async {
///     let mut children = signal(SignalKind::child())?;
///     std::process::Command::new("true").status()?;
///     assert_eq!(children.recv().await, Some(()));
///     Ok::<(), std::io::Error>(())
/// })?;
/// assert!(ringloop::run(async { signal(SignalKind::from_raw(9)) }).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let core = context::current();
    let number = kind.check()?;
    let receiver = Receiver::new(&core);
    let listening = core.listen(number, Rc::clone(&receiver) as Rc<_>, false)?;
    Ok(Signal { kind, receiver, listening: Some(listening) })
}

/// A listener for one kind of signal. [`signal`] makes it.
///
/// Each listener receives every signal. Signals that come before the listener has received the
/// first are one. Dropping it ends the listening: see the [module](super).
///
/// It is also a `futures_core::Stream`, which ends with the loop.
pub struct Signal {
    kind: SignalKind,
    receiver: Rc<Receiver>,
    /// `None` only while it is dropped.
    listening: Option<Listening>,
}

impl Signal {
    /// Waits for the next signal. Returns `None` when the loop has been closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next `recv` returns the signal that a dropped one has not returned.
    ///
    /// ```
    /// # use ringloop::signal::{SignalKind, signal};
    /// # ringloop::run(async {
    /// let mut children = signal(SignalKind::child())?;
    /// let mut child = std::process::Command::new("true").spawn()?;
    /// children.recv().await;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(()) }).unwrap();
    /// ```
    pub async fn recv(&mut self) -> Option<()> {
        let receiver = &self.receiver;
        coop::leaf_fn(receiver.reactor.home(), |cx| receiver.poll(cx)).await.map(drop)
    }

    /// The signal that is listened for.
    pub fn kind(&self) -> SignalKind {
        self.kind
    }
}

impl Stream for Signal {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let receiver = &self.receiver;
        coop::leaf(receiver.reactor.home(), cx, |cx| receiver.poll(cx)).map(|some| some.map(drop))
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        let listening = self.listening.take().expect("taken here only");
        if self.receiver.take().is_some() {
            listening.end_untaken();
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Where the loop puts a signal, and one task takes it.
pub(super) struct Receiver {
    pub(super) reactor: Rc<Reactor>,
    received: Cell<Option<i32>>,
    waker: WakerCell,
}

impl Receiver {
    pub(super) fn new(core: &Core) -> Rc<Receiver> {
        let reactor = Rc::clone(&core.reactor);
        Rc::new(Receiver { reactor, received: Cell::new(None), waker: WakerCell::default() })
    }

    /// Takes the number of the signal, if one has come.
    pub(super) fn take(&self) -> Option<i32> {
        self.received.take()
    }

    pub(super) fn has_received(&self) -> bool {
        self.received.get().is_some()
    }

    /// Waits for a signal. Returns `None` when the loop has ended.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<i32>> {
        loop {
            if let Some(number) = self.take() {
                return Poll::Ready(Some(number));
            }
            if self.reactor.ended_ns().is_some() {
                return Poll::Ready(None);
            }
            if self.waker.wait(cx.waker()) == Waited::Already {
                return Poll::Pending;
            }
        }
    }
}

impl SignalListener for Receiver {
    fn receive(self: Rc<Self>, number: i32) {
        self.received.set(Some(number));
        self.reactor.wake_deferred(self.waker.take());
    }
}
