//! Waiting for the peer's end without reading: performs what [`HangUp`] asks for.
//!
//! The reactor is called here, once the borrow of that value has ended.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::hang_up::{HangUp, HangUpEffects, HangUpPoll};
use super::stream::{Socket, SocketOp};
use crate::driver::request::Interest;
use crate::op::{OpResult, poll};
use crate::sync::wait_list::{self, WaiterId, Woken};
use crate::task::coop;

/// Waits until the peer has finished sending, has reset the connection or has closed it.
pub(in crate::net) async fn closed(socket: &Rc<Socket>) -> io::Result<()> {
    let mut waiting = HangUpWait { socket, waiter_id: WaiterId::default() };
    coop::leaf_fn(socket.home(), |cx| waiting.poll(cx)).await
}

/// One wait: its place among the waiters, which it leaves when it is dropped.
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
            self.socket.rare.get_or_init(Box::default).hang_up.get_or_init(RefCell::default);
        let found = hang_up.borrow_mut().poll();
        match found {
            HangUpPoll::Happened => return Poll::Ready(Ok(())),
            HangUpPoll::Failed(code) => {
                return Poll::Ready(Err(self.socket.reactor.error_of(code)));
            }
            HangUpPoll::Wait { must_arm: true } => self.socket.arm_hang_up(hang_up)?,
            HangUpPoll::Wait { must_arm: false } => {}
        }
        wait_list::wait_in(hang_up, HangUp::waiters, &mut self.waiter_id, cx.waker());
        Poll::Pending
    }

    /// Waits until no poll is in flight.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(hang_up) = self.socket.hang_up() else { return Poll::Ready(()) };
        if !hang_up.borrow().is_in_flight() {
            return Poll::Ready(());
        }
        wait_list::wait_in(hang_up, HangUp::waiters, &mut self.waiter_id, cx.waker());
        Poll::Pending
    }
}

impl Drop for HangUpWait<'_> {
    fn drop(&mut self) {
        if let Some(hang_up) = self.socket.hang_up() {
            let waker = hang_up.borrow_mut().leave(&mut self.waiter_id);
            drop(waker); // user code: not under the borrow
        }
    }
}

impl Socket {
    /// The poll for the peer's end has completed.
    pub(super) fn complete_hang_up(self: &Rc<Self>, answer: &OpResult) {
        assert!(!answer.more, "this poll completes once");
        let hang_up = self.hang_up().expect("it has submitted a poll");
        let polled = poll::finish(Interest::HangUp, answer);
        let HangUpEffects { woken, must_arm } = hang_up.borrow_mut().completed(polled);
        self.wake_each(woken);
        if must_arm && self.arm_hang_up(hang_up).is_err() {
            // The loop is closing or broken. Each waiter's next poll fails for that reason.
            self.wake_hang_up_waiters();
        }
    }

    /// Ends the poll for the peer's end, for good.
    pub(super) fn end_hang_up_poll(&self) {
        let Some(hang_up) = self.hang_up() else { return };
        let cancel = hang_up.borrow_mut().end();
        if let Some(key) = cancel {
            self.reactor.cancel(key);
        }
    }

    /// Waits until no poll is in flight. Call after [`end_hang_up_poll`](Self::end_hang_up_poll).
    pub(super) async fn hang_up_poll_ended(self: &Rc<Self>) {
        let mut waiting = HangUpWait { socket: self, waiter_id: WaiterId::default() };
        coop::leaf_fn(self.home(), |cx| waiting.poll_ended(cx)).await;
    }

    /// Wakes the waiters of futures that were leaked while they waited.
    pub(super) fn wake_hang_up_waiters(&self) {
        if let Some(hang_up) = self.hang_up() {
            let woken = hang_up.borrow_mut().wake_all();
            self.wake_each(woken);
        }
    }

    fn hang_up(&self) -> Option<&RefCell<HangUp>> {
        self.rare.get()?.hang_up.get()
    }

    fn arm_hang_up(self: &Rc<Self>, hang_up: &RefCell<HangUp>) -> io::Result<()> {
        let request = poll::request(&**self, Interest::HangUp);
        let submitted =
            self.reactor.submit(Rc::clone(self) as Rc<_>, SocketOp::PollHangUp.tag(), request);
        hang_up.borrow_mut().armed(submitted.as_ref().ok().copied());
        submitted.map(drop)
    }

    fn wake_each(&self, woken: Woken) {
        woken.for_each(|waker| self.reactor.wake_deferred(Some(waker)));
    }
}
