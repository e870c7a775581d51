//! The end of a socket (H36).
//!
//! `close(2)` while a receive is armed sends no FIN, and the receive never ends. So closing is:
//! end the receive, let queued bytes go out, wait for the final completions, then close. It
//! happens in the background: the slots of what is in flight hold the socket, and the last of them
//! to end drops the descriptor.
//!
//! A peer that takes nothing for as long as the builder's `linger` is reset, and the loss is
//! reported, so no peer that stops reading keeps a dropped socket. One that reads on, however
//! slowly, gets everything: the limit is on standing still, not on the whole. A peer that resets
//! the connection first is counted (`Metrics::peer_resets`) and not reported: resets are ordinary,
//! and a stranger chooses their rate.
//!
//! Progress is what the peer has taken: bytes that left our queue and the kernel's (`SIOCOUTQ`). A
//! completed send alone would not do. The kernel takes the next bytes of a slow peer when a third
//! of its buffer is free, which may take longer than the limit. The timer is lazy: it is looked at
//! when it expires, and set again if the peer has taken something since.
//!
//! A Unix socket cannot be reset. Its peer reads the end after what had been sent, so a cut looks
//! like the end of the stream there.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use super::closing::{CloseWait, Closing};
use super::linger::{Linger, LingerEnd, LingerExpiry};
use super::stream::{Socket, SocketPhase};
use crate::error::Unhandled;
use crate::reactor::{Reactor, TimerKey};
use crate::sys::errno;
use crate::sys::socket;
use crate::task::coop;

/// The future's side of a [`CloseWait`]. Dropped before it has returned the error of the sending,
/// it reports that error: nothing else will.
struct CloseGuard {
    reactor: Rc<Reactor>,
    wait: Rc<CloseWait>,
}

impl Drop for CloseGuard {
    fn drop(&mut self) {
        if let Some((lost_bytes, error)) = self.wait.take_loss() {
            report_loss(&self.reactor, lost_bytes, error);
        }
    }
}

/// What happens to bytes that are still queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) enum Close {
    SendQueued,
    /// They are dropped and the peer sees a reset.
    Reset,
}

/// Sends what is queued, closes, and waits until the descriptor is free. Dropping the future lets
/// the close go on.
pub(in crate::net) async fn close(socket: Rc<Socket>) -> io::Result<()> {
    let wait = Rc::new(CloseWait::default());
    let reactor = Rc::clone(&socket.reactor);
    let waiting = CloseGuard { reactor: Rc::clone(&reactor), wait: Rc::clone(&wait) };
    socket.begin_close(Close::SendQueued, Some(wait));
    drop(socket);
    coop::leaf_fn(reactor.home(), |cx| waiting.wait.poll_closed(cx.waker())).await
}

impl Socket {
    /// Begins to close, once. The caller drops its `Rc`; the rest follows by itself.
    pub(in crate::net) fn begin_close(
        self: &Rc<Self>,
        close: Close,
        waiter: Option<Rc<CloseWait>>,
    ) {
        assert_ne!(self.phase.get(), SocketPhase::Closing, "closed twice");
        if self.reactor.disown() {
            // In a forked child: the last `Rc` closes its descriptor.
            self.phase.set(SocketPhase::Closing);
            return;
        }
        self.phase.set(SocketPhase::Closing);
        self.end_hang_up_poll();
        self.stop_reading(self.may_shut_down_reading());
        if close == Close::Reset {
            self.reset();
        }
        let mut closing = Box::new(Closing { linger: Linger::default(), waiter });
        // On a closed loop nothing will be sent any more, and no timer would ever fire.
        let is_lingering =
            close == Close::SendQueued && self.is_sending() && self.reactor.is_accepting();
        if is_lingering {
            closing.linger.begin(self.set_linger_timer(), self.untaken_bytes());
            self.reactor.count_closing(1);
        } else if let Some(waiter) = &closing.waiter {
            waiter.set_error(self.send_error());
        }
        if is_lingering || closing.waiter.is_some() {
            *self.closing.borrow_mut() = Some(closing);
        }
    }

    /// Called when a send has ended, well or badly.
    pub(super) fn finish_closing_if_due(self: &Rc<Self>) {
        if self.phase.get() == SocketPhase::Closing && !self.is_sending() {
            self.end_linger();
        }
    }

    /// The linger timer is due. Resets the connection if the peer has taken nothing since it was
    /// set, or if the loop does not wait any longer.
    pub(super) fn linger_expired(self: &Rc<Self>) {
        let (untaken_bytes, may_go_on) = (self.untaken_bytes(), self.reactor.is_accepting());
        let expiry = match self.closing.borrow_mut().as_mut() {
            Some(closing) => closing.linger.expired(untaken_bytes, may_go_on),
            None => unreachable!("the timer is removed when the socket ends"),
        };
        match expiry {
            LingerExpiry::GoOn => {
                let timer = self.set_linger_timer();
                if let Some(closing) = self.closing.borrow_mut().as_mut() {
                    closing.linger.begin(timer, untaken_bytes);
                }
            }
            LingerExpiry::Reset => {
                self.reactor.count_closing(-1);
                self.reset();
                self.finish_closing_if_due();
            }
        }
    }

    fn set_linger_timer(self: &Rc<Self>) -> TimerKey {
        let deadline_ns = self.reactor.now_ns().saturating_add(self.reactor.linger_ns());
        self.reactor.expire_at(deadline_ns, Rc::clone(self) as Rc<_>)
    }

    /// What the peer has not taken, in our queue and in the kernel's.
    fn untaken_bytes(&self) -> usize {
        self.unsent_bytes() + socket::untaken_bytes(self.as_fd().as_raw_fd())
    }

    /// The descriptor is about to be closed: nothing names it any more.
    pub(super) fn closed(&mut self) {
        self.wake_leftovers();
        let Some(mut closing) = self.closing.get_mut().take() else {
            return;
        };
        if let LingerEnd::Sent(timer) = closing.linger.end() {
            self.stop_lingering(timer);
        }
        if let Some(waiter) = closing.waiter {
            self.reactor.wake_deferred(waiter.closed());
        }
    }

    /// The descriptor will never be closed: the kernel has not let go of it, and the loop has
    /// ended.
    pub(super) fn give_up_closing(&self) {
        let waiter = self.closing.borrow_mut().as_mut().and_then(|closing| closing.waiter.take());
        let Some(waiter) = waiter else { return };
        self.reactor.wake_deferred(waiter.given_up(|| self.reactor.refusal()));
    }

    /// Returns or reports the error of the sending, once.
    fn end_linger(&self) {
        let end = self.closing.borrow_mut().as_mut().map(|closing| closing.linger.end());
        let error = match end {
            None | Some(LingerEnd::Nothing) => return,
            Some(LingerEnd::Expired) => Some(io::ErrorKind::TimedOut.into()),
            Some(LingerEnd::Sent(timer)) => {
                self.stop_lingering(timer);
                self.send_error()
            }
        };
        let Some(error) = error else { return };
        match self.closing.borrow().as_ref().and_then(|closing| closing.waiter.as_ref()) {
            // Ours is one reference; without a second no task awaits the `close()` any more.
            Some(waiter) if Rc::strong_count(waiter) > 1 => {
                waiter.set_loss(self.unsent_bytes(), error);
            }
            _ => report_loss(&self.reactor, self.unsent_bytes(), error),
        }
    }

    fn stop_lingering(&self, timer: TimerKey) {
        self.reactor.count_closing(-1);
        self.reactor.remove_timer(timer); // it holds the socket
    }

    fn reset(self: &Rc<Self>) {
        // A socket that cannot be set to reset closes in the ordinary way.
        let _ = self.options().set_linger(Some(Duration::ZERO));
        self.stop_sending();
    }
}

/// Bytes were lost, and nothing awaits the error.
fn report_loss(reactor: &Reactor, unsent_bytes: usize, error: io::Error) {
    if is_peer_gone(&error) {
        reactor.count_peer_reset();
    } else {
        reactor.report(Unhandled::BackgroundClose { unsent_bytes, error });
    }
}

/// Whether the kernel ended the connection because the peer reset it, closed it or no longer
/// acknowledges. `ENOTCONN` is what `shutdown` returns after a reset. A linger that expired has a
/// kind and no errno, so it is none of these.
fn is_peer_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            errno::ECONNRESET
                | errno::EPIPE
                | errno::ECONNABORTED
                | errno::ENOTCONN
                | errno::ETIMEDOUT
        )
    )
}
