//! [`shutdown`]: the first SIGINT or SIGTERM is graceful, the second is hard.
//!
//! ```text
//!            a signal: the dispositions are restored            recv returns it
//!  Listening ──────────────────────────────────────▶ Received ───────────────────▶ Idle
//!      ▲                                                                             │
//!      └────────────────────────── the next recv ────────────────────────────────────┘
//! ```

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::kind::SignalKind;
use super::listen::Receiver;
use crate::runtime::{Core, Listening, SignalListener, context};
use crate::sys::signal;
use crate::task::coop;

/// The signals that ask a process to end.
const KINDS: [SignalKind; 2] = [SignalKind::interrupt(), SignalKind::terminate()];

/// Begins to listen for SIGINT and SIGTERM, to shut the program down in order.
///
/// The first of them is received by [`recv`](Shutdown::recv). At that moment, in the turn that sees
/// the signal and before any task runs, the loop stops listening and the former dispositions are
/// restored: **the second signal ends the process** by its default action, unless another listener
/// has the same signal. The second one also ends a process whose loop is blocked and has not seen
/// the first.
///
/// # Errors
///
/// Those of [`signal`](super::signal).
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```no_run
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let mut shutdown = ringloop::signal::shutdown()?;
///     let server = ringloop::spawn(async { /* serve */ });
///     let kind = shutdown.recv().await?;
///     println!("{kind}: stopping, send it again to end at once");
///     let _ = ringloop::time::timeout(Duration::from_secs(5), server).await;
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn shutdown() -> io::Result<Shutdown> {
    Shutdown::listen(&KINDS)
}

/// A listener for the signals that ask the process to end. [`shutdown`] makes it.
///
/// Dropping it ends the listening. A signal that has come and was not received is then sent again.
pub struct Shutdown {
    request: Rc<Request>,
}

/// What has been received, and the listening until then.
struct Request {
    kinds: &'static [SignalKind],
    receiver: Rc<Receiver>,
    listening: RefCell<Vec<Listening>>,
}

impl Shutdown {
    /// Begins to listen for these signals.
    pub(super) fn listen(kinds: &'static [SignalKind]) -> io::Result<Shutdown> {
        let core = context::current();
        let receiver = Receiver::new(&core);
        let request = Rc::new(Request { kinds, receiver, listening: RefCell::default() });
        request.listen(&core)?;
        Ok(Shutdown { request })
    }

    /// Panics if another loop than that of the listener runs on this thread.
    pub(super) fn check_home(&self) {
        self.request.receiver.reactor.home().check();
    }

    /// Waits for the first signal, without spending the budget. Pending for good after the end of
    /// the loop.
    pub(super) fn poll_received(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.request.receiver.poll(cx) {
            Poll::Ready(Some(_number)) => Poll::Ready(()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Waits for SIGINT or SIGTERM. Returns the signal that has come.
    ///
    /// From then on, the next of these signals ends the process, until `recv` is called again: the
    /// call begins to listen again, so a program may await further signals instead.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next `recv` returns the signal that a dropped one has not returned.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the loop has been closed. In a second call also those of
    /// [`signal`](super::signal).
    pub async fn recv(&mut self) -> io::Result<SignalKind> {
        let request = &self.request;
        coop::leaf_fn(request.receiver.reactor.home(), |cx| request.poll_recv(cx)).await
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the runtime has been closed")
}

impl Request {
    fn listen(self: &Rc<Self>, core: &Rc<Core>) -> io::Result<()> {
        let listen = |kind: SignalKind| core.listen(kind.as_raw(), Rc::clone(self) as Rc<_>, true);
        let all = self.kinds.iter().copied().map(listen).collect::<io::Result<Vec<_>>>()?;
        let former = self.listening.replace(all);
        drop(former); // after the borrow
        Ok(())
    }

    fn poll_recv(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<SignalKind>> {
        self.listen_again()?;
        let received = ready!(self.receiver.poll(cx));
        Poll::Ready(received.map(SignalKind::from_raw).ok_or_else(closed))
    }

    /// Listens again, if a signal has ended that and was taken.
    fn listen_again(self: &Rc<Self>) -> io::Result<()> {
        if self.receiver.has_received() || !self.listening.borrow().is_empty() {
            return Ok(());
        }
        match context::try_current() {
            Some(core) => self.listen(&core),
            None => Ok(()), // the loop has ended, which the receiver finds
        }
    }
}

impl SignalListener for Request {
    fn receive(self: Rc<Self>, number: i32) {
        let listening = self.listening.take();
        Rc::clone(&self.receiver).receive(number);
        drop(listening);
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        let listening = self.request.listening.take();
        drop(listening);
        let is_of_parent = self.request.receiver.reactor.home().id().is_of_parent();
        if let Some(number) = self.request.receiver.take().filter(|_| !is_of_parent) {
            signal::redeliver(number);
        }
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_received = self.request.receiver.has_received();
        f.debug_struct("Shutdown").field("is_received", &is_received).finish_non_exhaustive()
    }
}
