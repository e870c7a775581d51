//! The close of a socket (H36).
//!
//! `close(2)` while a receive is armed sends no FIN, and the receive never ends. So a close has
//! four steps: end the receive, send the queued bytes, wait for the final completions, close the
//! descriptor. It happens in the background. The slots of the operations in flight hold the
//! socket, and the last of them to be freed drops the descriptor.
//!
//! If the peer takes nothing for as long as the builder's `linger`, the connection is reset and the
//! loss is reported. So a peer that stops reading cannot keep a dropped socket open. The limit
//! begins anew whenever the peer takes bytes, so a slow peer gets all of them. If the peer resets
//! the connection first, that is counted (`Metrics::peer_resets`) and not reported: peers choose
//! how often they do that, and could fill a log.
//!
//! Progress is measured in bytes that have left the socket's queue and the kernel's (`SIOCOUTQ`).
//! Completed sends are not enough: the kernel takes the next bytes for a slow peer when a third of
//! its buffer is free, which may take longer than the limit. The timer is lazy: progress is checked
//! when it expires, and it is set again if there was some.
//!
//! A Unix socket cannot be reset. Its peer reads the end of the stream after the bytes that were
//! sent, even if others were lost.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use super::closing::{CloseWait, Closing};
use super::linger::{Linger, LingerEnd, LingerExpiry};
use super::stream::Socket;
use crate::error::Unhandled;
use crate::reactor::{Reactor, TimerKey};
use crate::sys::errno;
use crate::sys::socket;
use crate::task::coop;

/// The future's reference to a [`CloseWait`]. If the future is dropped before it has returned the
/// error of the sending, the guard reports that error.
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

/// The treatment of bytes that are still queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) enum Close {
    SendQueued,
    /// The queued bytes are dropped, and the peer gets a reset.
    Reset,
}

/// Sends the queued bytes, closes, and waits until the descriptor is closed. If the future is
/// dropped, the close goes on.
pub(in crate::net) async fn close(socket: Rc<Socket>) -> io::Result<()> {
    let wait = Rc::new(CloseWait::default());
    let reactor = Rc::clone(&socket.reactor);
    let waiting = CloseGuard { reactor: Rc::clone(&reactor), wait: Rc::clone(&wait) };
    socket.begin_close(Close::SendQueued, Some(wait));
    drop(socket);
    coop::leaf_fn(reactor.home(), |cx| waiting.wait.poll_closed(cx.waker())).await
}

impl Socket {
    /// Begins the close, once. It goes on by itself after the caller has dropped its `Rc`.
    pub(in crate::net) fn begin_close(
        self: &Rc<Self>,
        close: Close,
        waiter: Option<Rc<CloseWait>>,
    ) {
        self.descriptor.begin_closing();
        if self.reactor.disown() {
            return; // in a forked child: the last `Rc` closes its descriptor
        }
        self.end_hang_up_poll();
        self.stop_reading(self.may_shut_down_reading());
        if close == Close::Reset {
            self.reset();
        }
        let mut closing = Box::new(Closing { linger: Linger::default(), waiter });
        // A closed loop sends nothing more, and its timers do not fire.
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

    /// Ends the linger if no more bytes can be sent. Called when a send has succeeded or failed.
    pub(super) fn finish_closing_if_due(self: &Rc<Self>) {
        if self.descriptor.is_closing() && !self.is_sending() {
            self.end_linger();
        }
    }

    /// Handles the expiry of the linger timer. Resets the connection if the peer has taken nothing
    /// since the timer was set, or if the loop no longer waits.
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

    /// Returns the number of bytes that the peer has not taken, in this queue and in the kernel's.
    fn untaken_bytes(&self) -> usize {
        self.unsent_bytes() + socket::untaken_bytes(self.as_fd().as_raw_fd())
    }

    /// Ends the close. The descriptor is closed next, because no operation names it.
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

    /// Ends the wait of `close()` with an error. The loop has ended while the kernel still uses the
    /// descriptor, which is therefore never closed.
    pub(super) fn give_up_closing(&self) {
        let waiter = self.closing.borrow_mut().as_mut().and_then(|closing| closing.waiter.take());
        let Some(waiter) = waiter else { return };
        self.reactor.wake_deferred(waiter.given_up(|| self.reactor.refusal()));
    }

    /// Ends the linger. Passes the error of the sending to `close()`, or reports it, once.
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
            // One reference is this socket's. The second is that of a future that awaits `close()`.
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

/// Reports or counts a loss whose error no task awaits.
fn report_loss(reactor: &Reactor, unsent_bytes: usize, error: io::Error) {
    if is_peer_gone(&error) {
        reactor.count_peer_reset();
    } else {
        reactor.report(Unhandled::BackgroundClose { unsent_bytes, error });
    }
}

/// Whether the kernel has ended the connection because the peer has reset it, has closed it or no
/// longer acknowledges. After a reset, `shutdown` returns `ENOTCONN`. The error of a linger that
/// expires has a kind and no errno, so it is none of these.
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
