//! Noticing that the peer has gone, without reading.
//!
//! One poll for the peer's end (`Interest::HangUp`) on the socket's own descriptor, armed by the
//! first `closed()` and owned by the socket. The kernel reports the end however much is unread
//! before it, so nothing is received for it, and a full queue hides nothing. An end is final: it is
//! remembered.
//!
//! ```text
//!          closed()                    the end
//!  Idle ──────────────▶ InFlight ─────────────────▶ Idle, everyone is woken, for good
//!   ▲                    │     │ cancelled, interrupted
//!   └──── nothing waits ─┘     └──▶ armed again if something waits
//! ```
//!
//! Dropping a `closed()` leaves the poll to the next one.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::stream::{Socket, SocketOp};
use crate::driver::request::{Interest, Key};
use crate::op::OpResult;
use crate::op::poll::{self, Polled};
use crate::task::coop;
use crate::task::wait_list::{self, WaitList, WaiterId};

/// Boxed, as most sockets have none.
#[derive(Default)]
pub(super) struct HangUp {
    armed: Cell<Option<Key>>,
    has_happened: Cell<bool>,
    /// The poll failed, and no waiter has returned it yet.
    failure: Cell<Option<i32>>,
    /// The socket is closed or handed over: the poll is not armed again.
    is_over: Cell<bool>,
    waiters: RefCell<WaitList>,
}

/// Waits until the peer has finished sending, has reset the connection or has closed it.
pub(in crate::net) async fn closed(socket: &Rc<Socket>) -> io::Result<()> {
    let mut waiting = HangUpWait { socket, waiter_id: WaiterId::default() };
    coop::leaf_fn(socket.home(), |cx| waiting.poll(cx)).await
}

/// One `closed()`: its place among those that wait, given up when it is dropped.
struct HangUpWait<'a> {
    socket: &'a Rc<Socket>,
    waiter_id: WaiterId,
}

impl HangUpWait<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.has_ended() {
            return Poll::Ready(Ok(()));
        }
        let hang_up =
            self.socket.rare.get_or_init(Box::default).hang_up.get_or_init(HangUp::default);
        if let Some(code) = hang_up.failure.take() {
            return Poll::Ready(Err(self.socket.reactor.error_of(code)));
        }
        hang_up.poll(self.socket, &mut self.waiter_id, cx)
    }
}

impl Drop for HangUpWait<'_> {
    fn drop(&mut self) {
        if let Some(hang_up) = self.socket.hang_up() {
            let waker = hang_up.waiters.borrow_mut().leave(&mut self.waiter_id);
            drop(waker); // user code: not under the borrow
        }
    }
}

impl HangUp {
    fn poll(
        &self,
        socket: &Rc<Socket>,
        waiter_id: &mut WaiterId,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_happened.get() {
            return Poll::Ready(Ok(()));
        }
        if let Err(error) = self.arm(socket) {
            return Poll::Ready(Err(error));
        }
        wait_list::wait_in(&self.waiters, |list| list, waiter_id, cx.waker());
        Poll::Pending
    }

    fn arm(&self, socket: &Rc<Socket>) -> io::Result<()> {
        if self.armed.get().is_some() {
            return Ok(()); // shared, or its end arms again
        }
        let request = poll::request(&**socket, Interest::HangUp);
        let key = socket.reactor.submit(
            Rc::clone(socket) as Rc<_>,
            SocketOp::PollHangUp.tag(),
            request,
        )?;
        self.armed.set(Some(key));
        Ok(())
    }

    pub(super) fn wake_all(&self, socket: &Socket) {
        let woken = self.waiters.borrow_mut().wake_all();
        for waker in woken {
            socket.reactor.wake_deferred(Some(waker));
        }
    }
}

impl Socket {
    pub(super) fn hang_up_polled(self: &Rc<Self>, answer: &OpResult) {
        let hang_up = self.hang_up().expect("it has asked");
        assert!(!answer.more, "a poll that answers once");
        hang_up.armed.set(None);
        match poll::finish(Interest::HangUp, answer) {
            Polled::Ready => hang_up.has_happened.set(true),
            Polled::Failed(code) => hang_up.failure.set(Some(code)),
            Polled::Nothing | Polled::SpuriousEvents => {
                let is_wanted = hang_up.waiters.borrow().is_waiting() && !hang_up.is_over.get();
                if is_wanted && hang_up.arm(self).is_ok() {
                    return;
                }
            }
        }
        // An end, an error, or a loop that ends: each finds out by its next poll.
        hang_up.wake_all(self);
    }

    /// Ends the poll, for good.
    pub(super) fn end_hang_up_poll(&self) {
        let Some(hang_up) = self.hang_up() else { return };
        hang_up.is_over.set(true);
        if let Some(key) = hang_up.armed.get() {
            self.reactor.cancel(key);
        }
    }

    /// Waits until no poll is in flight. Call after [`end_hang_up_poll`](Self::end_hang_up_poll).
    pub(super) async fn hang_up_poll_ended(self: &Rc<Self>) {
        let mut waiting = HangUpWait { socket: self, waiter_id: WaiterId::default() };
        coop::leaf_fn(self.home(), |cx| waiting.poll_ended(cx)).await;
    }
}

impl HangUpWait<'_> {
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(hang_up) = self.socket.hang_up() else { return Poll::Ready(()) };
        if hang_up.armed.get().is_some() {
            let waiter_id = &mut self.waiter_id;
            wait_list::wait_in(&hang_up.waiters, |list| list, waiter_id, cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}
